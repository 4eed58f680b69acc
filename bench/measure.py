"""What bench/run.py measures: a group has servers and data of its own, takes its part in every round, and makes rows of
what the rounds brought. All groups take turns, round by round, since a disk drifts: only ratios within a run count."""

import json
import math
import os
import re
import statistics
import subprocess
import time
import urllib.parse

import servers
from servers import CannotMeasure

KIB, MIB = 1024, 1 << 20


class Row:
    """A figure of each round, held against a goal. `goal` None: there is none, it is for information."""

    def __init__(self, name, values, unit="x", goal=None, at_least=True, detail="", any_sign=False):
        if not values:
            raise CannotMeasure(f"{name}: no figures")
        self.name, self.values, self.unit, self.goal = name, list(values), unit, goal
        self.at_least, self.detail, self.any_sign = at_least, detail, any_sign
        self.median, self.least, self.most = statistics.median(values), min(values), max(values)
        self.is_met = None if goal is None else (self.median >= goal if at_least else self.median <= goal)

    @property
    def goal_text(self):
        if self.goal is None:
            return ""
        return ("at least " if self.at_least else "at most ") + figure(self.goal, self.unit)

    @property
    def verdict(self):
        return {None: "", True: "met", False: "NOT met"}[self.is_met]

    def is_sound(self):
        """Has it the shape of a measurement?"""
        return all(math.isfinite(v) and (self.any_sign or v > 0) for v in self.values)

    def as_json(self):
        return {"row": self.name, "unit": self.unit, "goal": self.goal, "at_least": self.at_least,
                "median": self.median, "min": self.least, "max": self.most, "met": self.is_met,
                "rounds": self.values, "detail": self.detail}


def figure(value, unit):
    """A number as the tables show it."""
    if unit in ("x", "s", "ms", "%"):
        text = f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
    else:
        text = f"{value:,.0f}"
    return text + ({"x": "x", "%": " %"}.get(unit, " " + unit) if unit else "")


def ratios(above, below):
    return [a / b for a, b in zip(above, below)]


class Group:
    """`prepare` once, `round` once a round, `rows` at the end. A part of the rounds may be enough: `rounds_most`."""

    rounds_most = 10**6

    def __init__(self, bench):
        self.bench = bench
        self.found = {}  # {key: figures of each round}

    def prepare(self):
        pass

    def round(self, number):
        raise NotImplementedError

    def rows(self):
        raise NotImplementedError

    def add(self, key, value):
        self.found.setdefault(key, []).append(value)

    def all(self, key, of="rate"):
        values = self.found.get(key, [])
        return [v[of] for v in values] if values and isinstance(values[0], dict) else values

    def middle(self, key, of="rate"):
        return statistics.median(self.all(key, of))


# ---- cycle against the others -----------------------------------------------------------------


class Cycle(Group):
    """acquire and release, against every peer"""

    GOALS = {("raw", 16): [0.95], ("raw", 64): [0.95], ("raw", 256): [0.9], ("redis", 16): [1.0], ("redis", 64): [1.1],
             ("redis", 256): [1.2, 1.4], ("postgresql", 64): [4.0], ("etcd", 64): [8.0]}

    def prepare(self):
        b = self.bench
        types = {"t": b.count(10000, 1000)}
        self.ours = servers.Boskosd(b, types)
        self.others = [servers.Raw(b, types)]
        wanted = servers.OTHERS if not b.options.quick else servers.OTHERS[:3]
        for kind in wanted:
            if kind.program() is None:
                b.skip(f"{kind.name} is not installed")
                continue
            try:
                self.others.append(kind(b, types))
            except (CannotMeasure, OSError, subprocess.SubprocessError) as error:
                b.skip(f"{kind.name} cannot be started: {error}")
        if b.boskos is not None:
            self.others.append(servers.Boskos(b, types))
        self.clients = (16, 64, 256)
        self.few = () if b.options.quick else (1, 4)  # for the picture

    def measure(self, server, clients):
        b = self.bench
        # What answers a few hundred a second needs time to be counted.
        self.add((server.name, clients), b.load(server, clients=clients))

    def round(self, number):
        clients = self.clients + (self.few if number < 3 else ())
        for n in sorted(clients):
            # The order turns, so that nobody always follows the same one.
            everybody = [self.ours, *self.others]
            shift = number % len(everybody)
            for server in everybody[shift:] + everybody[:shift]:
                self.measure(server, n)

    def rows(self):
        for other in self.others:
            for n in self.clients:
                goals = self.GOALS.get((other.name, n), [None])
                ours, theirs = self.all((self.ours.name, n)), self.all((other.name, n))
                for i, goal in enumerate(goals):
                    yield Row(f"cycle/{other.name} {n}" + (" then" if i > 0 else ""), ratios(ours, theirs), goal=goal,
                              detail=f"{statistics.median(ours):,.0f}/s against {statistics.median(theirs):,.0f}/s")

    def shares(self):
        """[(server, clients, rate, generator's share, server's share)]: medians"""
        return [(name, n, self.middle(key), self.middle(key, "generator_cpu"), self.middle(key, "server_cpu"))
                for key in sorted(self.found, key=lambda k: (k[1], k[0])) for name, n in [key]]


