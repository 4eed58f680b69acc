#!/usr/bin/env python3
"""Holds the ways to read a log against each other: forwards and backwards, and what cannot be read or written.

usage: check_log.py BOSKOS_REPLAY MAKE_HISTORY [--seed S] [--commands N]

Backwards is forwards turned round, whether the parts between two snapshots are smaller or larger than what is written at
once. Output that cannot be written is an error, also of what follows. A log that ends before one of its snapshots has lost
its end. Nothing is exported into the folder. A seed repeats a run. Exit code 1 after the first difference.
"""

import os
import shutil
import subprocess
import sys

import folder
from past import Asked, Wrong, arguments, make_history

SECONDS_MAX = 30


def check_backwards(past):
    for words in (["--json"], [], ["--json", "--kind", "acquire"], ["--from", "7", "--to", "-1h"]):
        forwards = past.run("log", *words)
        backwards = past.run("log", "--reverse", *words)
        if forwards.code != 0 or backwards.code != 0:
            raise Wrong(f"{forwards} {backwards}")
        if backwards.out.splitlines() != forwards.out.splitlines()[::-1]:
            raise Wrong(f"log --reverse {' '.join(words)} is not the log turned round")


def check_types(past):
    """--type has what names the type or a resource of it, or changes one. What sweeps queues or sets the config is left to the
    scripts."""
    types, wanted = {}, {}  # of the resources that are there; the commands of each type
    apart = ("config", "import", "expire", "clock", "started", "repaired")
    for c in past.ask("log"):
        p = c["params"]
        about = {p.get("type")} | {types.get(name) for name in [p.get("name"), *p.get("names", "").split(",")]} \
            if c["kind"] not in (*apart, "clean") else {types.get(p.get("name"))}
        for e in c["effects"]:
            about.add(types.get(e["resource"]))
            if e["to"] is None:
                del types[e["resource"]]
            elif "type" in e["to"]:
                types[e["resource"]] = e["to"]["type"]
            about.add(types.get(e["resource"]))
        for type_ in about - {None} if c["kind"] not in apart else ():
            wanted.setdefault(type_, []).append(c["seq"])
    found = {type_: [c["seq"] for c in past.ask("log", "--type", type_) if c["kind"] not in apart] for type_ in wanted}
    for type_, seqs in found.items():
        if seqs != wanted[type_]:
            raise Wrong(f"log --type {type_}: it differs in {sorted(set(seqs) ^ set(wanted[type_]))[:10]}")
    if len(found) < 2:
        raise Wrong(f"more types were expected: {found.keys()}")


def check_full(past):
    """What is written to a full device is said to be lost, also while it follows."""
    for words in (["log"], ["log", "--follow"], ["log", "--reverse"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([past.program, "--data-dir", past.top, *words], stdout=full, stderr=subprocess.PIPE,
                                  timeout=SECONDS_MAX, check=False)
        if done.returncode != 1 or b"cannot write to stdout" not in done.stderr:
            raise Wrong(f"{words} to a full device: exit code {done.returncode}, {done.stderr}")


def check_lost_end(past, short, tmp):
    """Without a witness it is a snapshot that tells."""
    top = os.path.join(tmp, "lost")
    shutil.copytree(past.top, top)
    shutil.copy(os.path.join(short, "journal", "data.mdb"), os.path.join(top, "journal", "data.mdb"))
    os.remove(os.path.join(top, "journal", "WITNESS"))
    for words in (["verify"], ["show"], ["info"]):
        ended = folder.Ended([past.program, "--data-dir", top, *words])
        if ended.code != 4 or b"data.mdb" not in ended.err or b"acknowledged commands are lost" not in ended.err:
            raise Wrong(f"a lost end was to be said: {ended}")


def check_places(past):
    journal = os.path.join(past.top, "journal")
    before = folder.look(past.top)
    for place in (os.path.join(journal, "snapshot-00000000000000000050"), os.path.join(past.top, "journal.new"),
                  os.path.join(past.top, "mine"), os.path.join(past.top, "journal", "..", "mine") + "/"):
        for command in ("export", "backup"):
            ended = past.run(command, "--to", place)
            if ended.code != 1 or b"is in the folder that is read" not in ended.err:
                raise Wrong(f"it was to be refused: {ended}")
    if folder.look(past.top) != before:
        raise Wrong("the folder has changed")


def main():
    o = arguments(__doc__, "program", "make_history", commands=4000)
    with folder.temporary() as tmp:
        try:
            for snapshot_every in (150, o.commands * 2 // 5):
                top = os.path.join(tmp, str(snapshot_every))
                make_history(o, top, snapshot_every)
                check_backwards(Asked(o.program, top))
            past = Asked(o.program, top)
            check_types(past)
            check_full(past)
            check_places(past)
            # The same history, but half of it.
            short = os.path.join(tmp, "short")
            o.commands //= 2
            make_history(o, short, o.commands * 4)
            check_lost_end(past, short, tmp)
        except Wrong as wrong:
            sys.exit(f"seed {o.seed}: {wrong}")
    print(f"seed {o.seed}: 2 histories, 0 differ")


if __name__ == "__main__":
    main()
