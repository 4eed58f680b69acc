#!/usr/bin/env python3
"""Measures boskosd against what people would pick instead, and against its goals.

  ./dev bench [--quick | --smoke] [--only GROUP]... [--rounds N] [--peer boskos=PATH] [--pin] [--write] [--keep]

Each server gets the same work from the same generator (build/release/bin/boskos-bench) on the loopback: leases and
releases that are on the disk before they are answered. Everything is measured in turn, round by round, and a row's
figure is the median of the rounds' figures, with the lowest and the highest beside it: a disk drifts, so only ratios
within one run count. A row says `met` or `NOT met`; neither changes the exit code, which is 0 when everything could be
measured.

The peers are Redis, PostgreSQL, etcd and beanstalkd from Debian's packages; those that are not there are left out, and
a line says so. The data lies below build/, which must be on a disk. docs/PERFORMANCE.md explains the rows.
Python's standard library only.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import measure  # noqa: E402
import pictures  # noqa: E402
import servers  # noqa: E402
from servers import CannotMeasure, TOP  # noqa: E402

DOCUMENT = os.path.join(TOP, "docs", "PERFORMANCE.md")
BEGIN, END = "<!-- results: written by bench/run.py --write -->\n", "<!-- end of results -->\n"
SMOKE_SHRINKS = 500  # a count of the full run becomes this much smaller


def say(text=""):
    print(text, flush=True)


class Bench:
    """What the groups share."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.servers, self.skipped, self.failures = [], [], []
        self.folders = 0
        self.boskos = options.boskos
        self.rounds = options.rounds or (1 if options.smoke else 5 if options.quick else 9)
        self.seconds = 0.2 if options.smoke else 1.0
        self.warmup = 0.05 if options.smoke else 0.25
        self.generator = None  # the process that is under way

    def count(self, full, least=10):
        return max(least, full // SMOKE_SHRINKS) if self.options.smoke else full

    def program(self, name):
        return os.path.join(self.options.bin, name)

    def make_folder(self, name):
        self.folders += 1
        path = os.path.join(self.folder, f"{self.folders:02d}-{name}")
        os.mkdir(path, 0o755)
        return path

    def skip(self, why):
        say(f"  skipped: {why}")
        self.skipped.append(why)

    def run(self, *arguments, watch=None):
        """Runs boskos-bench; its last line. Calls `watch` every 20 ms meanwhile."""
        command = [self.program("boskos-bench"), *map(str, arguments)]
        self.generator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, text=True, start_new_session=True,
                                          preexec_fn=servers.die_with_parent)
        try:
            while watch is not None and self.generator.poll() is None:
                watch()
                time.sleep(0.02)
            output, errors = self.generator.communicate(timeout=servers.PATIENCE)
        finally:
            if self.generator.poll() is None:
                self.generator.kill()
                self.generator.wait()
        if self.generator.returncode != 0:
            raise CannotMeasure(f"{' '.join(command[1:])}: {errors.strip()[-300:]}")
        return json.loads(output.splitlines()[-1])

    def load(self, server, workload="cycle", watch=None, seconds=None, warmup=None, **flags):
        server.settle()
        words = ["load", "--peer", server.kind, "--workload", workload, "--port", server.port, "--server-pid",
                 server.process.pid, "--seconds", self.seconds if seconds is None else seconds, "--warmup",
                 self.warmup if warmup is None else warmup]
        for name, value in flags.items():
            words += ["--" + name.replace("_", "-"), value]
        if self.options.pin:
            words += ["--cpu", os.cpu_count() - 1]
        found = self.run(*words, watch=watch)
        if found["skipped"] > found["latency_us"]["count"] / 100:
            raise CannotMeasure(f"{workload}: {found['skipped']} requests were due while their clients still waited")
        return found


# ---- the document -------------------------------------------------------------------------------


def span(r):
    unit = r.unit if r.unit in ("x", "s", "ms", "%") else ""
    low, high = (measure.figure(v, unit or "").split(" ")[0].rstrip("x") for v in (r.least, r.most))
    return f"{low} .. {high}"


def document_lines(about, rows, groups):
    """The results as the document has them."""
    m = about["machine"]
    yield (f"{about['started'][:10]}: {m['processors']} x {m['model']}, {m['memory']}, kernel {m['kernel']}, data on "
           f"{about['file system']}, " + ", ".join(v for v in about["versions"].values()) +
           f"; load {about['load before']:.1f} before the start; {about['rounds']} rounds of {about['window']:g} s, "
           f"{about['minutes']:g} minutes, {'pinned' if about['pinned'] else 'not pinned'}. "
           f"Made by `{about['command']}`.")
    yield ""
    yield "| row | goal | measured | min .. max | | |"
    yield "|---|---|---|---|---|---|"
    for r in rows:
        verdict = f"**{r.verdict}**" if r.is_met is False else r.verdict
        yield f"| {r.name} | {r.goal_text} | {measure.figure(r.median, r.unit)} | {span(r)} | {verdict} | {r.detail} |"
    for group in groups:
        if isinstance(group, measure.Cycle):
            yield from ["", "The same run: rates of the cycle, and processor time of one core.", "",
                        "| server | clients | requests a second | load generator | server |", "|---|---|---|---|---|"]
            for name, clients, rate, generator, server in group.shares():
                yield f"| {name} | {clients} | {rate:,.0f} | {generator:.0%} | {server:.0%} |"