class Connections(Group):
    """some numbers of connections, of which many are ready at once"""

    def prepare(self):
        b = self.bench
        self.server = servers.Boskosd(b, {"t": 20000})
        if b.options.quick:
            self.parts = {"128": [128], "256": [256], "384": [384]}
        else:
            step = 5 if b.options.smoke else 1
            self.parts = {"120..130": list(range(120, 131, step)), "250..260": list(range(250, 261, step)),
                          "384": [384], "1,000": [1000], "10,000": [10000]}

    def round(self, number):
        b = self.bench
        numbers = [n for part in self.parts.values() for n in part]
        before = b.load(self.server, clients=100)["rate"]
        for i in range(0, len(numbers), 3):  # held against what the disk gives just then
            found = {n: b.load(self.server, clients=n) for n in numbers[i:i + 3]}
            after = b.load(self.server, clients=100)["rate"]
            for n, one in found.items():
                self.add(n, one["rate"] / ((before + after) / 2))
                self.add((n, "gap"), one["longest_gap_ms"])
            before = after

    def rows(self):
        for part, numbers in self.parts.items():
            worst = min(numbers, key=self.middle)
            goal = 0.8 if numbers[0] <= 384 else None
            yield Row(f"connections {part}", self.all(worst), goal=goal,
                      detail="of the rate at 100" + (f"; the worst is {worst}" if len(numbers) > 1 else ""))
        small = [n for part in self.parts.values() for n in part if n <= 384]
        longest = [max(gaps) for gaps in zip(*(self.all((n, "gap")) for n in small))]
        yield Row("connections: longest silence", [max(longest)], "ms", 1000, False,
                  "without any answer, in all rounds: a stall would be for good")


class Idle(Group):
    """10,000 connections beside 64 busy ones"""

    def prepare(self):
        b = self.bench
        self.count = b.count(10000)
        self.server = servers.Boskosd(b, {"t": b.count(10000, 1000)})
        self.pool = connection_pool()

    def round(self, number):
        b = self.bench
        alone = b.load(self.server, clients=64)["rate"]
        before = self.server.rss_anon()
        most = [0]

        def watch():
            most[0] = max(most[0], self.server.rss_anon())

        beside = b.load(self.server, clients=64, idle=self.count, watch=watch)["rate"]
        again = b.load(self.server, clients=64)["rate"]
        self.add("rate", beside / ((alone + again) / 2))
        if number == 0:  # freed memory is kept and used again: only the first time shows what they take
            self.add("bytes", max(1, most[0] - before) / self.count)

    def rows(self):
        yield Row("idle connections: rate beside 10,000", self.all("rate"), goal=0.9,
                  detail="64 busy ones, against 64 alone")
        yield Row("idle connections: memory each", self.all("bytes"), "B", self.pool + 4 * KIB, False,
                  f"the pool of {self.pool // KIB} KiB and 4 KiB")


def connection_pool():
    with open(os.path.join(servers.TOP, "http", "internal.h"), encoding="utf-8") as f:
        found = re.search(r"#define POOL_BYTES \(?(\d+)u?(?: \* (\d+))?", f.read())
    return int(found[1]) * int(found[2] or 1)


# ---- latency ----------------------------------------------------------------------------------


