"""What demo.py plays on: a folder of its own, the programs started in it, what is printed, and what the journal says.

Every process started here is ended by its process id, on every way out, and dies with this one when it is killed.
"""

import collections
import contextlib
import ctypes
import datetime
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "daemon"))

import boskosd  # noqa: E402

TIME_S = 100  # for all steps together; ending what runs takes up to END_S more
END_S = 8
COLUMNS = 100
S_NS = 10**9
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1

# What a command of the journal did to the state and the owner of one resource, None for one that was removed. `who` sent it.
Change = collections.namedtuple("Change", "seq time kind name state owner who")


class Failure(Exception):
    """The demo does not go as it should."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def changes_of(commands):
    """What the commands did to states and owners, in order."""
    now, found = {}, []
    for c in commands:
        for e in c["effects"]:
            name, before = e["resource"], now.get(e["resource"], (None, None))
            if e["to"] is None:
                now[name] = (None, None)
            else:
                now[name] = (e["to"].get("state", before[0]), e["to"].get("owner", before[1]))
            if now[name] != before:
                found.append(Change(c["seq"], c["time"], c["kind"], name, *now[name], c["params"].get("owner", "")))
    return found


def holders(changes, seq):
    """name -> (state, owner) after the command of that number."""
    found = {}
    for c in changes:
        if c.seq <= seq:
            found[c.name] = (c.state, c.owner)
    return {n: held for n, held in found.items() if held[0] is not None}


def short_name(text):
    """A name that the server made, without its middle."""
    return re.sub(r"\b([0-9a-f]{8})-[0-9a-f-]{23}([0-9a-f]{4}\b)", r"\1...\2", text)


def moment_ns(text):
    """A time of boskos-replay."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return int(datetime.datetime.fromisoformat(whole + "+00:00").timestamp()) * S_NS + int(rest.ljust(9, "0"))


