"""What the parts share: servers of both kinds, work side by side, and the table of what was tried."""

import concurrent.futures
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "daemon"))

import boskosd  # noqa: E402

PATIENCE = 60  # seconds until what is waited for counts as failed
OURS, THEIRS = "ours", "original"  # whose a program or a server is
SERVERS = {OURS: "boskosd", THEIRS: "original"}


class Failed(Exception):
    """What was tried did not do what was expected."""


class NotRun(Exception):
    """Something that this machine has not, or does not allow."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def expect_equal(found, wanted, what):
    if found != wanted:
        raise Failed(f"{what}:\n  found    {found!r}\n  expected {wanted!r}")


def eventually(what, check, patience=PATIENCE):
    end = time.monotonic() + patience
    while not (found := check()):
        expect(time.monotonic() < end, f"waited {patience} s in vain: {what}")
        time.sleep(0.02)
    return found


def say_failed(program, whose, server, operation, reason):
    print(f"interop: FAILED: {program} ({whose}) at {SERVERS[server]}: {operation}\n{reason}", file=sys.stderr,
          flush=True)


# ---- the table ------------------------------------------------------------------


class Table:
    """A row for each operation of a program at a server, both ours or original. Rows come from several threads."""

    COLUMNS = ("PROGRAM", "OF", "SERVER", "OPERATION", "RESULT")

    def __init__(self):
        self._rows, self._lock = [], threading.Lock()

    def add(self, program, whose, server, operation, result, note=""):
        with self._lock:
            self._rows.append((program, whose, SERVERS[server], operation, result, note))

    def attempt(self, program, whose, server, operation, work):
        """Runs work(); what it returns is the note of its row. A failure is a row too, with its reason on stderr."""
        try:
            note = work()
        except NotRun as e:
            self.add(program, whose, server, operation, "not run", str(e))
        except Exception as e:  # whatever it is, the other rows are still wanted
            self.add(program, whose, server, operation, "FAIL")
            reason = str(e) if isinstance(e, Failed) else traceback.format_exc()
            say_failed(program, whose, server, operation, reason)
        else:
            self.add(program, whose, server, operation, "pass", note or "")

    def count(self, result):
        return sum(row[4] == result for row in self._rows)

    def not_run(self):
        """A line with its reason for each operation that this machine has not, or does not allow."""
        return [f"{program} ({whose}) at {server}: {operation}: {note}"
                for program, whose, server, operation, result, note in sorted(self._rows) if result == "not run"]

    def text(self):
        """Sorted; the notes, which are few and long, once each below."""
        notes, rows = [], [self.COLUMNS]
        for *row, result, note in sorted(self._rows, key=lambda r: r[:4]):
            if note and note not in notes:
                notes.append(note)
            rows.append((*row, result + (f" [{notes.index(note) + 1}]" if note else "")))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(row[i].ljust(widths[i]) for i in range(4)) + "  " + row[4] for row in rows]
        lines += [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
        counts_text = ", ".join(f"{self.count(r)} {r}" for r in ("pass", "FAIL", "not run", "not possible"))
        return "\n".join(lines) + f"\n{len(self._rows)} operations: {counts_text}\n"


def in_parts(table, parts):
    """Runs the parts at the same time. One that breaks off is a row too, and the others are still wanted."""
    def run(part, work):
        try:
            work()
        except Exception:
            table.add(part, OURS, OURS, "(to its end)", "FAIL")
            say_failed(part, OURS, OURS, "it broke off", traceback.format_exc())

    side_by_side([lambda part=part, work=work: run(part, work) for part, work in parts.items()])


def side_by_side(jobs, workers=32):
    """Runs the jobs at the same time: nearly all of them wait. Gives their results in order."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as pool:
        return [f.result() for f in [pool.submit(job) for job in jobs]]


# ---- servers --------------------------------------------------------------------


class Servers:
    """Starts servers, and ends them and removes their folders when it is closed."""

    def __init__(self, original=None):
        self.original = original  # the original server's program; None: only boskosd is there
        self.folder = tempfile.mkdtemp(prefix="boskos-interop-")
        self._started, self._lock = [], threading.Lock()

    def start(self, kind, config):
        with self._lock:
            folder = os.path.join(self.folder, f"{kind}-{len(self._started)}")
            os.mkdir(folder)
            if kind == OURS:
                server = boskosd.Daemon(folder, config=config)
            else:
                server = boskosd.Daemon(folder, config=config, program=self.original, flags=[
                    "--in_memory", "--log-level", "debug", "--pprof-port", str(boskosd.free_ports(1)[0])])
            self._started.append(server)
        server.start()
        server.url, server.kind = f"http://127.0.0.1:{server.port}", kind
        return server

    def kinds(self):
        return (OURS, THEIRS) if self.original else (OURS,)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self._started:
            server.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def counts(server, type):
    """What /metric says of a type, which both servers can be asked: ({state: n}, {owner: n})."""
    reply = server.call("GET", "/metric", type=type)
    expect_equal(reply.status, 200, f"the status of /metric of {type}")
    return reply.json["current"], reply.json["owner"]


def take(server, type, state="free", dest="busy", owner="other"):
    """Another client takes one of the type: its name."""
    reply = server.acquire(type=type, state=state, dest=dest, owner=owner)
    expect_equal(reply.status, 200, f"the status of an acquire of {type}")
    return reply.json["name"]


# ---- a network of our own -------------------------------------------------------


def loopback_up():
    """Switches the loopback interface of a new network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(s, 0x8913, request))[1]  # SIOCGIFFLAGS
        fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", flags | 1))  # SIOCSIFFLAGS, IFF_UP


def enter_own_network():
    """Moves this process to a network of its own, with all ports free and no way out. False: not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, network = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
    if libc.unshare(network) != 0 and libc.unshare(user | network) != 0:
        return False
    loopback_up()
    return True