class HalfPeak(Group):
    """open loop at half of the peak rate, the journal alone at that rate, the disk's own flush, and pauses of the machine"""

    def prepare(self):
        b = self.bench
        types = {"t": b.count(10000, 1000)}
        self.server, self.raw = servers.Boskosd(b, types), servers.Raw(b, types)
        self.folder = b.make_folder("disk")

    def round(self, number):
        b = self.bench
        # The peak is what the disk allows in this round: half of another day's may be more than all of it.
        peak = b.load(self.server, clients=256)["rate"]
        both = [("open", self.server), ("raw", self.raw)]
        for key, server in both if number % 2 == 0 else both[::-1]:
            self.add(key, b.load(server, clients=256, rate=peak / 2, seconds=2 * b.seconds))
        disk = b.run("disk", "--data-dir", self.folder, "--seconds", 2 * b.seconds)
        over = b.run("disk", "--data-dir", self.folder, "--seconds", b.seconds, "--overwrite")
        self.add("disk", disk)
        self.add("overwrite", over)
        self.add("pauses", b.run("pauses", "--seconds", 2 * b.seconds))

    def rows(self):
        p99 = [f["latency_us"]["p99"] for f in self.found["open"]]
        raw = [f["latency_us"]["p99"] for f in self.found["raw"]]
        disk = [f["latency_us"]["p99"] for f in self.found["disk"]]
        yield Row("p99 at half the peak rate", ratios(p99, disk), goal=3, at_least=False,
                  detail=f"{statistics.median(p99) / 1000:.2f} ms at {self.middle('open', 'offered'):,.0f}/s; the disk's fdatasync "
                         f"p99 {statistics.median(disk) / 1000:.2f} ms")
        yield Row("p99 at that rate against raw", ratios(p99, raw),
                  detail=f"raw's is {statistics.median(raw) / 1000:.2f} ms")
        pauses = self.found["pauses"]
        yield Row("p99 of pauses alone", [f["wait_us"]["p99"] / 1000 for f in pauses], "ms", any_sign=True,
                  detail=f"{statistics.median(f['share'] for f in pauses):.1%} of the time, the longest "
                         f"{max(f['longest_ms'] for f in pauses):.0f} ms")
        yield Row("disk: flushes, appended", self.all("disk"), "/s")
        yield Row("disk: flushes, overwritten", self.all("overwrite"), "/s")


class Heartbeat(Group):
    """2,000 leases that beat every 10 s over 10,000 resources, 300 clients that poll every 3 s"""

    def prepare(self):
        b = self.bench
        self.leases, self.pollers = b.count(2000), b.count(300)
        self.server = servers.Boskosd(b, {"t": b.count(10000, 1000)})
        self.folder = b.make_folder("disk")

    def round(self, number):
        b = self.bench
        self.add("load", b.load(self.server, "heartbeat", clients=self.leases + self.pollers, beaters=self.leases,
                                rate=self.leases / 10, poll_rate=self.pollers / 3, seconds=3 * b.seconds))
        self.add("disk", b.run("disk", "--data-dir", self.folder, "--seconds", b.seconds))

    def rows(self):
        p99 = [f["latency_us"]["p99"] / 1000 for f in self.found["load"]]
        disk = [f["latency_us"]["p99"] / 1000 for f in self.found["disk"]]
        yield Row("heartbeat: p99 above the disk's", [a - b for a, b in zip(p99, disk)], "ms", 5, False,
                  f"{statistics.median(p99):.2f} ms; the disk's {statistics.median(disk):.2f} ms", any_sign=True)
        # The system counts processor time in hundredths of a second.
        yield Row("heartbeat: of one core", [100 * max(v, 0.001) for v in self.all("load", "server_cpu")], "%", 15,
                  False, f"{self.leases / 10 + self.pollers / 3:.0f} requests a second")


