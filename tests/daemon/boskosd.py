"""What the tests of the real daemon share: starting one on free ports in a folder of its own, waiting, killing, HTTP.

The program to test is named by the environment variable BOSKOSD. Every daemon started here is ended at the end of its
test, by its process id. HTTP is spoken over plain sockets, so that a test can say what was sent and what was not.
"""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

PROGRAM = os.path.abspath(os.environ["BOSKOSD"]) if "BOSKOSD" in os.environ else ""
PATIENCE = 60  # seconds until a test that waits gives up: no criterion, only an end
NOBODY = 65534
UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]  # own mounts

CONFIG = """\
resources:
- type: car
  state: free
  names: [car-1, car-2, car-3, car-4]
- type: van
  state: free
  names: [van-1, van-2]
"""


def free_ports(count):
    """Ports that nobody listens on just now; another program may still take one before its use."""
    sockets = []
    for _ in range(count):
        s = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
        s.bind(("", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def refusing_port(test):
    """A port that nobody listens on while the test lasts."""
    s = socket.socket()
    test.addCleanup(s.close)
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def put_file(path, text):
    """Writes a file beside its place and renames it there, as careful programs do."""
    with open(path + ".fresh", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".fresh", path)


def skip_loudly(test, why):
    """Skips with a line that is seen in the output, not only in its summary."""
    print(f"SKIPPED: {test.id()}: {why}", file=sys.stderr, flush=True)
    test.skipTest(why)


# ---- HTTP ---------------------------------------------------------------------


class Reply:
    """A reply: status, headers (names in lower case), body as bytes."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def seq(self):
        """The sequence number of the command it answers, 0 for none."""
        return int(self.headers.get("boskos-seq", 0))

    def __repr__(self):
        return f"{self.status} {self.text!r}"


class Connection:
    """A keep-alive connection that sends one request after the other. Any failure is an OSError."""

    def __init__(self, port, timeout=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionResetError("the connection ended before the reply did")
        self.rest += piece

    def reply(self):
        """Reads one reply."""
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            self._more()
        lines = self.rest[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        size = int(headers.get("content-length", 0))
        while len(self.rest) < end + 4 + size:
            self._more()
        body = self.rest[end + 4 : end + 4 + size]
        self.rest = self.rest[end + 4 + size :]
        return Reply(int(lines[0].split(" ")[1]), headers, body)

    def send(self, method, target, body=b"", headers=()):
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
        self.socket.sendall("\r\n".join(head).encode() + body)

    def request(self, method, target, body=b"", headers=()):
        self.send(method, target, body, headers)
        return self.reply()


def target(path, **parameters):
    return path + "?" + urllib.parse.urlencode(parameters) if parameters else path


# ---- the daemon ---------------------------------------------------------------


class Daemon:
    """One boskosd. `folder` holds the config file, the data folder and what it says on stderr.

    `flags` are added to the usual ones. `user` drops to another user, `before` is put in front of the command line. The
    ports are new ones at each start; `port`, `health` and `metrics` say which.
    """

    def __init__(self, folder, flags=(), config=CONFIG, data_dir=None, user=None, before=(), usual=True, program=None):
        self.folder = folder
        self.flags = list(flags)
        self.config_path = os.path.join(folder, "config.yaml")
        self.data_dir = data_dir or os.path.join(folder, "data")
        self.journal = os.path.join(self.data_dir, "journal")
        self.data_mdb = os.path.join(self.journal, "data.mdb")
        self.user, self.before, self.usual = user, list(before), usual
        self.program = program or PROGRAM
        self.process = None
        self.port = self.health = self.metrics = 0
        self.log_path = None
        self.starts = 0
        if config is not None and not os.path.exists(self.config_path):
            put_file(self.config_path, config)

    def command(self):
        if not self.usual:
            return [*self.before, self.program, *self.flags]
        given = ["--config", self.config_path, "--port", str(self.port), "--health-port", str(self.health),
                 "--metrics-port", str(self.metrics)]
        if "--in_memory" not in self.flags:
            given += ["--data-dir", self.data_dir]
        return [*self.before, self.program, *given, *self.flags]

    def launch(self):
        """Starts it without waiting."""
        self.starts += 1
        self.port, self.health, self.metrics = free_ports(3)
        self.log_path = os.path.join(self.folder, f"log.{os.path.basename(self.data_dir)}.{self.starts}")
        options = {"user": self.user, "group": self.user, "extra_groups": []} if self.user is not None else {}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, **options)
        return self

    def start(self):
        """Starts it and waits until it is ready. A port that was taken meanwhile is no reason to fail."""
        for _ in range(5):
            self.launch()
            if self.wait_ready():
                return self
            if "Address already in use" not in self.log():
                break
        raise AssertionError(f"the daemon was expected to start, it said:\n{self.log()}")

    def wait_ready(self):
        """True when ready, False when it ended before."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if self.probe("/healthz/ready") == 200:
                return True
            assert time.monotonic() < end, f"the daemon neither ends nor is ready:\n{self.log()}"
            time.sleep(0.01)
        return False

    def probe(self, path):
        """The status of a call of the health port, 0 when nobody answers."""
        try:
            with Connection(self.health) as c:
                return c.request("GET", path).status
        except OSError:
            return 0

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_lines(self):
        return self.log().splitlines()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Waits for the end; the exit code, -N after signal N."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon was expected to end:\n{self.log()}") from None

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def kill_drained(self):
        """A kill when all that was acknowledged is in data.mdb, and AHEAD has nothing of its own."""
        end = time.monotonic() + 60
        while self.figure("boskosd_log_ahead_bytes") > 0:
            if time.monotonic() > end:
                raise AssertionError("AHEAD was expected to be drained")
            time.sleep(0.01)
        return self.kill()

    def stop(self):
        """SIGTERM and the end; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def end(self):
        if self.is_running():
            self.kill()

    # ---- calls ----

    def call(self, method, path, body=b"", headers=(), port=None, **parameters):
        with Connection(port or self.port) as c:
            return c.request(method, target(path, **parameters), body, headers)

    def acquire(self, type="car", state="free", dest="busy", owner="ann", **more):
        return self.call("POST", "/acquire", type=type, state=state, dest=dest, owner=owner, **more)

    def release(self, name, dest="free", owner="ann"):
        return self.call("POST", "/release", name=name, dest=dest, owner=owner)

    def update(self, name, userdata, owner="ann", state="busy", headers=()):
        return self.call("POST", "/update", json.dumps(userdata).encode(), headers, name=name, owner=owner, state=state)

    def resources(self):
        """All resources by name, as /v1/resources has them."""
        found, after = {}, None
        while True:
            reply = self.call("GET", "/v1/resources", limit=1000, **({} if after is None else {"after": after}))
            assert reply.status == 200, f"/v1/resources was expected to answer 200: {reply}"
            page = reply.json["resources"]
            for r in page:
                found[r["name"]] = r
            if len(page) < 1000:
                return found
            after = page[-1]["name"]

    def names(self, type=None):
        return sorted(n for n, r in self.resources().items() if type in (None, r["type"]))

    def status(self):
        return self.call("GET", "/v1/status").json

    def seq(self):
        return self.status()["seq"]

    def metrics_page(self):
        return self.call("GET", "/metrics", port=self.metrics).text

    def figure(self, name):
        """A figure without labels of the metrics page; None when it is not there."""
        found = re.search(rf"^{name} (\S+)$", self.metrics_page(), re.M)
        return None if found is None else float(found.group(1))

    def snapshots(self):
        """The sequence numbers of the snapshot files."""
        found = [re.fullmatch(r"snapshot-(\d{20})", n) for n in os.listdir(self.journal)]
        return sorted(int(m.group(1)) for m in found if m)

    def snapshot_path(self, seq):
        return os.path.join(self.journal, f"snapshot-{seq:020d}")

    def used_pages(self):
        """How many pages of data.mdb are in use: it is extended ahead of use, with zeros."""
        with open(self.data_mdb, "rb") as f:
            return (len(f.read().rstrip(b"\0")) + 4095) // 4096


# ---- tests --------------------------------------------------------------------


class DaemonTest(unittest.TestCase):
    """A test with a folder of its own and the daemons started in it, which are ended after it."""

    longMessage = True

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="boskosd-test-")
        os.chmod(self.folder, 0o755)  # for tests that go on as another user
        self.daemons = []
        self.addCleanup(self._clean)

    def _clean(self):
        for d in self.daemons:
            d.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def daemon(self, **options):
        d = Daemon(options.pop("folder", self.folder), **options)
        self.daemons.append(d)
        return d

    def other_user(self):
        """A user that may not write everywhere, for Popen: NOBODY for root, None for all others."""
        return NOBODY if os.geteuid() == 0 else None

    def program_for_all(self):
        """The program where another user can reach it too."""
        copy = os.path.join(self.folder, "program")
        if not os.path.exists(copy):
            shutil.copy(PROGRAM, copy)
            os.chmod(copy, 0o755)
        return copy

    def eventually(self, what, check):
        """Waits until check() is true."""
        end = time.monotonic() + PATIENCE
        while not (value := check()):
            self.assertLess(time.monotonic(), end, f"expected in vain that {what}")
            time.sleep(0.02)
        return value

    def line_at_the_start(self, d):
        """Waits for the line that says that it is ready."""
        def find():
            return next((line for line in d.log_lines() if "boskosd is ready" in line), None)

        return self.eventually("the line at the start comes", find)

    def patch_log(self, d, old, new):
        """Replaces bytes of data.mdb by others of the same length, wherever they are."""
        self.assertEqual(len(old), len(new))
        with open(d.data_mdb, "r+b") as f:
            content = f.read()
            self.assertTrue(old in content, f"{old} was expected in {d.data_mdb}")
            f.seek(0)
            f.write(content.replace(old, new))

    def patch_format(self, d, old, new):
        """Changes the number of the format in data.mdb."""
        # A node of LMDB: size of the data (two halves), flags, size of the key; the key; the data.
        node = struct.pack("=HHHH", 2, 0, 0, 6) + b"format"
        self.patch_log(d, node + bytes([0, old]), node + bytes([0, new]))

    def older_log_put_back(self, with_snapshot):
        """A daemon that was ended, after which its log was put back to what it was at record 3.

        With it the last record that there was and the resources at it. The log that goes as far is
        newer.mdb in the test's folder.
        """
        d = self.daemon().start()
        older = os.path.join(self.folder, "older.mdb")
        d.acquire()
        self.assertEqual(d.kill_drained(), -9)
        shutil.copy(d.data_mdb, older)
        d.start()
        for _ in range(3):
            d.acquire()
        last, resources = d.seq(), d.resources()
        self.assertEqual(d.stop() if with_snapshot else d.kill_drained(), 0 if with_snapshot else -9)
        os.rename(d.data_mdb, os.path.join(self.folder, "newer.mdb"))
        os.rename(older, d.data_mdb)
        return d, last, resources

    def check_refused(self, d, code, *texts):
        """The daemon that was launched must end with the code, after one line that holds the texts."""
        self.assertEqual(d.wait(), code, f"exit code {code} was expected from {d.flags}:\n{d.log()}")
        lines = d.log_lines()
        self.assertEqual(len(lines), 1, f"one line was expected:\n{d.log()}")
        for text in texts:
            self.assertIn(text, lines[0], "the line was expected to name it")
        return lines[0]


class Load:
    """Clients that acquire, update and release over connections of their own until told to stop or cut off.

    `seqs` are the sequence numbers in the replies, `unanswered` counts requests that were sent and not answered.
    """

    def __init__(self, daemon, clients, type="car", each=None):
        self.seqs, self.statuses, self.unanswered = [], {}, 0
        self.stopping = False
        self._lock = threading.Lock()
        self._each = each
        self._threads = [threading.Thread(target=self._run, args=(daemon.port, f"load-{i}", type))
                         for i in range(clients)]
        for t in self._threads:
            t.start()

    def _run(self, port, owner, type):
        replies, unanswered, held, n = [], False, None, 0
        try:
            with Connection(port) as c:
                while not self.stopping and (self._each is None or n < self._each):
                    path, body = self._next(owner, type, held, n)
                    n += 1
                    unanswered = True
                    reply = c.request("POST", path, body)
                    unanswered = False
                    replies.append(reply)
                    if path.startswith("/acquire") and reply.status == 200:
                        held = reply.json["name"]
                    elif path.startswith("/release"):
                        held = None
        except OSError:
            pass
        with self._lock:
            self.unanswered += unanswered
            for reply in replies:
                self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
                if reply.seq:
                    self.seqs.append(reply.seq)

    @staticmethod
    def _next(owner, type, held, n):
        if held is None:
            return target("/acquire", type=type, state="free", dest="busy", owner=owner), b""
        if n % 3 == 1:
            return target("/update", name=held, owner=owner, state="busy"), b'{"n": "%d"}' % n
        return target("/release", name=held, dest="free", owner=owner), b""

    def stop(self):
        self.stopping = True
        return self.join()

    def join(self):
        for t in self._threads:
            t.join()
        return self


def main():
    if not os.access(PROGRAM, os.X_OK):
        sys.exit("BOSKOSD must name the daemon to test")
    unittest.main(verbosity=2)
