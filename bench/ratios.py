#!/usr/bin/env python3
"""Measures the ratios that boskosd must keep: what 1000 times as much costs beside little, on one machine in one run.

  bench/ratios.py [--quick] [--only NAME]... [--bin FOLDER] [--keep]

Each row compares two cases, most of them on two daemons that differ in one number only. The two are measured in turn,
A B A B ..., by `wrk` with one thread on the loopback; a row's figure is the median of the rounds' ratios, and beside
it stand the lowest and the highest of them: where these lie far apart the machine was busy with something else. The
daemons are durable: their data lies below build/, which must be on a disk. Before each measurement the daemon's shadow
state has followed what was written before, so that no round pays for another.

A row says `met` or `NOT MET`; neither changes the exit code, which is 0 when everything could be measured, else 1.
Needs wrk and the release binaries boskosd and replay_bench; `./dev bench` sees to both. Python's standard library only.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "daemon"))

import boskosd  # noqa: E402

SCRIPTS = os.path.join(TOP, "bench", "wrk")
PATIENCE = 900  # seconds until something that is waited for counts as not coming
NEVER = 10**12  # commands: no snapshot
MIB = 1 << 20


class CannotMeasure(Exception):
    """Says why."""


def say(text):
    print(text, flush=True)


# ---- the daemon under test ----------------------------------------------------


def names_of(kind, count):
    return [f"{kind}-{i:07d}" for i in range(count)]


class Daemon:
    """A boskosd with a folder of its own. `types` is {type: how many resources}."""

    def __init__(self, bench, types, snapshot_every=NEVER, log_level="error", folder=None):
        self.bench = bench
        self.types = types
        self.folder = folder or tempfile.mkdtemp(prefix="data-", dir=bench.folder)
        self.config = self.folder + ".yaml"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("resources:\n")
            for kind, count in types.items():
                f.write(f"- type: {kind}\n  state: free\n  names:\n")
                f.writelines(f"  - {name}\n" for name in names_of(kind, count))
        self.log_path = self.folder + ".log"
        self.start(snapshot_every, log_level)

    def start(self, snapshot_every, log_level):
        self.port, self.metrics_port = boskosd.free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        command = [self.bench.program("boskosd"), "--config", self.config, "--data-dir", self.folder,
                   "--address", "127.0.0.1", "--port", str(self.port), "--health-port", "0",
                   "--metrics-port", str(self.metrics_port), "--request-ttl", "24h",
                   "--snapshot-every", str(snapshot_every), "--log-level", log_level]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.bench.daemons.append(self)
        self.wait_for("an answer", self.answers)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                raise CannotMeasure(f"boskosd ended with {self.process.returncode}: {self.log()[-600:]}")
            if time.monotonic() > end:
                raise CannotMeasure(f"waited {PATIENCE} s for {what}")
            time.sleep(0.02)

    def answers(self):
        try:
            return self.call("GET", "/")[0] == 200
        except OSError:
            return False

    def call(self, method, target, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            connection.request(method, target)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def must(self, method, target):
        status, body = self.call(method, target)
        if status != 200:
            raise CannotMeasure(f"{method} {target[:80]}: {status} {body[:200]}")
        return body

    def metrics(self):
        """{name without labels: sum over its labels}"""
        page = {}
        for line in self.call("GET", "/metrics", self.metrics_port)[1].splitlines():
            match = re.match(r"([a-z_]+)(?:\{.*\})? ([0-9.e+-]+)$", line)
            if match and "_bucket{" not in line:
                page[match[1]] = page.get(match[1], 0) + float(match[2])
        return page

    def settle(self):
        """Waits until the shadow has followed as far as it can for now."""
        before = None
        while True:
            lag = self.metrics()["boskosd_shadow_lag_commands"]
            if lag == before:
                return
            before = lag
            time.sleep(0.25)

    def rss_anon_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) * 1024 / MIB

    def take_all(self, kind, count, dest, owners):
        """Makes the first `count` free resources of a type owned, in state `dest`."""
        names = names_of(kind, count)
        for i in range(0, count, 300):
            part = ",".join(names[i:i + 300])
            self.must("POST", f"/acquirebystate?state=free&dest={dest}&owner=keeper-{i // 300 % owners}&names={part}")

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.bench.daemons.remove(self)

    def end(self):
        self.kill()
        shutil.rmtree(self.folder)

    # ---- load ----

    def wrk(self, connections, seconds, script, *args, watch=lambda: None):
        """Runs wrk; calls `watch` every 20 ms meanwhile."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s",
                   os.path.join(SCRIPTS, script), self.url, "--", *map(str, args)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as run:
            while run.poll() is None:
                watch()
                time.sleep(0.02)
            output = run.stdout.read()
        figures = re.search(r"^FIGURES (\{.*\})$", output, re.M)
        if run.returncode != 0 or figures is None:
            raise CannotMeasure(f"wrk ended with {run.returncode}: {output[-600:]}")
        found = json.loads(figures[1])
        if found["socket_errors"] > 0 or found["unexpected"] > found["requests"] / 1000:
            raise CannotMeasure(f"wrk {script} {args}: not what was asked for: {found}")
        found["rate"] = found["requests"] / found["seconds"]
        return found

    def measure(self, connections, seconds, script, *args, watch=lambda: None):
        """A measurement proper: settled, and with nothing left over by the one before."""
        if script == "cycle.lua":  # what was held at the end of a run, at most one a connection
            for i in range(1, min(args[2], 10) + 1):
                self.must("POST", f"/reset?type={args[0]}&state=in-use-{i}&expire=-1s&dest={args[1]}")
        self.settle()
        return self.wrk(connections, seconds, script, *args, watch=watch)


