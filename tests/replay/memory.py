#!/usr/bin/env python3
"""boskos-replay needs no more memory than the state and 64 MiB, however long the log is and however large the state.

usage: memory.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER [--commands N] [--resources N]

A long random history with a small state: each command runs with no more than 64 MiB of memory of its own to be had
(RLIMIT_DATA: what it maps for itself, which pages of the log and of snapshots are not). Memory that cannot be had is exit
code 5. Then a state that is large from its first config on, of which commands change all, half and many at once: as much
memory is to be had as `show` of one resource needs at any of the points, which is the state, and what may be beside it: 64
MiB at a million resources. Of these a part is for what has a size of its own, which most commands do not need, and the rest
goes by the number of resources. Then a state that is large by its queues, in the same way with 64 MiB. Exit code 1 when one
of them needs more, or does not come to its end.
"""

import argparse
import json
import os
import resource
import subprocess
import sys

import folder

MIB = 1 << 20
BYTES_MAX = 64 * MIB
PLAIN_BYTES = 6 * MIB
WINDOW_BYTES = 24 * MIB  # with windows (diff, held-by), rows (usage) or the names of --redact
RISING_BYTES = BYTES_MAX - WINDOW_BYTES  # at a million resources
MILLION = 1000000
SECONDS_MAX = 120
NAMES_A_LINE = 1000
REQUESTS = 100000  # of each queue
ID_BYTES = (64, 64, 64, 700)  # in each queue: of the last one the requests are more than what may be had beside the state
STEP = 4 * MIB  # to which it is known how much memory is needed


def limited(command, bytes_max=BYTES_MAX):
    """Runs it with no more memory of its own."""
    return subprocess.run(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (bytes_max, bytes_max)),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS_MAX, check=False)


def faults_of(commands, bytes_max=BYTES_MAX):
    """How many did not come to their end with so much memory."""
    faults = 0
    for command in commands:
        ended = limited(command, bytes_max)
        if ended.returncode != 0:
            faults += 1
            print(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stderr.decode()[-500:]}")
    return faults


def small(options, place):
    """How many commands did not come to their end with 64 MiB."""
    data = os.path.join(place, "data")
    # One snapshot early in it: all the rest is one long stretch.
    subprocess.run([options.make_history, data, "--seed", "7", "--commands", str(options.commands), "--snapshot-every",
                    str(options.commands - 10)], check=True, stdout=subprocess.DEVNULL)
    replay = [options.program, "--data-dir", data]
    last = json.loads(subprocess.run(replay + ["info", "--json"], check=True, stdout=subprocess.PIPE).stdout)["last"]
    name = json.loads(subprocess.run(replay + ["show", "--json"], check=True,
                                     stdout=subprocess.PIPE).stdout)["resources"][0]["name"]
    exported = os.path.join(place, "exported")
    commands = [["info"], ["verify"], ["log", "--json"], ["log", "--reverse"], ["log", "--resource", name],
                ["show", "--at", str(last - 20), "--json"], ["who", name], ["why", str(last - 20)],
                ["diff", "1", str(last)], ["usage", "--by", "owner"], ["usage", "--by", "resource"],
                ["bisect", "--good", "1", "--bad", str(last), "--run", f'test "$BOSKOS_SEQ" -lt {last // 2}'],
                ["export", "--to", exported, "--redact"], ["backup", "--to", os.path.join(place, "backup")]]
    runs = [replay + command for command in commands] + [[options.program, "--file", exported, "log", "--json"]]
    faults = faults_of(runs)
    print(f"{last} commands in the log, {len(runs)} commands with 64 MiB: {faults} faults")
    return faults


# ---- a large state ---------------------------------------------------------------------------


def config_of(names):
    """Lines of a config with a type of that many names, and one of a single one."""
    lines = ["resources:", "- {type: one, state: free, names: [one-1]}", "- type: t", "  state: free", "  names: ["]
    for first in range(0, names, NAMES_A_LINE):
        lines.append(" ".join(f"t-{i:07}," for i in range(first, min(first + NAMES_A_LINE, names))))
    return lines + ["  ]"]


