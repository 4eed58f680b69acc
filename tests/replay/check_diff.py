#!/usr/bin/env python3
"""Holds `boskos-replay diff` against the states at its two points, at random pairs of points of a random history.

usage: check_diff.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER [--seed S] [--commands N] [--snapshot-every M] [--pairs K]

What differs is made anew here from two `show --json`, and by which command from the effects of `log --json`; it must be
what `diff --json` prints, no more and no less, in either order of the points and with each of the options. The commands by
which requests came, went and moved, and life cycles changed, are looked for in the states between, of a few lines a pair. Half of the
pairs are of a folder of queues, in which requests come, go, and come again. A seed repeats a run. Exit code 1 after the first difference.
"""

import os
import random
import sys

import folder
from check_usage import QUEUES_COMMANDS, make_queues
from past import Asked, arguments, make_history

SIDE = ("type", "state", "owner", "lastupdate", "userdata", "expiration-date")
CYCLE = ("state", "min-count", "max-count", "lifespan")
BY = ("seq", "time", "kind", "granted", "changes")  # of a line about a queue or a life cycle
LINES_TRACED = 3  # of a pair: for these BY is looked for
CANDIDATES_MAX = 60  # commands that may have changed a life cycle
BY_NAME = os.fsencode  # names sort by their bytes


def sides(before, after, keys):
    """What of two objects, or None, differs."""
    if before is None or after is None:
        return tuple(None if x is None else {k: x[k] for k in keys if k in x} for x in (before, after))
    differ = [k for k in keys if before.get(k) != after.get(k)]
    return {k: before.get(k) for k in differ}, {k: after.get(k) for k in differ}


