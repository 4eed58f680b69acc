#!/usr/bin/env python3
"""boskos-replay needs no more memory than the state and 64 MiB, however long the log is.

usage: memory.py BOSKOS_REPLAY MAKE_HISTORY [--commands N]

A long random history with a small state; each command runs with no more than 64 MiB of memory of its own to be had
(RLIMIT_DATA: what it maps for itself, which pages of the log and of snapshots are not). Memory that cannot be had is exit
code 5. Exit code 1 when one of them does not come to its end.
"""

import argparse
import json
import os
import resource
import subprocess
import sys

import folder

BYTES_MAX = 64 << 20
SECONDS_MAX = 120


def limited():
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES_MAX, BYTES_MAX))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("make_history")
    parser.add_argument("--commands", type=int, default=200000)
    options = parser.parse_args()
    with folder.temporary() as place:
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
        faults = 0
        for command in commands:
            ended = subprocess.run(replay + command, preexec_fn=limited, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   timeout=SECONDS_MAX, check=False)
            if ended.returncode != 0:
                faults += 1
                print(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stderr.decode()[-500:]}")
        ended = subprocess.run([options.program, "--file", exported, "log", "--json"], preexec_fn=limited,
                               stdout=subprocess.DEVNULL, timeout=SECONDS_MAX, check=False)
        faults += ended.returncode != 0
        print(f"{last} commands in the log, {len(commands) + 1} commands with 64 MiB: {faults} faults")
        sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