class Snapshot(Group):
    """1,000,000 resources: the slowest request while snapshots are written, one after the other, and without"""

    def prepare(self):
        b = self.bench
        types = {"t": b.count(1000000)}
        self.quiet = servers.Boskosd(b, types)
        self.writer = servers.Boskosd(b, types, snapshot_every=1)
        self.journal = os.path.join(self.writer.folder, "journal")

    def is_writing(self):
        return any(name.endswith(".tmp") for name in os.listdir(self.journal))

    def round(self, number):
        b = self.bench
        looks = []
        load = {"clients": 16, "rate": b.count(2000), "seconds": 3 * b.seconds}
        self.writer.settle()
        if not b.options.smoke:
            self.writer.wait_for("the last snapshot", lambda: not self.is_writing())
        without = b.load(self.quiet, **load)
        beside = b.load(self.writer, watch=lambda: looks.append(self.is_writing()), **load)
        self.add("share", sum(looks) / max(1, len(looks)))
        for name, one in (("without", without), ("beside", beside)):
            self.add(name, one)
        for name in os.listdir(self.journal):  # only the room they take
            if re.fullmatch(r"snapshot-\d+", name) and not self.is_writing():
                os.unlink(os.path.join(self.journal, name))

    def latency(self, key, which):
        return [f["latency_us"][which] / 1000 for f in self.found[key]]

    def rows(self):
        for which, goal in (("max", 5), ("p999", None)):
            beside, without = self.latency("beside", which), self.latency("without", which)
            yield Row(f"snapshot: {'slowest request' if goal else 'p99.9'}, added",
                      [a - b for a, b in zip(beside, without)], "ms", goal, False,
                      f"{statistics.median(beside):.2f} ms against {statistics.median(without):.2f} ms; written during "
                      f"{statistics.median(self.all('share')):.0%} of the window", any_sign=True)


# ---- size -------------------------------------------------------------------------------------


class Cost(Group):
    """acquire and release with 100, 10k, 100k and 1M resources, and what memory they take"""

    def prepare(self):
        b = self.bench
        self.servers = {n: servers.Boskosd(b, {"t": b.count(n, 100)}) for n in (100, 10000, 100000, 1000000)}
        self.one = servers.Boskosd(b, {"t": 1})
        self.memory = None

    def measure_memory(self):
        sizes = {}
        for n, server in [(1, self.one), *self.servers.items()]:
            server.settle()
            count = sum(json.loads(server.must("GET", "/metric?type=t"))["current"].values())
            sizes[count] = min_over_time(server.rss_anon)
        return sizes

    def round(self, number):
        if number == 0:
            for server in (self.one, *self.servers.values()):  # the rows before become durable, the shadow follows
                self.bench.load(server, clients=1, warmup=0, seconds=0.2)
            self.memory = self.measure_memory()
        for n, server in self.servers.items():
            self.add(n, self.bench.load(server, clients=64))

    def rows(self):
        few = self.all(100)
        for n in list(self.servers)[1:]:
            many = self.all(n)
            yield Row(f"cost: rate at {n:,} against 100", ratios(many, few), goal=0.9 if n == 1000000 else None,
                      detail=f"{statistics.median(many):,.0f}/s against {statistics.median(few):,.0f}/s at 64 clients")
        most = max(self.memory)
        each = max(1, self.memory[most] - self.memory[1]) / (most - 1) / 2
        yield Row("memory: a resource in each state", [each], "B", 160, False,
                  f"RssAnon {self.memory[most] / MIB:.1f} MiB with {most:,} resources in two states, "
                  f"{self.memory[1] / MIB:.1f} MiB with one")


def min_over_time(look, seconds=1.0):
    """What it comes to when nothing is under way."""
    values, end = [look()], time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        values.append(look())
    return min(values)