class Running:
    """A program in the background, what it says in a file beside its data."""

    def __init__(self, stage, name, words):
        self.name, self.log_path = name, os.path.join(stage.folder, f"{name}.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(stage.real(words), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=stage.folder, start_new_session=True, preexec_fn=die_with_parent)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def wait(self, seconds):
        """The exit code, None when it does not end."""
        try:
            return self.process.wait(max(seconds, 0.01))
        except subprocess.TimeoutExpired:
            return None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()


class Stage:
    def __init__(self, programs, keep):
        self.programs, self.keep = os.path.abspath(programs), keep
        self.folder = tempfile.mkdtemp(prefix="boskosd-demo-")
        self.begun = time.monotonic()
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"  # for the programs, too
        self.running = {}  # name -> Running, in the order of their starts
        self.url = ""
        self.shown = {}  # name -> resource, as the last table has them
        self.seq = 0  # the command after which they were so
        self.looks = []  # (first, last, resources) of every table: which commands it may be after
        self.steps = self.checks = 0
        is_colourful = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.colours = {"bold": "1", "dim": "2", "green": "32", "red": "31", "yellow": "33"} if is_colourful else {}

    # ---- what is printed ----

    def paint(self, colour, text):
        return f"\033[{self.colours[colour]}m{text}\033[0m" if colour in self.colours else text

    def say(self, text="", colour=None):
        print(self.paint(colour, text), flush=True)

    def explain(self, text):
        for line in textwrap.wrap(text, COLUMNS, break_on_hyphens=False):
            self.say(line)

    def say_command(self, words):
        """The command line as a person would type it, on several lines when it is long."""
        lines, line = [], "$"
        for word in words:
            word = shlex.quote(str(word)) if word not in ("|", "&", ">", "#") else word
            if len(line) + 1 + len(word) > COLUMNS - 2 and line.strip():
                lines.append(line + " \\")
                line = "   "
            line += " " + word
        self.say()
        for line in lines + [line]:
            self.say(line, "bold")

    @contextlib.contextmanager
    def step(self, title):
        self.steps += 1
        begun = time.monotonic()
        self.say()
        self.say(f"---- {self.steps}. {title} ".ljust(COLUMNS, "-"), "bold")
        yield
        self.say(f"     ({time.monotonic() - begun:.1f} s)", "dim")

    def check(self, is_good, text):
        if not is_good:
            raise Failure(f"not so: {text}")
        self.checks += 1
        self.say(f"ok   {text}", "green")

    # ---- programs ----

    def real(self, words):
        """The words with the program's path, from the folder that was built."""
        path = os.path.join(self.programs, words[0])
        if not os.access(path, os.X_OK):
            raise Failure(f"{path} is not there: ./dev build makes it")
        return [path, *map(str, words[1:])]

    def left_s(self):
        left = self.begun + TIME_S - time.monotonic()
        if left <= 0:
            raise Failure(f"it takes longer than {TIME_S} s")
        return left

    def start(self, *words, says=None):
        """Starts a program in the background and prints its command line. `says` is its name in the log."""
        name = says or words[0]
        self.say_command([*words, "&"])
        self.running[name] = Running(self, name, words)
        return self.running[name]

    def output(self, *words, codes=(0,)):
        """What a program prints on stdout, or when that is nothing on stderr."""
        try:
            done = subprocess.run(self.real(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  cwd=self.folder, timeout=self.left_s(), preexec_fn=die_with_parent, check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"{shlex.join(map(str, words))} does not end, and it takes longer than {TIME_S} s") from None
        text = (done.stdout or done.stderr).decode("utf-8", "replace")
        if done.returncode not in codes:
            raise Failure(f"{shlex.join(map(str, words))}: exit code {done.returncode}\n"
                          f"{text}{done.stderr.decode('utf-8', 'replace') if done.stdout else ''}")
        return text

    def show(self, *words, codes=(0,), only=None):
        """Runs a program and prints its command line and what it says, shortened by `only`. Returns all of it."""
        self.say_command([*words, "#", "shortened"] if only else words)
        text = self.output(*words, codes=codes)
        for line in (only or str.splitlines)(text):
            self.say("  " + line)
        return text

    def until(self, what, happens, pause_s=0.05):
        """Waits for it, and returns what it is."""
        while not (seen := happens()):
            gone = [r.name for r in self.running.values() if not r.is_running()]
            if gone:
                raise Failure(f"{', '.join(gone)} ended while this waited until {what}")
            try:
                time.sleep(min(pause_s, self.left_s()))
            except Failure as failure:
                raise Failure(f"{failure}: in vain it waited until {what}") from None
        return seen

    # ---- the server ----

    def get(self, url):
        """The body of a page, "" while nobody answers, or not well."""
        try:
            with urllib.request.urlopen(url, timeout=self.left_s()) as reply:
                return reply.read().decode()
        except (OSError, http.client.HTTPException):
            return ""

    def ask(self, path):
        """What the server says to a GET, which it must answer."""
        body = self.get(self.url + path)
        if body == "":
            raise Failure(f"the server does not answer GET {path}")
        return json.loads(body)

    def server_seq(self):
        return self.ask("/v1/status")["seq"]

    def resources(self, **filters):
        """name -> resource, as the server has them just now."""
        return {r["name"]: r for r in self.ask(boskosd.target("/v1/resources", **filters))["resources"]}

    def are(self, state, *names, owner=""):
        found = self.resources()
        return all(n in found and (found[n]["state"], found[n]["owner"]) == (state, owner) for n in names)

    # ---- the journal ----

    def replay(self, *words, **more):
        return self.output("boskos-replay", "--data-dir", "data", *words, **more)

    def commands(self):
        """The commands of the journal, as boskos-replay says them."""
        return [json.loads(line) for line in self.replay("log", "--json").splitlines()]

    # ---- tables ----

    def look(self):
        """Prints what boskosctl lists, with marks at what is not as in the table before, and how that came about."""
        words = ["boskosctl", "list", f"--server-url={self.url}"]
        self.say_command(words)
        first = self.server_seq()
        found = {r["name"]: r for r in json.loads(self.output(*words, "-o", "json"))}
        last = self.server_seq()
        self.print_table(found)

        # The list is what there was after one of the commands from `first` to `last`.
        changes = changes_of(self.commands())
        wanted = {n: (r["state"], r["owner"]) for n, r in found.items()}
        seq = next((s for s in range(first, last + 1) if holders(changes, s) == wanted), None)
        if seq is None:
            raise Failure(f"the list is no state of the journal from {first} to {last}")
        self.print_ways([c for c in changes if self.seq < c.seq <= seq])
        self.shown, self.seq = found, seq
        self.looks.append((first, last, found))
        return found

    def print_ways(self, changes):
        """What came between two tables, where that is more than the two say."""
        for name in sorted({c.name for c in changes}):
            own = [c for c in changes if c.name == name]
            if len(own) == 1:
                continue
            words = [self.shown[name]["state"]] if name in self.shown else []
            words += ["(gone)" if c.state is None else f"{c.state} ({c.owner})" if c.owner else c.state for c in own]
            text = f"{short_name(name)}: " + " -> ".join(short_name(w) for w in words)
            for line in textwrap.wrap(text, COLUMNS - 2, subsequent_indent="      ", break_on_hyphens=False):
                self.say("  " + line, "dim")

    def print_table(self, found):
        rows, marks = [("NAME", "TYPE", "STATE", "OWNER")], [" "]
        for name in sorted({*found, *self.shown}, key=lambda n: ((found.get(n) or self.shown[n])["type"], n)):
            now, before = found.get(name), self.shown.get(name)
            r = now or before
            rows.append((name, r["type"], r["state"] if now else "(gone)", r["owner"] or "-" if now else "-"))
            is_same = now and before and all(now[k] == before[k] for k in ("state", "owner"))
            marks.append("+" if not before else "-" if not now else " " if is_same else ">")
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for mark, row in zip(marks, rows):
            line = f"{mark} " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            self.say(line, {" ": None, "-": "red"}.get(mark, "yellow"))

    # ---- the end ----

    def end(self, seconds):
        """Asks all that runs to end, the last one first, and does not ask twice. name -> exit code."""
        until = time.monotonic() + seconds
        codes = {}
        for r in reversed(self.running.values()):
            r.signal(signal.SIGTERM)
            code = r.wait(until - time.monotonic())
            if code is None:
                r.signal(signal.SIGKILL)
                code = r.wait(END_S)
            codes[r.name] = code
        return codes

    def close(self):
        """Nothing is left running, and nothing on the disk."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.end(END_S / 2)
        if self.keep:
            self.say(f"\nall of it is still in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def print_logs(self, lines=15):
        for r in self.running.values():
            self.say(f"\n---- the end of {r.name}.log", "bold")
            for line in r.log().splitlines()[-lines:]:
                self.say("  " + line)
