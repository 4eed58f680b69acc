#!/usr/bin/env python3
"""Where boskosd's processor time goes in the cycle, by stage: perf looks a thousand times a second, and each look is
put down to the stage that the innermost of its functions names.

  bench/stages.py [--clients N] [--seconds S] [--bin FOLDER]

Needs perf and the rights to use it; ./dev build makes the programs. Prints a table in Markdown. Standard library only.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import run  # noqa: E402
import servers  # noqa: E402

# From the inside of a call to its outside the first function that is named here decides.
STAGES = (
    ("commit: flush", r"fdatasync|fsync|msync"),
    ("commit: LMDB and the rest of journal/", r"journal_append|^mdb_"),
    ("apply", r"sm_apply"),
    ("reply: made", r"api_done|request_done|wire_reply|wire_result|metrics_count|request_reply|request_completed"),
    ("reply: sent", r"sys_sendto|sys_sendmsg|sys_writev|sys_write\b|^__libc_send"),
    ("parse: received", r"sys_recvfrom|sys_recvmsg|sys_read\b|^__libc_recv"),
    ("parse: our part", r"request_handle|request_line|wire_request|check_head"),
    ("queue: connections watched, taken back", r"epoll_ctl|requests_take_back"),
    ("queue: waiting and waking", r"epoll_wait|futex|eventfd|pthread_cond|requests_submit|engine_submit"),
    ("queue: batch stamped and encoded", r"sequencer_|batch_|command_encode"),
    ("parse: libmicrohttpd, and what it does else", r"MHD_|libmicrohttpd"),
)
SHADOW = r"shadow_"


def samples(folder, path):
    """[(function, library) of each frame, the innermost first] of each look."""
    done = subprocess.run(["perf", "script", "-i", path, "-F", "comm,tid,ip,sym,dso"], cwd=folder, capture_output=True,
                          text=True, check=True, timeout=servers.PATIENCE)
    frames = []
    for line in [*done.stdout.splitlines(), ""]:
        found = re.match(r"\s+[0-9a-f]+ (.*) \((.*)\)$", line)
        if found:
            frames.append((found[1], os.path.basename(found[2])))
        elif not line.strip() and frames:
            yield frames
            frames = []


def stage_of(frames):
    if any(re.search(SHADOW, name) for name, _ in frames):
        return "the shadow state, on a thread of its own"
    for name, library in frames:
        for stage, pattern in STAGES:
            if re.search(pattern, name) or re.search(pattern, library):
                return stage
    return "other"


def profile(bench, clients, seconds):
    server = servers.Boskosd(bench, {"t": 10000})
    bench.load(server, clients=clients)
    path = os.path.join(bench.folder, "perf.data")
    recorder = []

    def record():
        if not recorder:
            recorder.append(subprocess.Popen(
                ["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "--call-graph", "dwarf,4096", "-p",
                 str(server.process.pid), "-o", path, "--", "sleep", str(seconds)], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True))

    before = server.metrics()
    found = bench.load(server, clients=clients, seconds=seconds + 1, warmup=1, watch=record)
    after = server.metrics()
    errors = recorder[0].communicate(timeout=60)[1]
    if recorder[0].returncode != 0:
        raise servers.CannotMeasure(f"perf: {errors[-300:]}")
    looks, functions = collections.Counter(), {}
    for frames in samples(bench.folder, path):
        stage = stage_of(frames)
        looks[stage] += 1
        functions.setdefault(stage, collections.Counter())[frames[0][0].partition("+")[0]] += 1
    delta = {name: after[name] - before.get(name, 0) for name in (
        "boskosd_commit_duration_seconds_sum", "boskosd_commits_total", "boskosd_commands_total")}
    return found, looks, functions, delta


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--bin", default=os.path.join(servers.TOP, "build", "release", "bin"))
    options = parser.parse_args()
    settings = types.SimpleNamespace(rounds=1, smoke=False, quick=False, boskos=None, pin=False,
                                     bin=os.path.abspath(options.bin))
    folder = tempfile.mkdtemp(prefix="bench-", dir=os.path.join(servers.TOP, "build"))
    bench = run.Bench(settings, folder)
    try:
        found, looks, functions, delta = profile(bench, options.clients, options.seconds)
    finally:
        run.clean_up(bench)
        shutil.rmtree(folder, ignore_errors=True)
    total, requests = sum(looks.values()), delta["boskosd_commands_total"]
    each_us = found["server_cpu"] * 1e6 / found["rate"]
    print(f"{options.clients} clients, {found['rate']:,.0f} requests a second, {found['server_cpu']:.0%} of a core: "
          f"{each_us:.1f} us of it a request; a commit takes "
          f"{1e6 * delta['boskosd_commit_duration_seconds_sum'] / delta['boskosd_commits_total']:,.0f} us and holds "
          f"{requests / delta['boskosd_commits_total']:.1f} commands; {total:,} looks\n")
    print("| stage | of boskosd's processor time | us a request | where most of it is |\n|---|---|---|---|")
    for stage, count in looks.most_common():
        most = ", ".join(f"{name} {n / total:.1%}" for name, n in functions[stage].most_common(3))
        print(f"| {stage} | {count / total:.1%} | {each_us * count / total:.2f} | {most} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