class Replay(Group):
    """replay with all checks at 10k and 1M resources; a start on 1M resources and 5M commands, cold; the state at a point"""

    def prepare(self):
        b = self.bench
        self.small = self.make_log({"t": b.count(10000, 1000)}, b.count(1000000, 2000))
        self.large = self.make_log({"t": b.count(1000000, 1000)}, b.count(5000000, 2000))
        every = b.count(1000000, 1000)
        self.pasts_types = {"t": b.count(1000000, 1000) - 1, "one": 1}
        self.pasts = self.make_log(self.pasts_types, 3 * every, snapshot_every=every)
        self.point = self.find_point(every)

    def make_log(self, types, commands, **how):
        b = self.bench
        server = servers.Boskosd(b, types, log_level="info", **how)
        had, rate = server.metrics()["boskosd_seq"], 60000
        while had < commands:  # a little less than what is left at a time: it shall not be many more
            seconds = min(10, max(0.1, (commands - had) / rate / 1.05))
            b.load(server, clients=b.count(1000), warmup=0, seconds=seconds)
            has = server.metrics()["boskosd_seq"]
            had, rate = has, max(1, has - had) / seconds
        server.settle()
        server.stop(9)
        return server

    def ask(self, *words):
        """boskos-replay on the log with snapshots: what it prints."""
        done = subprocess.run([self.bench.program("boskos-replay"), "--data-dir", self.pasts.folder, "--json", *words],
                              capture_output=True, text=True, check=False, timeout=servers.PATIENCE)
        if done.returncode != 0:
            raise CannotMeasure(f"boskos-replay: {done.stderr[-300:]}")
        return json.loads(done.stdout)

    def find_point(self, every):
        """The point that has most commands between itself and the snapshot before it, of at most every - 1."""
        about = self.ask("info")
        seqs = [s["seq"] for s in about["snapshots"]]
        ends = [after - 1 for after in seqs[1:]] + [about["last"]]
        points = [(min(end, seq + every - 1), seq) for seq, end in zip(seqs, ends)]
        if not points:
            raise CannotMeasure("there is no snapshot")
        return max(points, key=lambda p: p[0] - p[1])

    def show(self):
        """How long boskos-replay takes to show one resource of the state at the point."""
        began = time.monotonic()
        state = self.ask("show", "--at", str(self.point[0]), "--type", "one")
        took = time.monotonic() - began
        if state["seq"] != self.point[0] or len(state["resources"]) != 1:
            raise CannotMeasure("boskos-replay shows another state")
        return took

    def replay(self, server):
        return self.bench.run("replay", server.folder)

    def start_cold(self, server):
        """One start, from a cold cache: what the daemon's own line says. The log grows by the command of the start."""
        forget(os.path.join(server.folder, "journal"))
        with open(server.log_path, "wb"):
            pass
        began = time.monotonic()
        server.start()
        took = time.monotonic() - began
        server.stop(9)
        found = re.search(r"boskosd is ready.* tail=(\d+) .*recovery=(\S+)", server.log())
        if found is None:
            raise CannotMeasure(f"no line about the recovery: {server.log()[-300:]}")
        return {"commands": int(found[1]), "recovery": seconds_of(found[2]), "seconds": took}

    def round(self, number):
        self.replay(self.small)  # warm: what lay idle for a while takes longer, once
        self.add("small", self.replay(self.small))
        self.add("cold", self.start_cold(self.large))
        self.replay(self.large)
        large = self.replay(self.large)
        self.add("large", large)
        self.add("warm", self.start_warm(self.large)["recovery"] / large["seconds"])
        self.show()  # warm
        self.add("point", self.show())

    def start_warm(self, server):
        with open(server.log_path, "wb"):
            pass
        server.start()
        server.stop(9)
        found = re.search(r"boskosd is ready.* recovery=(\S+)", server.log())
        return {"recovery": seconds_of(found[1])}

    def rows(self):
        for key, goal, name in (("small", 3e6, "10k"), ("large", 2.5e6, "1M")):
            one = self.found[key][-1]
            if min(self.all(key, "compared")) < 0.9 * min(self.all(key, "commands")):
                raise CannotMeasure(f"few rows to compare with: {one}")
            yield Row(f"replay: {name} resources", self.all(key, "commands_per_second"), "/s", goal, True,
                      f"{one['commands']:,} commands, {one['resources']:,} resources, all checks, one thread, warm")
        one = self.found["cold"][-1]
        yield Row("recovery: 1M resources, 5M commands, cold", self.all("cold", "recovery"), "s", 2.5, False,
                  f"{one['commands']:,} commands; to the first answer {self.middle('cold', 'seconds'):.2f} s")
        yield Row("recovery against replay, warm", self.all("warm"), goal=1.5, at_least=False)
        point, snapshot = self.point
        yield Row("show: a point, warm", self.all("point"), "s", 1, False,
                  f"{point - snapshot:,} commands behind a snapshot, {sum(self.pasts_types.values()):,} resources")


UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def seconds_of(duration):
    return sum(float(n) * UNITS[u] for n, u in re.findall(r"([0-9.]+)(h|ms|µs|ns|m|s)", duration))