def write(about, rows, groups):
    folder = os.path.join(TOP, "docs", "performance")
    os.makedirs(folder, exist_ok=True)
    for name, picture in pictures.draw(groups):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(picture)
        say(f"written: docs/performance/{name}")
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + "\n".join(document_lines(about, rows, groups)) + "\n\n" + END + after)
    say("written: docs/PERFORMANCE.md")


# ---- the run ------------------------------------------------------------------------------------


def attempt(bench, group, what, *arguments):
    """Calls a part of a group; False, noted, when it cannot be measured."""
    try:
        getattr(group, what)(*arguments)
        return True
    except (CannotMeasure, OSError, ValueError, KeyError, ZeroDivisionError, subprocess.SubprocessError) as error:
        name = type(group).__name__
        bench.failures.append((name, f"{type(error).__name__}: {error}"))
        say(f"  {name}: could not be measured: {bench.failures[-1][1]}")
        return False


def run_groups(bench, kinds):
    groups = []
    for kind in kinds:
        group = kind(bench)
        began = time.monotonic()
        if attempt(bench, group, "prepare"):
            groups.append(group)
        say(f"  {kind.__name__.lower()}: {kind.__doc__}; prepared in {time.monotonic() - began:.0f} s")
    active = list(groups)
    for number in range(bench.rounds):
        began = time.monotonic()
        for group in list(active):
            if number < group.rounds_most and not attempt(bench, group, "round", number):
                active.remove(group)
        say(f"  round {number + 1} of {bench.rounds}: {time.monotonic() - began:.0f} s")
    return active


def collect(bench, groups):
    rows = []
    for group in groups:
        try:
            rows += group.rows()
        except (CannotMeasure, ValueError, KeyError, ZeroDivisionError) as error:
            bench.failures.append((type(group).__name__, f"{type(error).__name__}: {error}"))
    return rows


def table(rows):
    """The rows as lines of a text table."""
    lines = [("row", "goal", "measured", "min .. max", "", "")]
    for r in rows:
        lines.append((r.name, r.goal_text, measure.figure(r.median, r.unit), span(r), r.verdict, r.detail))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths)) + "  " + line[5] for line in lines]


def print_report(bench, rows, groups):
    say()
    for line in table(rows):
        say(line.rstrip())
    for group in groups:
        if isinstance(group, measure.Cycle):
            say("\nprocessor time in the cycle, of one core (the load generator is one thread): median of the rounds")
            for name, clients, rate, generator, server in group.shares():
                say(f"  {name:<12}{clients:>5} clients {rate:>10,.0f}/s   generator {generator:4.0%}   "
                    f"server {server:5.0%}")
    for why in bench.skipped:
        say(f"skipped: {why}")
    for name, why in bench.failures:
        say(f"{name}: could not be measured: {why}")
    counted = [r for r in rows if r.goal is not None]
    say(f"\n{sum(r.is_met for r in counted)} of {len(counted)} goals met")


def machine():
    found = {"processors": os.cpu_count(), "kernel": platform.release(), "model": "", "memory": ""}
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                found["model"] = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as f:
        found["memory"] = f"{int(f.readline().split()[1]) / 2**20:.0f} GiB"
    return found


def file_system(folder):
    done = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def versions(bench):
    """{server: what it says of itself}"""
    found = {}
    commands = {"boskosd": [bench.program("boskosd"), "--version"]}
    for kind in servers.OTHERS:
        if kind.program() is not None:
            commands[kind.name] = [kind.program(), "-v" if kind.name == "beanstalkd" else "--version"]
    environment = dict(os.environ, LD_LIBRARY_PATH=servers.unpacked_libraries())
    for name, command in commands.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        found[name] = ((done.stdout or done.stderr).splitlines() or [""])[0].strip()
    return found