# ---- rows ---------------------------------------------------------------------


class Bench:
    """What the rows share, and their results."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.daemons = []
        self.rows = []
        self.rounds = 3 if options.quick else 9
        self.seconds = 1 if options.quick else 2

    def program(self, name):
        return os.path.join(self.options.bin, name)

    def row(self, name, goal, value, is_met, detail):
        self.rows.append((name, goal, value, "met" if is_met else "NOT MET", detail))
        say(f"  {name}: {value} (goal {goal}): {self.rows[-1][3]}; {detail}")

    def row_ratio(self, name, goal, ratios, detail, at_least=True):
        """The median of the rounds, held against a goal it must reach or must not pass."""
        middle = statistics.median(ratios)
        is_met = middle >= goal if at_least else middle <= goal
        self.row(name, f"{'>=' if at_least else '<='} {goal}x", f"{middle:.3f}x", is_met,
                 f"rounds {min(ratios):.2f} to {max(ratios):.2f}; {detail}")

    def compare(self, name, goal, few, many, connections, script, *args, many_args=None):
        """Rates of two daemons, in turn, with the same load (or `many_args` for the second)."""
        ratios, rates = [], ([], [])
        many_args = many_args or args
        few.measure(connections, 1, script, *args)
        many.measure(connections, 1, script, *many_args)
        for _ in range(self.rounds):
            a = few.measure(connections, self.seconds, script, *args)["rate"]
            b = many.measure(connections, self.seconds, script, *many_args)["rate"]
            ratios.append(b / a)
            rates[0].append(a)
            rates[1].append(b)
        self.row_ratio(name, goal, ratios, f"{statistics.median(rates[1]):.0f}/s against "
                       f"{statistics.median(rates[0]):.0f}/s")


def measure_flat(bench):
    """acquire and release: 100,000 resources against 100"""
    few, many = (Daemon(bench, {"t": count}) for count in (100, 100000))
    bench.compare("flat", 0.85, few, many, 16, "cycle.lua", "t", "free", 1)
    few.end()
    many.end()


def fill_queue(daemon, kind, state, entries):
    while daemon.metrics()["boskosd_queue_entries"] < entries:
        daemon.wrk(64, 2, "poll.lua", kind, state, daemon.entries)


def measure_queue(bench):
    """acquire: 10,000 live queue entries against 10"""
    pair = []
    for entries in (10, 10000):
        daemon = Daemon(bench, {"t": 20000, "other": 1000})
        daemon.entries = entries
        fill_queue(daemon, "t", "void", entries)
        fill_queue(daemon, "t", "parked", 2 * entries)
        # Resources for the second queue, more than it has entries: who comes without a request id gets the one behind.
        daemon.take_all("t", 15000, "moved", 1)
        daemon.must("POST", "/reset?type=t&state=moved&expire=-1s&dest=parked")
        pair.append(daemon)
    few, many = pair
    bench.compare("queue-poll", 0.85, few, many, 16, "poll.lua", "t", "void", 10, many_args=("t", "void", 10000))
    bench.compare("queue-grant", 0.85, few, many, 16, "cycle.lua", "t", "parked", 1)
    bench.compare("queue-beside", 0.85, few, many, 16, "cycle.lua", "other", "free", 1)
    few.end()
    many.end()


def measure_distinct(bench):
    """acquire and release: 10,000 distinct states and owners against 10"""
    pair = []
    held = 10000
    for distinct in (10, 10000):
        daemon = Daemon(bench, {"t": 2 * held})
        while True:  # as many are held in both, by more or fewer owners in more or fewer states
            owners = json.loads(daemon.must("GET", "/metric?type=t"))["owner"]
            left = held - (2 * held - owners.get("", 0))
            if left <= held // 100:
                break
            daemon.wrk(64, 2, "hold.lua", "t", "free", left, distinct)
        pair.append(daemon)
    bench.compare("distinct", 0.85, *pair, 16, "cycle.lua", "t", "free", 10, many_args=("t", "free", 10000))
    for daemon in pair:
        daemon.end()


def measure_reads(bench):
    """/reset that matches none, /metric: 100,000 against 100"""
    pair = []
    for count in (100, 100000):
        daemon = Daemon(bench, {"t": count})
        daemon.take_all("t", count // 2, "busy", 10)  # half of them, by the owners of some calls
        pair.append(daemon)
    young = "/reset?type=t&state=busy&expire=24h&dest=dirty"
    bench.compare("reset-young", 0.85, *pair, 16, "same.lua", "POST", young)
    bench.compare("reset-other", 0.85, *pair, 16, "same.lua", "POST", young.replace("busy", "leased"))
    bench.compare("metric", 0.85, *pair, 16, "same.lua", "GET", "/metric?type=t")
    for daemon in pair:
        daemon.end()


def measure_memory(bench):
    """RssAnon with 100,000 resources"""
    daemon = Daemon(bench, {"t": 100000}, snapshot_every=20000)
    at_start = daemon.rss_anon_mib()
    daemon.measure(16, 1, "cycle.lua", "t", "free", 1)
    after_traffic = daemon.rss_anon_mib()
    while daemon.metrics()["boskosd_snapshots_total"] < 2:
        daemon.measure(16, 2, "cycle.lua", "t", "free", 1)
    after_snapshot = daemon.rss_anon_mib()
    most = max(at_start, after_traffic, after_snapshot)
    bench.row("memory", "<= 96 MiB", f"{most:.1f} MiB", most <= 96,
              f"{at_start:.1f} at the start, {after_traffic:.1f} after traffic, {after_snapshot:.1f} after snapshots")
    daemon.end()


def measure_cliff(bench):
    """rate at certain numbers of connections against 100"""
    daemon = Daemon(bench, {"t": 10000})
    load = (bench.seconds, "cycle.lua", "t", "free", 1)
    daemon.measure(100, *load)
    for connections in (120, 127, 128, 129, 130, 255, 256, 257, 384):
        ratios, rates = [], []
        for _ in range(max(3, bench.rounds // 2 + 1)):
            at_100 = daemon.measure(100, *load)["rate"]
            rates.append(daemon.measure(connections, *load)["rate"])
            ratios.append(rates[-1] / at_100)
        bench.row_ratio(f"cliff-{connections}", 0.8, ratios, f"{statistics.median(rates):.0f}/s")
    daemon.end()


def measure_batch(bench):
    """commits against requests at 64 connections"""
    daemon = Daemon(bench, {"t": 10000})
    ratios, commits, rates = [], [], []
    for _ in range(bench.rounds):
        before = daemon.metrics()
        found = daemon.measure(64, bench.seconds, "cycle.lua", "t", "free", 1)
        after = daemon.metrics()
        requests, transactions = (after[name] - before.get(name, 0) for name in (
            "boskos_http_request_duration_seconds_count", "boskosd_commits_total"))
        ratios.append(transactions / requests)
        commits.append(transactions / found["seconds"])
        rates.append(found["rate"])
    bench.row_ratio("batch", 0.1, ratios, f"{statistics.median(commits):.0f} commits/s, "
                    f"{statistics.median(rates):.0f} requests/s", at_least=False)
    daemon.end()


# ---- recovery and snapshots ---------------------------------------------------


def replay_seconds(bench, folder):
    done = subprocess.run([bench.program("replay_bench"), folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"replay_bench: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def recovery_seconds(daemon):
    """From the line that the daemon writes when it is ready."""
    match = re.search(r"boskosd is ready.* tail=(\d+) .*recovery=(\S+)", daemon.log())
    if match is None:
        raise CannotMeasure(f"no line about the recovery: {daemon.log()[-300:]}")
    return int(match[1]), sum(float(n) * SECONDS[u] for n, u in re.findall(r"([0-9.]+)(h|ms|µs|ns|m|s)", match[2]))


def measure_recovery(bench):
    """a start on 1,000,000 commands against a replay of the same log in one thread"""
    commands = 100000 if bench.options.quick else 1000000
    types = {"t": 10000}
    daemon = Daemon(bench, types)
    while daemon.metrics()["boskosd_seq"] < commands:
        daemon.wrk(256, 2 if bench.options.quick else 10, "cycle.lua", "t", "free", 100)
    daemon.kill()
    copy = daemon.folder + "-copy"

    def replay():
        shutil.copytree(daemon.folder, copy)
        os.sync()
        replayed = replay_seconds(bench, copy)
        shutil.rmtree(copy)
        if replayed["compared"] < replayed["commands"] * 0.9:
            raise CannotMeasure(f"few rows to compare with: {replayed}")
        return replayed["commands"], replayed["seconds"]

    def start():
        shutil.copytree(daemon.folder, copy)
        os.sync()
        started = Daemon(bench, types, log_level="info", folder=copy)
        found = recovery_seconds(started)
        started.end()
        return found

    ratios, replays, starts, tail = [], [], [], 0
    for number in range(bench.rounds):
        if number % 2 == 0:
            (tail, slow), (commands, fast) = start(), replay()
        else:
            (commands, fast), (tail, slow) = replay(), start()
        if tail != commands:
            raise CannotMeasure(f"the start replayed {tail} commands, replay_bench {commands}")
        replays.append(fast)
        starts.append(slow)
        ratios.append(slow / fast)
    shutil.rmtree(daemon.folder)
    slow, fast = statistics.median(starts), statistics.median(replays)
    bench.row_ratio("recovery", 1.5, ratios, f"{slow:.3f} s against {fast:.3f} s for {tail} commands, "
                    f"{tail / slow:.0f}/s", at_least=False)


def measure_snapshot(bench):
    """p99.9 while snapshots of 1,000,000 resources are made, against windows without

    One is made after the other, but between two of them there is a pause. All of the window's slowest requests are
    taken to be of the time when one was made: a percentile above the window's own, never below what is asked for.
    """
    types = {"t": 200000 if bench.options.quick else 1000000}
    quiet = Daemon(bench, types)
    writer = Daemon(bench, types, snapshot_every=1)  # one after the other, as long as anything changes
    folder = os.path.join(writer.folder, "journal")
    looks = []

    def is_writing():
        return any(name.endswith(".tmp") for name in os.listdir(folder))

    seconds = 3 * bench.seconds
    ratios, windows, shares, plain = [], ([], []), [], []
    load = (16, seconds, "cycle.lua", "t", "free", 1)
    for number in range(bench.rounds + 1):
        # The writer goes on to its last snapshot: then there is nothing to write, and the other has its turn.
        writer.settle()
        writer.wait_for("the last snapshot", lambda: not is_writing())
        a = quiet.measure(*load)["p999_us"][-1]
        looks.clear()
        tails = writer.measure(*load, watch=lambda: looks.append(is_writing()))["p999_us"]
        share = sum(looks) / len(looks)
        b = tails[max(0, int(10 * share) - 1)]
        if number == 0:
            continue  # warming up
        ratios.append(b / a)
        windows[0].append(a)
        windows[1].append(b)
        shares.append(share)
        plain.append(tails[-1] / a)
        for name in sorted(os.listdir(folder)):  # only the room they take
            if re.fullmatch(r"snapshot-\d+", name) and not is_writing():
                os.unlink(os.path.join(folder, name))
    if min(shares) < 0.1:
        raise CannotMeasure(f"a snapshot was being written for only {min(shares):.0%} of a window")
    bench.row_ratio("snapshot", 2.0, ratios, f"p99.9 {statistics.median(windows[1]) / 1000:.1f} ms against "
                    f"{statistics.median(windows[0]) / 1000:.1f} ms; writing during "
                    f"{statistics.median(shares):.0%} of the window; the whole windows' own "
                    f"{statistics.median(plain):.2f}x", at_least=False)
    quiet.end()
    writer.end()


# ---- the program --------------------------------------------------------------

MEASURES = {"flat": measure_flat, "queue": measure_queue, "distinct": measure_distinct, "reads": measure_reads,
            "memory": measure_memory, "cliff": measure_cliff, "batch": measure_batch, "recovery": measure_recovery,
            "snapshot": measure_snapshot}


def file_system(folder):
    done = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def print_table(bench, failures):
    say("")
    head = ("row", "goal", "measured", "", "")
    lines = [head, *bench.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths)) + "  " + line[4])
    for name, why in failures:
        say(f"{name}: could not be measured: {why}")


def run(bench, chosen):
    failures = []
    for name in chosen:
        say(f"{name}: {MEASURES[name].__doc__.splitlines()[0]}")
        try:
            MEASURES[name](bench)
        except (CannotMeasure, OSError, ValueError, KeyError) as error:
            failures.append((name, f"{type(error).__name__}: {error}"))
            say(f"  could not be measured: {failures[-1][1]}")
        finally:
            for daemon in list(bench.daemons):
                daemon.kill()
    print_table(bench, failures)
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter: 1 s windows, fewer rounds, smaller logs")
    parser.add_argument("--only", action="append", metavar="NAME", choices=sorted(MEASURES), default=[],
                        help="measure only this: " + " ".join(MEASURES))
    parser.add_argument("--bin", default=os.path.join(TOP, "build", "release", "bin"), metavar="FOLDER",
                        help="where boskosd and replay_bench are (build/release/bin)")
    parser.add_argument("--keep", action="store_true", help="leave the data and the logs there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemons are ended

    for program in ("boskosd", "replay_bench"):
        if not os.access(os.path.join(options.bin, program), os.X_OK):
            sys.exit(f"ratios.py: there is no {program} in {options.bin}; ./dev build makes it")
    if shutil.which("wrk") is None:
        sys.exit("ratios.py: wrk is not installed")
    os.makedirs(os.path.join(TOP, "build"), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="bench-", dir=os.path.join(TOP, "build"))
    try:
        kind = file_system(folder)
        if kind == "tmpfs":
            sys.exit(f"ratios.py: {folder} is not on a disk")
        say(f"data on {kind}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start")
        return run(Bench(options, folder), options.only or list(MEASURES))
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
