#!/usr/bin/env python3
"""check_operations.py BOSKOSD BOSKOS_REPLAY: do docs/OPERATIONS.md, the manual pages and deploy/ speak of what there is, and
of all of it?

Flags against `--help`, metrics against the page of a running daemon, exit codes against `--help`, alerts and their
metrics against deploy/alerts.yaml. Prints each difference; exit code 1 on any. Standard library only.
"""

import os
import re
import subprocess
import sys

import check_docs

METRIC = r"\b(?:boskosd?|process)_[a-z_]+"
FLAG = r"(?<![\w-])--([a-z][a-z_-]+)"
NEVER_THERE = {"boskosd_snapshot_age_seconds"}  # before the first snapshot
OF_OTHERS = {"install", "flag"}  # what is no flag of ours: cmake's, and how flags are written
SAID_ELSEWHERE = {"enable-leader-election"}  # refused, and so not in --help


def read(name):
    with open(os.path.join(check_docs.TOP, name), encoding="utf-8") as file:
        return file.read()


def differences(what, there, named, where):
    faults = [f"{where} does not speak of the {what} {x}" for x in sorted(there - named)]
    return faults + [f"{where} speaks of the {what} {x}, which is not there" for x in sorted(named - there)]


def metrics_of(program):
    daemon = check_docs.Daemon(program, read("deploy/example.yaml"))
    try:
        daemon.start()
        return set(re.findall(r"^# TYPE (\S+)", daemon.metrics_page(), re.M)) | NEVER_THERE
    finally:
        daemon.close()


def section(text, heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)


def check(program):
    text, alerts = read("docs/OPERATIONS.md"), read("deploy/alerts.yaml")
    help_text = subprocess.run([program, "--help"], stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()
    flags = set(re.findall(FLAG, help_text)) - OF_OTHERS
    page = metrics_of(program)
    prose = re.sub(r"^    .*$", "", text, flags=re.M)  # commands of other programs
    faults = differences("flag", flags | SAID_ELSEWHERE, set(re.findall(FLAG, prose)) - OF_OTHERS, "OPERATIONS.md")
    ignored = set(re.findall(FLAG, help_text.split("Accepted without effect")[1].split("Examples")[0]))
    own = set(re.findall(r"^\.It Fl -(\S+)", read("docs/boskosd.8"), re.M))
    faults += differences("flag", flags - ignored, own, "boskosd.8")
    faults += differences("metric", page, set(re.findall(METRIC, section(text, "Metrics"))), "OPERATIONS.md, Metrics")
    # A histogram has three names more.
    used = {re.sub(r"_(bucket|sum|count)$", "", m) for m in re.findall(METRIC, alerts)}
    faults += [f"alerts.yaml uses {m}, which is not on the page" for m in sorted(used - page)]
    faults += differences("alert", set(re.findall(r"- alert: (\w+)", alerts)),
                          set(re.findall(r"^\| `(\w+)` \|", section(text, "Alerts"), re.M)), "OPERATIONS.md, Alerts")
    codes = set(re.findall(r"\b(\d)(?= [a-z])", help_text.split("Exit codes:")[1]))
    for where, pattern, document in (("OPERATIONS.md", r"^\| (\d) \|", section(text, "Exit codes")),
                                     ("boskosd.8", r"^\.It (\d)$", read("docs/boskosd.8")),
                                     ("ARCHITECTURE.md", r"^\| (\d) \|", read("docs/ARCHITECTURE.md"))):
        faults += differences("exit code", codes, set(re.findall(pattern, document, re.M)), where)
    if min(len(flags), len(page), len(codes)) < 5:
        faults.append("too little was found to compare: has the form of --help or of the page changed?")
    for fault in faults:
        print(fault)
    print(f"{len(flags)} flags, {len(page)} metrics, {len(codes)} exit codes: {len(faults)} faults")
    return faults


def check_replay(program):
    """The commands and options of boskos-replay, by its help, against its manual page."""
    def help_of(*words):
        return subprocess.run([program, *words, "--help"], stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()

    page = read("docs/boskos-replay.1")
    general = help_of()
    commands = set(re.findall(r"^  ([a-z][a-z-]+) ", general.split("General options")[0], re.M))
    faults = differences("command", commands, set(re.findall(r"^\.It Cm ([a-z-]+)", page, re.M)), "boskos-replay.1")
    flags = set(re.findall(FLAG, general)) - OF_OTHERS
    for command in commands:
        flags |= set(re.findall(FLAG, help_of(command).split("Examples")[0]))
    faults += differences("option", flags, set(re.findall(r"Fl -([a-z][a-z-]+)", page)), "boskos-replay.1")
    codes = set(re.findall(r"\b(\d)(?= [a-z])", general.split("Exit codes:")[1]))
    faults += differences("exit code", codes, set(re.findall(r"^\.It (\d)$", page, re.M)), "boskos-replay.1")
    if min(len(commands), len(flags), len(codes)) < 5:
        faults.append("too little was found to compare: has the form of boskos-replay --help changed?")
    for fault in faults:
        print(fault)
    print(f"boskos-replay: {len(commands)} commands, {len(flags)} options: {len(faults)} faults")
    return faults


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(1 if check(sys.argv[1]) + check_replay(sys.argv[2]) else 0)
