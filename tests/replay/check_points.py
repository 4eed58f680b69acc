#!/usr/bin/env python3
"""Holds `boskos-replay show --at` against an independent model of the rules, at many points of a random history.

usage: check_points.py BOSKOS_REPLAY MAKE_HISTORY [--seed S] [--commands N] [--snapshot-every M] [--points K]

MAKE_HISTORY makes the history as a data folder, and writes what the model says of K of its moments. Here each of them is
asked of boskos-replay, turned into the model's lines, and must be the same text. A seed repeats a run; the last line of the
output has it. Exit code 1 after the first difference.
"""

import argparse
import datetime
import difflib
import json
import os
import re
import sys
from fractions import Fraction

import folder

UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
EPOCH = datetime.datetime(1970, 1, 1)


def instant(text):
    """RFC 3339 in UTC with up to nine digits of fraction as nanoseconds since 1970."""
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    if parts is None:
        raise ValueError(f"{text!r} is no time in UTC")
    since = datetime.datetime.fromisoformat(parts[1]) - EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + int((parts[2] or "").ljust(9, "0"))


def duration(text):
    """A Go duration as nanoseconds."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    pieces = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", rest)
    if "".join(number + unit for number, unit in pieces) != rest or not pieces:
        raise ValueError(f"{text!r} is no duration")
    sum_ns = sum(Fraction(number) * UNITS_NS[unit] for number, unit in pieces)
    if sum_ns.denominator != 1:
        raise ValueError(f"{text!r} is no whole number of nanoseconds")
    return sign * sum_ns.numerator


def quoted(text):
    """As the model's dump quotes."""
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', lambda c: f"\\{c[0]}" if c[0] in '"\\' else f"\\x{ord(c[0]):02x}", text) + '"'


def only(of, *keys):
    """The values of the keys, which must be all that there are."""
    if set(of) != set(keys):
        raise ValueError(f"{of} has not the keys {keys}")
    return [of[key] for key in keys]


def resource_line(r):
    expires = r.pop("expiration-date", None)
    *texts, lastupdate, userdata = only(r, "name", "type", "state", "owner", "lastupdate", "userdata")
    pairs = "".join(f" {quoted(k)}={quoted(v)}" for k, v in sorted(userdata.items(), key=lambda pair: pair[0].encode()))
    return (f"resource {' '.join(map(quoted, texts))} {instant(lastupdate)} "
            f"{'-' if expires is None else instant(expires)} userdata{pairs}")


def queue_lines(queue):
    kind, state, requests = only(queue, "type", "state", "requests")
    for request in requests:
        name, rank, since, expires = only(request, "id", "rank", "since", "expires")
        yield f"queue {quoted(kind)} {quoted(state)} {rank} {quoted(name)} {instant(since)} {instant(expires)}"


def cycle_line(cycle):
    kind, state, least, most, lifespan = only(cycle, "type", "state", "min-count", "max-count", "lifespan")
    return f"cycle {quoted(kind)} {quoted(state)} {least} {most} {'-' if lifespan is None else duration(lifespan)}"


def lines_of(shown):
    """What `show --json` says as the lines of the model's dump."""
    state = json.loads(shown)
    lines = [resource_line(r) for r in state["resources"]]
    lines += [line for queue in state["queues"] for line in queue_lines(queue)]
    lines += [cycle_line(cycle) for cycle in state["dynamic"]]
    return state["seq"], lines


def lines_of_model(path):
    """The dump, without its last word on life cycles, which `show` does not say."""
    with open(path, encoding="utf-8") as f:
        return [re.sub(r"^(cycle .*) (?:kept|fading)$", r"\1", line) for line in f.read().splitlines()]


class Checker:
    def __init__(self, program, top):
        self.program, self.top = program, top
        self.lines = 0

    def check(self, seq):
        """None, or what is wrong at the point."""
        ended = folder.Ended([self.program, "--data-dir", self.top, "show", "--at", str(seq), "--json"])
        if ended.code != 0:
            return str(ended)
        wanted = lines_of_model(os.path.join(self.top, "points", f"{seq}.txt"))
        try:
            shown_seq, lines = lines_of(ended.out.decode("utf-8"))
        except (ValueError, KeyError, TypeError) as e:
            return f"what show --json prints has not the form it must have: {e!r}"
        if shown_seq != seq:
            return f"it shows {shown_seq}"
        self.lines += len(lines)
        if lines == wanted:
            return None
        return "\n".join(difflib.unified_diff(wanted, lines, "the model", "boskos-replay", lineterm="", n=0))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("make_history")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--commands", type=int, default=100000)
    parser.add_argument("--snapshot-every", type=int, default=10000)
    parser.add_argument("--points", type=int, default=1000)
    o = parser.parse_args()
    print(f"seed {o.seed}", flush=True)
    checked = differ = 0
    with folder.temporary() as top:
        made = folder.Ended([o.make_history, top, "--seed", str(o.seed), "--commands", str(o.commands), "--snapshot-every",
                             str(o.snapshot_every), "--points", str(o.points)])
        if made.code != 0:
            sys.exit(f"the history cannot be made: {made}")
        before = folder.look(top)
        points = sorted(int(name.removesuffix(".txt")) for name in os.listdir(os.path.join(top, "points")))
        checker = Checker(o.program, top)
        for seq, wrong in zip(points, folder.each(checker.check, points)):
            checked += 1
            if wrong is not None:
                print(f"after command {seq}: {wrong}")
                differ = 1
                break
        changed = folder.changes(before, folder.look(top))
        for line in changed:
            print(f"the folder was changed: {line}")
    print(f"seed {o.seed}: {o.commands} commands, {checked} of {o.points} points, {checker.lines} lines compared, "
          f"{differ} differ, {len(changed)} files changed")
    return 0 if differ == 0 and not changed and checked == o.points and checker.lines > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
