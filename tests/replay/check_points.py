#!/usr/bin/env python3
"""Holds `boskos-replay show --at` against an independent model of the rules, at many points of a random history.

usage: check_points.py BOSKOS_REPLAY MAKE_HISTORY [--seed S] [--commands N] [--snapshot-every M] [--points K]

MAKE_HISTORY makes the history as a data folder, and writes what the model says of K of its moments. Here each of them is
asked of boskos-replay, turned into the model's lines, and must be the same text. A seed repeats a run; the last line of the
output has it. Exit code 1 after the first difference.
"""

import difflib
import json
import os
import re
import sys

import folder
from past import Asked, arguments, duration, instant, make_history


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


class Checker(Asked):
    lines = 0

    def check(self, seq):
        """None, or what is wrong at the point."""
        ended = self.run("show", "--at", str(seq), "--json")
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
    o = arguments(__doc__, "program", "make_history", commands=100000, snapshot_every=10000, points=1000)
    checked = differ = 0
    with folder.temporary() as top:
        make_history(o, top, o.snapshot_every, "--points", str(o.points))
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
