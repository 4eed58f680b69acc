#!/usr/bin/env python3
"""Holds what boskos-replay says of commands that change thousands of resources, in lines of hundreds of kilobytes, against
what the commands must have done, and the ways to ask for it against each other.

usage: check_many.py BOSKOS_REPLAY MAKE_FOLDER

One owner takes all of a type, one by one, gives some of them long userdata, and a reset takes everything back; then a config
drops every other name. Exit code 1 when something is not as it must be.
"""

import json
import os
import sys

import folder

NAMES = 10000
LONG = "v" * 300  # a value that needs more than a byte for its size
NOTED = range(0, NAMES, 100)
OWNER = 5 * "ñ€𝄞"  # characters of all sizes, which no part of a long reply may divide


def name_of(i):
    return f"t-{i:05}"


def config_of(names):
    return ["config <<END", "resources:", "- {type: t, state: free, names: [" + ", ".join(names) + "]}", "END"]


def make(program, place):
    """The folder, and its points: all leased, after the reset, after the second config."""
    every = [name_of(i) for i in range(NAMES)]
    lines = ["0s started 0s salt=1 version=0.4.0 host=h", "0s " + "\n".join(config_of(every)),
             f"1m repeat {NAMES} acquire t free busy {OWNER}"]
    lines += [f"2m update {name_of(i)} {OWNER} busy note={LONG}" for i in NOTED]
    lines += ["1h reset t busy 1m dirty", "2h " + "\n".join(config_of(every[::2]))]
    script = os.path.join(place, "script.txt")
    with open(script, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    data = os.path.join(place, "data")
    ended = folder.Ended([program, script, data])
    if ended.code != 0:
        raise AssertionError(str(ended))
    leased = 2 + NAMES + len(NOTED)
    return data, leased, leased + 1, leased + 2


class Asked:
    """Runs boskos-replay and keeps what was wrong."""

    def __init__(self, program, data):
        self.command = [program, "--data-dir", data, "--json"]
        self.faults = 0

    def lines(self, *words):
        ended = folder.Ended([*self.command, *words])
        if ended.code != 0:
            raise AssertionError(str(ended))
        return ended.out.splitlines()

    def same(self, what, had, wanted):
        if had == wanted:
            return
        self.faults += 1
        print(f"{what}: {str(had)[:300]}\nin place of {str(wanted)[:300]}")


def check_log(ask, reset, second):
    lines = ask.lines("log")
    ask.same("log --reverse", ask.lines("log", "--reverse"), lines[::-1])
    effects = json.loads(lines[reset - 1])["effects"]
    ask.same("what the reset changed", [(e["resource"], e["from"]["owner"], e["to"]["owner"], e["from"]["state"],
                                         e["to"]["state"]) for e in effects],
             [(name_of(i), OWNER, "", "busy", "dirty") for i in range(NAMES)])
    ask.same("the reply to the reset", json.loads(json.loads(lines[reset - 1])["reply"]),
             {name_of(i): OWNER for i in range(NAMES)})
    effects = json.loads(lines[second - 1])["effects"]
    ask.same("what the config dropped", [(e["resource"], e["from"]["state"], e["to"]) for e in effects],
             [(name_of(i), "dirty", None) for i in range(1, NAMES, 2)])
    ask.same("userdata of what was dropped",
             [e["resource"] for e in effects if e["from"]["userdata"] not in ({}, None)],
             [name_of(i) for i in NOTED if i % 2 == 1])


def check_diff(ask, leased, second):
    before = {r["name"]: r for r in json.loads(ask.lines("show", "--at", str(leased))[0])["resources"]}
    after = {r["name"]: r for r in json.loads(ask.lines("show", "--at", str(second))[0])["resources"]}
    found = [json.loads(line) for line in ask.lines("diff", str(leased), str(second))]
    found = [d for d in found if "resource" in d]
    ask.same("names that differ", [d["resource"] for d in found], sorted(before))
    for d in found:
        was, now = before[d["resource"]], after.get(d["resource"])
        ask.same(f"{d['resource']} then", d["to"] is None, now is None)
        for key, value in d["from"].items():
            ask.same(f"{key} of {d['resource']} before", value, was[key])
    ask.same("values that were long", sum(LONG in json.dumps(d["from"]) for d in found if d["to"] is None),
             sum(i % 2 == 1 for i in NOTED))


def check_held(ask, leased):
    had = json.loads(ask.lines("held-by", OWNER, "--at", str(leased))[0])["leases"]
    ask.same("its leases", [(lease["resource"], lease["since"]["seq"], lease["end"]["seq"]) for lease in had],
             [(name_of(i), 3 + i, leased + 1) for i in range(NAMES)])


def main():
    program, make_folder = sys.argv[1:]
    with folder.temporary() as place:
        data, leased, reset, second = make(make_folder, place)
        ask = Asked(program, data)
        check_log(ask, reset, second)
        check_diff(ask, leased, second)
        check_held(ask, leased)
    print(f"{NAMES} names, {second} commands: {ask.faults} faults")
    sys.exit(1 if ask.faults else 0)


if __name__ == "__main__":
    main()