def named_rows():
    """The rows that docs/PERFORMANCE.md explains."""
    with open(DOCUMENT, encoding="utf-8") as f:
        section = f.read().partition("\n## The rows\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


def check_shape(bench, rows, kinds):
    """What the smoke test asks: is every row there, and a measurement?"""
    wrong = [f"{r.name}: no measurement: {r.values}" for r in rows if not r.is_sound()]
    found, named = {r.name for r in rows}, named_rows()
    wrong += [f"docs/PERFORMANCE.md does not explain the row {name}" for name in found - set(named)
              if "upstream" not in name]
    if kinds == list(measure.FULL):
        missing = [n for n in named if n not in found and not any(n.startswith(f"cycle/{why.split()[0]} ")
                                                                  for why in bench.skipped)]
        wrong += [f"there is no row {name}" for name in missing]
    for line in wrong:
        say(f"smoke: {line}")
    return not wrong


def left_over(folder):
    """Processes that work in a folder: there are none when everything was ended."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/cwd").startswith(folder + "/"):
                found.append(int(name))
        except OSError:
            pass  # it ended, or is not ours to see
    return found


def run(bench, kinds):
    started = time.time()
    load = os.getloadavg()[0]
    about = {"machine": machine(), "file system": file_system(bench.folder), "versions": versions(bench),
             "load before": load, "rounds": bench.rounds, "window": bench.seconds, "pinned": bench.options.pin,
             "command": " ".join(["./dev bench", *sys.argv[1:]]),
             "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))}
    say(f"{about['machine']['processors']} x {about['machine']['model']}, {about['machine']['memory']}, kernel "
        f"{about['machine']['kernel']}, data on {about['file system']}, load {load:.1f} before the start, "
        f"{bench.rounds} rounds of {bench.seconds:g} s, " + ("pinned" if bench.options.pin else "not pinned"))
    for name, version in about["versions"].items():
        say(f"  {name}: {version}")
    groups = run_groups(bench, kinds)
    rows = collect(bench, groups)
    print_report(bench, rows, groups)
    about["minutes"] = round((time.time() - started) / 60, 1)
    result = {"about": about, "skipped": bench.skipped, "failures": bench.failures,
              "rows": [r.as_json() for r in rows],
              "figures": {type(g).__name__: {str(k): v for k, v in g.found.items()} for g in groups}}
    path = bench.options.json or os.path.join(TOP, "build", "bench.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    say(f"all figures: {os.path.relpath(path)}; {about['minutes']} minutes")
    if bench.options.write:
        write(about, rows, groups)
    is_good = not bench.failures
    if bench.options.smoke:
        is_good = all(picture.count("<polyline") > 0 for _, picture in pictures.draw(groups)) and is_good
        is_good = check_shape(bench, rows, kinds) and is_good
        clean_up(bench)
        end = time.monotonic() + 10
        while left_over(bench.folder) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in left_over(bench.folder):
            say(f"smoke: process {pid} was left over")
            is_good = False
        say("smoke: " + ("as it should be" if is_good else "wrong"))
    return 0 if is_good else 1


def clean_up(bench):
    """Ends what is left, by its process id."""
    if bench.generator is not None and bench.generator.poll() is None:
        bench.generator.kill()
        bench.generator.wait()
    for server in list(bench.servers):
        server.stop(signal.SIGKILL)


def read_options():
    names = {kind.__name__.lower(): kind for kind in measure.FULL}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under three minutes: the cycle and some connections")
    parser.add_argument("--smoke", action="store_true", help="a minute: tiny, is everything measured?")
    parser.add_argument("--only", action="append", metavar="GROUP", choices=sorted(names), default=[],
                        help="only this: " + " ".join(names))
    parser.add_argument("--rounds", type=int, metavar="N", help="9; --quick: 5; --smoke: 1")
    parser.add_argument("--peer", metavar="boskos=PATH", help="measure a Boskos binary too")
    parser.add_argument("--pin", action="store_true", help="servers on processor 0, the generator on the last one")
    parser.add_argument("--write", action="store_true", help="draw the pictures in docs/performance/")
    parser.add_argument("--json", metavar="FILE", help="where all figures go (build/bench.json)")
    parser.add_argument("--bin", default=os.path.join(TOP, "build", "release", "bin"), metavar="FOLDER",
                        help="where boskosd, boskos-bench and boskos-replay are (build/release/bin)")
    parser.add_argument("--keep", action="store_true", help="leave the data and the logs there")
    options = parser.parse_args()
    options.boskos = None
    if options.peer is not None:
        kind, _, path = options.peer.partition("=")
        if kind != "boskos" or not os.access(path, os.X_OK):
            parser.error("--peer boskos=PATH, PATH being a program")
        options.boskos = os.path.abspath(path)
    options.bin = os.path.abspath(options.bin)
    kinds = [names[n] for n in dict.fromkeys(options.only)] or list(measure.QUICK if options.quick else measure.FULL)
    return options, kinds


def main():
    options, kinds = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    for program in ("boskosd", "boskos-bench", "boskos-replay"):
        if not os.access(os.path.join(options.bin, program), os.X_OK):
            sys.exit(f"run.py: there is no {program} in {options.bin}; ./dev build makes it")
    os.makedirs(os.path.join(TOP, "build"), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="bench-", dir=os.path.join(TOP, "build"))
    os.chmod(folder, 0o755)  # PostgreSQL does not run as root
    bench = Bench(options, folder)
    try:
        if file_system(folder) == "tmpfs":
            sys.exit(f"run.py: {folder} is not on a disk")
        return run(bench, kinds)
    except KeyboardInterrupt:
        say("stopped")
        return 130
    finally:
        clean_up(bench)
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