def make_large(options, place):
    """The folder, and its points: the first config, the last lease, the reset of all leases, the second config."""
    leases = options.resources
    script = os.path.join(place, "large.txt")
    with open(script, "w", encoding="utf-8") as f:
        lines = ["0s started 0s salt=1 version=0.4.0 host=h", "0s config <<END", *config_of(options.resources), "END",
                 "snapshot", f"1m repeat {leases} acquire t free busy ann", "1h reset t busy 1m dirty", "snapshot",
                 "2h config <<END", *config_of(options.resources // 2), "END", "2h1m acquire one free busy bob"]
        f.write("\n".join(lines) + "\n")
    data = os.path.join(place, "large")
    subprocess.run([options.make_folder, script, data], check=True, stdout=subprocess.DEVNULL)
    return data, leases, (2, 2 + leases, 3 + leases, 4 + leases)


def most(command):
    """The most memory that a program had, in bytes, pages of files in it."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as p:
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {p.returncode}")
    return used.ru_maxrss * 1024


def needed(command):
    """How much memory of its own it needs, in steps."""
    low, high = 0, most(command)
    while high - low > STEP:
        middle = (low + high) // 2
        low, high = (low, middle) if limited(command, middle).returncode == 0 else (middle, high)
    return high


def faults_beside(replay, commands, state, beside):
    """How many did not come to their end with so much memory beside the state."""
    faults = faults_of([replay + command for command in commands], state + beside)
    print(f"{len(commands)} commands with {beside / MIB:.0f} MiB beside the state: {faults} faults")
    return faults


def large(options, place):
    """How many commands needed more than they may."""
    data, leases, (first, leased, reset, second) = make_large(options, place)
    exported = os.path.join(place, "large.bex")
    commands = [["verify"], ["log"], ["log", "--json"], ["log", "--json", "--reverse"],
                ["show", "--at", str(first), "--json"], ["why", str(first), "--json"], ["why", str(second), "--json"],
                ["why", str(reset), "--json"],
                ["bisect", "--good", "1", "--bad", str(second), "--json", "--run", 'test "$BOSKOS_SEQ" -lt 2'],
                ["export", "--with-userdata", "--to", exported], ["export", "--to", exported + "2"],
                ["backup", "--to", os.path.join(place, "large-backup")]]
    with_windows = [["usage", "--by", "resource"], ["held-by", "ann", "--at", str(leased)], ["diff", "1", str(first)],
                    ["diff", str(leased), str(second), "--json"],
                    ["export", "--redact", "--to", exported + "3", "--from", str(reset)]]
    replay = [options.program, "--data-dir", data]
    state = max(needed(replay + ["show", "--at", str(seq), "--type", "one"]) for seq in (first, leased, reset, second))
    rising = RISING_BYTES * options.resources // MILLION
    print(f"{options.resources} resources, a state of {state / MIB:.0f} MiB:")
    return (faults_beside(replay, commands, state, PLAIN_BYTES + rising) +
            faults_beside(replay, with_windows, state, WINDOW_BYTES + rising))


def queued(options, place):
    """How many commands needed more than they may where requests wait, of which half poll once more."""
    script, data = os.path.join(place, "queued.txt"), os.path.join(place, "queued")
    ids = {f"t{i}": "r" * size for i, size in enumerate(ID_BYTES)}
    with open(script, "w", encoding="utf-8") as f:
        lines = ["0s started 10m salt=1 version=0.4.0 host=h", "0s config <<END", "resources:",
                 "- {type: one, state: free, names: [one-1]}", *[f"- {{type: {t}, state: free, names: [of-{t}]}}" for t in ids], "END",
                 *[f"1s acquire {t} free busy ann" for t in ids],
                 *[f"2s repeat {REQUESTS} acquire {t} free busy bob id={i}#" for t, i in ids.items()], "snapshot",
                 *[f"3s repeat {REQUESTS // 2} acquire {t} free busy bob id={i}#" for t, i in ids.items()]]
        f.write("\n".join(lines) + "\n")
    subprocess.run([options.make_folder, script, data], check=True, stdout=subprocess.DEVNULL)
    waiting = 2 + len(ids) * (1 + REQUESTS)
    last = waiting + len(ids) * (REQUESTS // 2)
    replay = [options.program, "--data-dir", data]
    state = needed(replay + ["show", "--type", "one"])
    commands = [["diff", str(waiting), str(last), "--json"], ["show", "--json"]]
    print(f"{len(ids) * REQUESTS} requests, a state of {state / MIB:.0f} MiB:")
    return faults_beside(replay, commands, state, BYTES_MAX)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("make_history")
    parser.add_argument("make_folder")
    parser.add_argument("--commands", type=int, default=200000)
    parser.add_argument("--resources", type=int, default=250000)
    options = parser.parse_args()
    with folder.temporary() as place:
        faults = small(options, place) + large(options, place) + queued(options, place)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