class Past(Asked):
    def __init__(self, program, top):
        super().__init__(program, top)
        self.looked, self.traced = {}, 0

    def wanted(self, earlier, later, options):
        """The lines that diff must print."""
        a, b = (self.ask("show", "--at", str(seq))[0] for seq in (earlier, later))
        commands = self.ask("log", "--from", str(earlier + 1), "--to", str(later)) if later > earlier else []
        lines, returned = self.resources(a, b, commands, options)
        if "resource" not in options and "owner" not in options:
            lines += list(self.queues(a, b, options)) + list(self.cycles(a, b, options))
            lines += list(self.config(a, b, commands)) if "type" not in options else []
        return lines + ([{"returned": returned}] if lines and returned else [])

    def resources(self, a, b, commands, options):
        before, after = ({r["name"]: r for r in state["resources"]} for state in (a, b))
        last, returned, there = {}, 0, dict(before)

        def fits(name, *views):
            return options.get("resource", name) == name and any(
                r is not None and options.get("type", r["type"]) == r["type"] and
                options.get("owner", r["owner"]) == r["owner"] for r in views)

        for c in commands:
            for e in c["effects"]:
                name = e["resource"]
                old = there.get(name)
                new = None if e["to"] is None else {**(old or {}), **e["to"]}
                if new is not None and new.get("expiration-date", "") is None:
                    del new["expiration-date"]
                there[name] = new
                changes = last[name][1] + 1 if name in last else 1
                last[name] = (c, changes)
                if new is None and name not in before:
                    returned += fits(name, old)
                    del last[name]
        lines = []
        for name in sorted(last, key=BY_NAME):
            old, new = before.get(name), after.get(name)
            if not fits(name, old, new):
                continue
            if old == new:
                returned += 1
                continue
            c, changes = last[name]
            side_from, side_to = sides(old, new, SIDE)
            line = {"resource": name, "from": side_from, "to": side_to, "seq": c["seq"], "time": c["time"],
                    "kind": c["kind"], "changes": changes}
            if "owner" in c["params"]:
                line["owner"] = c["params"]["owner"]
            lines.append(line)
        unseen = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)} - last.keys()
        if unseen:
            raise ValueError(f"log tells of no change of {unseen}")
        return lines, returned

    @staticmethod
    def entries(state):
        return {(q["type"], q["state"], r["id"], r["since"]): {k: r[k] for k in ("rank", "since", "expires")}
                for q in state["queues"] for r in q["requests"]}

    def queues(self, a, b, options):
        before, after = self.entries(a), self.entries(b)

        def order(key):
            """Queue by queue: those who waited at the earlier point by their ranks then, and behind them who came."""
            is_new = key not in before
            return BY_NAME(key[0]), BY_NAME(key[1]), is_new, (after if is_new else before)[key]["rank"]
        for key in sorted(before.keys() | after.keys(), key=order):
            old, new = before.get(key), after.get(key)
            if options.get("type", key[0]) != key[0] or old == new:
                continue
            side_from, side_to = sides(old, new, ("rank", "since", "expires"))
            yield {"queue": {"type": key[0], "state": key[1]}, "request": key[2], "from": side_from, "to": side_to}

    @staticmethod
    def cycles(a, b, options):
        before, after = ({c["type"]: c for c in state["dynamic"]} for state in (a, b))
        for kind in sorted(before.keys() | after.keys(), key=BY_NAME):
            if options.get("type", kind) == kind and before.get(kind) != after.get(kind):
                side_from, side_to = sides(before.get(kind), after.get(kind), CYCLE)
                yield {"dynamic": kind, "from": side_from, "to": side_to}

    @staticmethod
    def config(a, b, commands):
        if a["config"] == b["config"]:
            return
        changes, last, config = 0, None, a["config"]
        for c in commands:
            if c["kind"] == "config" and c["params"]["config"] != config:
                config, changes, last = c["params"]["config"], changes + 1, c
        yield {"config": {"seq": last["seq"], "time": last["time"], "changes": changes}}

    # ---- by which command ----------------------------------------------------------

    def look(self, seq):
        """Queues and life cycles after a command."""
        if seq not in self.looked:
            state = self.state(seq)
            self.looked[seq] = (self.entries(state), {c["type"]: {k: c.get(k) for k in CYCLE} for c in state["dynamic"]})
        return self.looked[seq]

    def first_with(self, low, high, holds):
        """The first after `low` of which it holds, as it does of `high` and all between."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high

    def trace_queue(self, line, earlier, later, commands):
        """What BY should be of a line about a queue."""
        kind, state, request = line["queue"]["type"], line["queue"]["state"], line["request"]

        def is_own(c):
            return c["kind"] == "acquire" and (c["params"]["type"], c["params"]["state"]) == (kind, state) and \
                c["params"].get("request_id") == request
        if line["from"] is None or line["to"] is None:
            since = (line["from"] or line["to"])["since"]
            is_there = line["to"] is not None
            seq = self.first_with(earlier, later, lambda s: ((kind, state, request, since) in self.look(s)[0]) == is_there)
            c = commands[seq - earlier - 1]
            by = {"seq": seq, "time": c["time"], "kind": c["kind"]}
            return by if is_there else {**by, "granted": is_own(c) and c["status"] == 200}
        key = next(k for k in self.look(later)[0] if k[:3] == (kind, state, request))
        last = 0
        if "rank" in line["to"]:
            last = self.first_with(earlier, later, lambda s: self.look(s)[0][key]["rank"] == line["to"]["rank"])
        if "expires" in line["to"]:
            last = max(last, next(c["seq"] for c in reversed(commands) if
                                  (is_own(c) or c["kind"] in ("started", "clock", "repaired")) and
                                  self.look(c["seq"])[0][key]["expires"] != self.look(c["seq"] - 1)[0][key]["expires"]))
        c = commands[last - earlier - 1]
        return {"seq": last, "time": c["time"], "kind": c["kind"]}

    def trace_cycle(self, line, commands):
        """The same of one about a life cycle; None where too many commands may have changed it."""
        def may(c):
            return c["kind"] in ("config", "import") or any(e["to"] is None or "type" in e["to"] and e["from"] is not None
                                                            for e in c["effects"])
        candidates = [c for c in commands if may(c)]
        if len(candidates) > CANDIDATES_MAX:
            return None
        changed = [c for c in candidates if
                   self.look(c["seq"])[1].get(line["dynamic"]) != self.look(c["seq"] - 1)[1].get(line["dynamic"])]
        return {"seq": changed[-1]["seq"], "time": changed[-1]["time"], "kind": changed[-1]["kind"], "changes": len(changed)}

    def trace(self, lines, earlier, later):
        """The first line with another BY than it should have, and what that is; or None."""
        about = [line for line in lines if "queue" in line or "dynamic" in line]
        if not about:
            return None
        commands = self.ask("log", "--from", str(earlier + 1), "--to", str(later))
        for line in random.Random(earlier * 1000003 + later).sample(about, min(LINES_TRACED, len(about))):
            wanted = self.trace_queue(line, earlier, later, commands) if "queue" in line else self.trace_cycle(line, commands)
            self.traced += wanted is not None
            if wanted is not None and {k: line[k] for k in BY if k in line} != wanted:
                return line, wanted
        return None

    def check(self, job):
        """None, or what is wrong; and how many lines were compared."""
        first, second, options = job
        earlier, later = min(first, second), max(first, second)
        words = [word for key, value in options.items() for word in ("--" + key, value)]
        try:
            wanted = self.wanted(earlier, later, options)
            lines = self.ask("diff", str(first), str(second), *words)
            wrong = self.trace(lines, earlier, later)
        except (ValueError, KeyError, TypeError, StopIteration) as e:
            return repr(e), 0
        if wrong is not None:
            return f"the line\n  {wrong[0]}\nshould have\n  {wrong[1]}", 0
        lines = [{k: v for k, v in line.items() if k not in BY or not ("queue" in line or "dynamic" in line)}
                 for line in lines]
        if lines == wanted:
            return None, len(lines)
        at = next((i for i, (x, y) in enumerate(zip(wanted, lines)) if x != y), min(len(wanted), len(lines)))
        return (f"line {at + 1} of {len(lines)} is\n  {lines[at:at + 1]}\nand should be, of {len(wanted)},\n  "
                f"{wanted[at:at + 1]}"), 0


def choose(numbers, past, commands, pairs):
    """Pairs of points near and far, some with an option about what is at one of them."""
    for i in range(pairs):
        first = numbers.randint(0, commands)
        far = numbers.choice((0, 1, 10, 100, 2000))
        second = min(max(first + numbers.randint(-far, far), 0), commands)
        options = {}
        resources = past.ask("show", "--at", str(first))[0]["resources"] if i % 2 == 1 else []
        if resources:
            key = numbers.choice(("resource", "owner", "type"))
            one = numbers.choice(resources)
            options = {key: one["name" if key == "resource" else key]}
        yield first, second, options


def main():
    o = arguments(__doc__, "program", "make_history", "make_folder", commands=10000, snapshot_every=1000, pairs=200)
    checked = lines = traced = 0
    wrong = None
    with folder.temporary() as tmp:
        history = os.path.join(tmp, "history")
        make_history(o, history, o.snapshot_every)
        numbers = random.Random(o.seed)
        for top, commands in ((history, o.commands), (make_queues(o.make_folder, numbers, tmp), QUEUES_COMMANDS)):
            past = Past(o.program, top)
            jobs = list(choose(numbers, past, commands, o.pairs // 2)) if wrong is None else []
            for job, (wrong, count) in zip(jobs, folder.each(past.check, jobs)):
                checked += 1
                lines += count
                if wrong is not None:
                    print(f"{os.path.basename(top)}: diff {job[0]} {job[1]} {job[2]}: {wrong}")
                    break
            traced += past.traced
    print(f"seed {o.seed}: {o.commands} commands, {checked} of {o.pairs} pairs, {lines} lines compared, {traced} traced")
    return 0 if wrong is None and checked == o.pairs // 2 * 2 and lines > 0 and traced > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