def forget(folder):
    """Has the system drop what it keeps of the files in memory."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


# ---- other work -------------------------------------------------------------------------------


class Workloads(Group):
    """contended, update, metric, mixed and trim: rates"""

    def prepare(self):
        b = self.bench
        self.clients = 64
        self.scarce = servers.Boskosd(b, {"t": max(1, self.clients // 10)})
        self.plenty = servers.Boskosd(b, {"t": b.count(10000, 1000)})
        record = servers.Boskosd(b, {"t": 1000})
        b.load(record, "contended", clients=self.clients, seconds=0.5)
        b.load(record, "update", clients=self.clients, seconds=0.5)
        record.settle()
        self.script = os.path.join(b.folder, "mixed.script")
        done = subprocess.run([b.program("boskos-replay"), "--data-dir", record.folder, "log", "--json"],
                              capture_output=True, text=True, check=False, timeout=servers.PATIENCE)
        if done.returncode != 0:
            raise CannotMeasure(f"boskos-replay: {done.stderr[-300:]}")
        self.leases = write_script(done.stdout.splitlines(), self.script)
        record.end()
        # Snapshots as often in both, so that only one of them has something to trim.
        every = b.count(20000, 1000)
        self.keeps = servers.Boskosd(b, {"t": 1000}, snapshot_every=every)
        self.trims = servers.Boskosd(b, {"t": 1000}, snapshot_every=every, flags=["--retain-bytes", "64MiB"])
        end = time.monotonic() + (0 if b.options.smoke else 120)
        while self.trims.metrics()["boskosd_log_first_seq"] < 2 and time.monotonic() < end:
            for server in (self.keeps, self.trims):
                b.load(server, clients=256, seconds=2)

    def round(self, number):
        b = self.bench
        self.add("contended", b.load(self.scarce, "contended", clients=self.clients))
        self.add("update", b.load(self.plenty, "update", clients=self.clients))
        self.add("metric", b.load(self.plenty, "metric", clients=self.clients))
        self.add("mixed", b.load(self.plenty, "mixed", clients=self.clients, script=self.script))
        keeps = b.load(self.keeps, clients=64, seconds=3 * b.seconds)["rate"]
        before = self.trims.metrics()["boskosd_log_first_seq"]
        trims = b.load(self.trims, clients=64, seconds=3 * b.seconds)["rate"]
        self.add("trim", trims / keeps)
        self.add("trimmed", self.trims.metrics()["boskosd_log_first_seq"] - before)

    def rows(self):
        granted = statistics.median(self.all("contended", "good"))
        yield Row("contended", self.all("contended"), "/s", detail=f"64 clients for 6 resources, request ids; "
                  f"{granted / self.bench.seconds:,.0f}/s of them granted or released")
        yield Row("update, 1 KiB of userdata", self.all("update"), "/s", detail="64 clients")
        yield Row("metric", self.all("metric"), "/s", detail=f"64 clients, {self.bench.count(10000):,} resources")
        yield Row("mixed, from a recorded log", self.all("mixed"), "/s", detail=f"64 clients, {self.leases:,} leases")
        yield Row("trim: rate while the log is trimmed", self.all("trim"),
                  detail=f"{statistics.median(self.all('trimmed')):,.0f} records removed in a window, against a log "
                         "that is kept")


def write_script(lines, path):
    """Makes a script for `mixed` of what boskos-replay log --json printed: the requests of each lease together."""
    open_leases, done = {}, []
    for line in lines:
        entry = json.loads(line)
        kind, params = entry["kind"], dict(entry.get("params") or {})
        if kind == "acquire":
            request = "POST /acquire?" + urllib.parse.urlencode(params)
            if entry.get("status") == 200:
                name = json.loads(entry["reply"])["name"]
                open_leases[name] = [request]
            else:
                done.append([request])
        elif kind in ("update", "release") and params.get("name") in open_leases:
            name, body = params.pop("name"), params.pop("userdata", None)
            text = f"POST /{kind}?name=\x01&" + urllib.parse.urlencode(params)
            if body is not None:
                text += "\t" + json.dumps(body)
            open_leases[name].append(text)
            if kind == "release":
                done.append(open_leases.pop(name))
    if not done:
        raise CannotMeasure("the recorded log has no lease")
    with open(path, "w", encoding="utf-8") as f:
        for script in done:
            f.write("\n".join(script) + "\n\n")
    return len(done)


class Kept(Group):
    """ratios that have been kept from the beginning: queues, distinct owners and states, reads, batches"""

    rounds_most = 5

    def script(self, name, scripts):
        path = os.path.join(self.bench.folder, name + ".script")
        with open(path, "w", encoding="utf-8") as f:
            for one in scripts:
                f.write("\n".join(one) + "\n\n")
        return path

    def prepare(self):
        self.pairs = {}  # {row: ((server, script), (server, script))}
        self.prepare_queues()
        self.prepare_distinct()
        self.prepare_reads()

    def polls(self, name, state, count):
        return self.script(name, [[f"POST /acquire?type=t&state={state}&dest=busy&owner=waiter-{i}&request_id=id-{i}"]
                                  for i in range(count)])

    def cycle(self, name, kind, state, distinct):
        return self.script(name, [[f"POST /acquire?type={kind}&state={state}&dest=in-use-{i}&owner=owner-{i}",
                                   f"POST /release?name=\x01&dest={state}&owner=owner-{i}"] for i in range(distinct)])

    def prepare_queues(self):
        b = self.bench
        pair = []
        for entries in (10, b.count(10000)):
            server = servers.Boskosd(b, {"t": b.count(20000), "other": 1000})
            polls = self.polls(f"void-{entries}", "void", entries)
            parked = self.polls(f"parked-{entries}", "parked", entries)
            while server.metrics()["boskosd_queue_entries"] < 2 * entries:
                for script in (polls, parked):
                    b.load(server, "mixed", clients=64, script=script, seconds=0.5, warmup=0)
            # More than the queue has entries: who comes without a request id gets the one behind.
            server.take_all("t", b.count(15000), "moved", 1)
            server.must("POST", "/reset?type=t&state=moved&expire=-1s&dest=parked")
            pair.append((server, polls))
        grant = self.cycle("grant", "t", "parked", 64)
        beside = self.cycle("beside", "other", "free", 64)
        self.pairs["queue: poll, 10,000 entries against 10"] = tuple(pair)
        self.pairs["queue: grant behind 10,000 against 10"] = tuple((s, grant) for s, _ in pair)
        self.pairs["queue: beside 10,000 against 10"] = tuple((s, beside) for s, _ in pair)

    def prepare_distinct(self):
        b = self.bench
        held, pair = b.count(10000), []
        for distinct in (10, held):
            server = servers.Boskosd(b, {"t": 2 * held})
            names = servers.names_of("t", held)
            for i in range(0, held, 100):
                part = ",".join(names[i:i + 100])
                for j in range(1 if distinct == 10 else 100):
                    one = part if distinct == 10 else names[i + j] if i + j < held else None
                    if one is not None:
                        n = (i // 100) % 10 if distinct == 10 else i + j
                        server.must("POST", f"/acquirebystate?state=free&dest=held-{n}&owner=holder-{n}&names={one}")
            pair.append((server, self.cycle(f"distinct-{distinct}", "t", "free", distinct)))
        self.pairs["distinct owners and states: 10,000 against 10"] = tuple(pair)

    def prepare_reads(self):
        b = self.bench
        pair = []
        for count in (100, b.count(100000, 100)):
            server = servers.Boskosd(b, {"t": count})
            server.take_all("t", count // 2, "busy", 10)
            pair.append(server)
        young = "POST /reset?type=t&state=busy&expire=24h&dest=dirty"
        for name, request in (("reset of what is too young", young),
                              ("reset of a state that none is in", young.replace("busy", "leased")),
                              ("metric", "GET /metric?type=t")):
            script = self.script(name.replace(" ", "-"), [[request]])
            self.pairs[f"{name}: 100,000 against 100"] = tuple((s, script) for s in pair)

    def round(self, number):
        for name, pair in self.pairs.items():
            rates = [self.bench.load(server, "mixed", clients=16, script=script)["rate"] for server, script in pair]
            self.add(name, rates[1] / rates[0])
        server = self.pairs["queue: poll, 10,000 entries against 10"][0][0]
        before = server.metrics()
        self.bench.load(server, "mixed", clients=64, script=self.pairs["queue: beside 10,000 against 10"][0][1])
        after = server.metrics()
        requests, commits = (after[n] - before.get(n, 0) for n in (
            "boskos_http_request_duration_seconds_count", "boskosd_commits_total"))
        self.add("batch", commits / requests)

    def rows(self):
        for name in self.pairs:
            yield Row(name, self.all(name), goal=0.85)
        yield Row("commits a request at 64 clients", self.all("batch"), goal=0.1, at_least=False)


QUICK = (Cycle, Connections)
FULL = (Cycle, Connections, HalfPeak, Idle, Heartbeat, Cost, Snapshot, Replay, Workloads, Kept)
