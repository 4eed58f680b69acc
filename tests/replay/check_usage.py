#!/usr/bin/env python3
"""Holds `boskos-replay usage` against a count of its own, over random stretches of a random history.

usage: check_usage.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER [--seed S] [--commands N] [--snapshot-every M] [--stretches K]

Stretches begin and end with commands, at instants of all kinds (beside, between and beyond commands, and before the end),
or each with one of them; some have no command in them, some end before they begin, which must be said.
Here leases are followed one by one through the effects of `log --json`, and how long a request had waited is looked up in
the queues of `show --json` before its grant. Counts and times must be the same to the nanosecond, percentiles up to 2 % above.
Few requests of such a history wait, so that there is another one of nothing but queues; and a folder with more owners than
usage keeps apart. A seed repeats a run. Exit code 1 after the first difference.
"""

import bisect
import collections
import datetime
import json
import os
import random
import sys
from decimal import Decimal

import folder
from past import EPOCH, Asked, arguments, instant, make_folder, make_history

BY = ("type", "owner", "resource")
NS = Decimal(10**9)
OWNERS = 70000
QUEUES_COMMANDS = 5000
EXACT_MAX = 10000  # waits whose percentiles are exact


class Row:
    def __init__(self):
        self.at_start = self.begun = self.ended = self.at_end = self.held = self.existed = self.refused = 0
        self.waits = []

    def line(self, by, length):
        """What usage must print of it, percentiles left out."""
        line = {"at-start": self.at_start, "begun": self.begun, "ended": self.ended, "at-end": self.at_end,
                "held-seconds": self.held / NS, "grants": len(self.waits), "waited": sum(w > 0 for w in self.waits),
                "wait-max-seconds": max(self.waits) / NS if self.waits else None}
        whole = length if by == "owner" else self.existed
        line["average" if by == "owner" else "utilisation"] = (
            None if whole == 0 else Decimal(self.held) / Decimal(whole))
        if by != "owner":
            line["existed-seconds"] = self.existed / NS
        if by != "resource":
            line["refused"] = self.refused
        return line


class Count:
    """Follows leases and resources from one command to the next."""

    def __init__(self, by, resources, since):
        self.by, self.since = by, since
        self.rows = collections.defaultdict(Row)
        self.total = Row()
        self.there = {r["name"]: r for r in resources}
        self.leases, self.lives = {}, {}  # name -> (key, begin)
        for r in resources:
            self.begin(r, since, True)

    def both(self, key):
        return self.rows[key], self.total

    def begin(self, r, now, is_start=False):
        name = r["name"]
        if self.by != "owner" and name not in self.lives:
            key = r["type"] if self.by == "type" else name
            self.lives[name] = (key, now)
            self.rows[key]  # is there, if only with zeros
        if r["owner"] != "" and name not in self.leases:
            key = name if self.by == "resource" else r[self.by]
            self.leases[name] = (key, now)
            for row in self.both(key):
                row.at_start += is_start
                row.begun += not is_start

    def end(self, name, now, lease, life, is_end=False):
        if lease and name in self.leases:
            key, begun = self.leases.pop(name)
            for row in self.both(key):
                row.held += now - begun
                row.ended += not is_end
                row.at_end += is_end
        if life and name in self.lives:
            key, begun = self.lives.pop(name)
            for row in self.both(key):
                row.existed += now - begun

    def effect(self, e, now):
        name = e["resource"]
        old = self.there.get(name)
        new = None if e["to"] is None else {"name": name, **(old or {}), **e["to"]}
        is_moved = old is not None and new is not None and old["type"] != new["type"] and self.by == "type"
        is_over = new is None or old is None or old["owner"] != new["owner"] or old["type"] != new["type"]
        self.end(name, now, is_over, new is None or is_moved)
        if new is None:
            self.there.pop(name, None)
        else:
            self.there[name] = new
            self.begin(new, now)

    def acquire(self, c, waited):
        """waited: nanoseconds of a grant, None for a refusal."""
        if waited is None and self.by == "resource":
            return
        key = json.loads(c["reply"])["name"] if self.by == "resource" else c["params"][self.by]
        for row in self.both(key):
            if waited is None:
                row.refused += 1
            else:
                row.waits.append(waited)

    def finish(self, until):
        for name in list(self.there):
            self.end(name, until, True, True, is_end=True)
        return self


class Past(Asked):
    def __init__(self, program, top):
        super().__init__(program, top)
        self.waits = {}  # by the number of a granted acquire
        self.times = [instant(c["time"]) for c in self.ask("log")]
        self.quiet = self.refused = 0  # stretches without a command, and those that end before they begin

    def ask(self, *words, **how):
        return super().ask(*words, parse_float=Decimal, **how)

    def waited(self, c):
        """How long the request of a grant had been in the queue that it asked for."""
        if c["seq"] not in self.waits:
            p, now = c["params"], instant(c["time"])
            since = [instant(r["since"]) for q in (self.state(c["seq"] - 1)["queues"] if "request_id" in p else [])
                     if (q["type"], q["state"]) == (p["type"], p["state"]) for r in q["requests"]
                     if r["id"] == p["request_id"] and instant(r["expires"]) >= now]
            self.waits[c["seq"]] = now - since[0] if since else 0
        return self.waits[c["seq"]]

    def begin(self, text):
        """The first command of a stretch, and when it begins: not before anything is known."""
        if text.isdigit():
            return int(text), self.times[max(int(text) - 2, 0)]
        at = self.instant(text)
        return bisect.bisect_left(self.times, at) + 1, max(at, self.times[0])

    def finish(self, text):
        """The last command of a stretch, and when it ends: not after all that is known."""
        if text.isdigit():
            return int(text), self.times[int(text) - 1]
        at = self.instant(text)
        return bisect.bisect_right(self.times, at), min(at, self.times[-1])

    def instant(self, text):
        return self.times[-1] - int(text[1:-2]) if text.startswith("-") else instant(text)

    def count(self, by, first, last, since, until):
        count = Count(by, self.state(first - 1)["resources"], since)
        for c in self.ask("log", "--from", str(first), "--to", str(last)) if first <= last else []:
            now = instant(c["time"])
            for e in c["effects"]:
                count.effect(e, now)
            if c["kind"] == "acquire" and (c["status"] != 200 or not self.is_repeat(c)):
                count.acquire(c, self.waited(c) if c["status"] == 200 else None)
        return count.finish(until)

    @staticmethod
    def is_repeat(c):
        """A grant always changes what it hands out: it gets an owner."""
        return not any(e["to"] is not None and e["to"].get("owner", "") != "" for e in c["effects"])

    def check(self, job):
        """None, or what is wrong; and how many lines were compared."""
        by, *words = job
        (first, since), (last, until) = self.begin(words[0]), self.finish(words[1])
        try:
            if since > until:
                self.refused += 1
                return self.check_refused("usage", "--by", by, "--from", words[0], "--to", words[1]), 0
            self.quiet += first > last
            lines = self.ask("usage", "--by", by, "--from", words[0], "--to", words[1])
            count = self.count(by, first, last, since, until)
            return self.compare(by, lines, count, (first, last, since, until)), len(lines)
        except (ValueError, KeyError, TypeError, IndexError) as e:
            return repr(e), 0

    def check_refused(self, *words):
        ended = folder.Ended([self.program, "--data-dir", self.top, *words])
        is_good = ended.code == (2 if b" is after --to " in ended.err else 1) and ended.out == b"" and b"--from " in ended.err and b" is after " in ended.err
        return None if is_good else f"it ends before it begins: {ended}{ended.out}"

    @staticmethod
    def compare(by, lines, count, stretch):
        first, last, since, until = stretch
        length = until - since
        *rows, total = lines
        keys = [line[by] for line in rows]
        wanted = sorted(count.rows, key=lambda k: (-count.rows[k].held, k.encode()))
        if keys != wanted:
            return f"the keys are {keys} and should be {wanted}"
        commands = (first, last) if first <= last else (None, None)
        if (total.pop("total"), total.pop("first"), total.pop("last")) != (True, *commands):
            return f"the total is {total}, of commands {commands}"
        times = instant(total.pop("since")), instant(total.pop("until"))
        if times != (since, until):
            return f"the stretch is {times} and should be {(since, until)}"
        for line, row in zip(lines, [count.rows[k] for k in wanted] + [count.total]):
            line.pop(by, None)
            for percent in (50, 99):
                wrong = percentile(line.pop(f"wait-p{percent}-seconds"), row.waits, percent)
                if wrong is not None:
                    return wrong
            wanted_line = row.line(by, length)
            share = "average" if by == "owner" else "utilisation"
            if (line[share] is None) != (wanted_line[share] is None) or (
                    line[share] is not None and abs(line[share] - wanted_line[share]) > Decimal("0.000001")):
                return f"{share} of {line} should be {wanted_line[share]}"
            line.pop(share), wanted_line.pop(share)
            if line != wanted_line:
                return f"{line}\nshould be {wanted_line}"
        return None


def percentile(value, waits, percent, is_exact=True):
    """None, or what is wrong. Beyond EXACT_MAX of those that waited it may be 2 % more, but no more than the longest."""
    if not waits:
        return None if value is None else f"{value} of no waits"
    exact = sorted(waits)[-(-len(waits) * percent // 100) - 1] / NS
    is_good = exact == value if is_exact else exact <= value <= min(exact + exact / 50, max(waits) / NS)
    return None if is_good else f"p{percent} is {value} and should be {exact}{'' if is_exact else ' or a little more'}"


def make_queues(program, numbers, tmp):
    """A folder in which nearly all have to wait, some too long between two polls, from seconds to hours."""
    script, top = os.path.join(tmp, "queues.txt"), os.path.join(tmp, "queues")
    with open(script, "w", encoding="utf-8") as f:
        f.write("0s started 0s\n0s config <<END\nresources:\n- {type: t, state: free, names: [a, b, c]}\n"
                "- {type: u, state: free, names: [d]}\nEND\n")
        now = 0
        for i in range(QUEUES_COMMANDS - 2):
            now += numbers.choice((0, 250, 1000, 3000))
            if numbers.randint(1, 25) == 1:
                f.write(f"{now}ms reset {numbers.choice('ttu')} busy {numbers.randint(1, 200)}s free\n")
            else:
                job = i // 500 * 4 + numbers.randint(0, 11)
                f.write(f"{now}ms acquire {'tu'[job % 3 == 0]} free busy owner-{job % 7} id=job-{job}\n")
    make_folder(program, script, top)
    return top


def check_others(program, maker, tmp):
    """None, or what is wrong when there are more owners than are kept apart."""
    script, top = os.path.join(tmp, "owners.txt"), os.path.join(tmp, "owners")
    with open(script, "w", encoding="utf-8") as f:
        f.write("0s started 0s\n0s config <<END\nresources:\n- {type: t, state: free, names: [a]}\nEND\n"
                f"1s repeat {OWNERS} acquire t free busy owner-#\n")
    make_folder(maker, script, top)
    ended = Asked(program, top).run("--json", "usage", "--by", "owner")
    *rows, others, total = [json.loads(line) for line in ended.out.decode("utf-8").splitlines()]
    if ended.code != 0 or b"65536" not in ended.err:
        return str(ended)
    counts = (len(rows), rows[0]["owner"], rows[0]["begun"], others.get("others"), others["refused"], total.get("total"),
              total["refused"], total["begun"])
    wanted = (65536, "owner-1", 1, True, OWNERS - 65536, True, OWNERS - 1, 1)
    return None if counts == wanted else f"of {OWNERS} owners: {counts} and should be {wanted}"


def check_many(program, maker, numbers, tmp):
    """None, or what is wrong with the waits when one more than EXACT_MAX had waited."""
    script, top = os.path.join(tmp, "many.txt"), os.path.join(tmp, "many")
    waits, now, each = [], 1, 1000
    with open(script, "w", encoding="utf-8") as f:
        f.write("0s started 0s\n0s config <<END\nresources:\n- {type: t, state: free, names: ["
                f"{', '.join(f'r{i}' for i in range(each))}]}}\nEND\n0s repeat {each} acquire t free busy ann\n")
        for count in [each] * (EXACT_MAX // each) + [1]:
            wait = numbers.randint(1, 29999)
            f.write(f"{now}ms repeat {count} acquire t free busy ann id=job-#\n{now + wait}ms reset t busy 0s free\n"
                    f"{now + wait}ms repeat {count} acquire t free busy ann id=job-#\n")
            waits += [wait * 10**6] * count
            now += wait + 1
    make_folder(maker, script, top)
    waits = [0] * each + waits
    last = 2 + each + 3 + (2 * each + 1) * (EXACT_MAX // each)
    for count, to, head in ((EXACT_MAX + 1, last, b"  ABOUT P50  ABOUT P99  "), (EXACT_MAX, last - 1, b"  WAIT P50  WAIT P99  ")):
        words = ["usage", "--to", str(to)]
        total = Asked(program, top).ask(*words, parse_float=Decimal)[-1]
        if (total["waited"], head in Asked(program, top).run(*words).out) != (count, True):
            return f"{count} that waited, {head}: {total}"
        for percent in (50, 99):
            wrong = percentile(total[f"wait-p{percent}-seconds"], waits[:each + count], percent, count <= EXACT_MAX)
            if wrong is not None:
                return f"{count} that waited: {wrong}"
    return None


def time_text(ns):
    return f"{EPOCH + datetime.timedelta(seconds=ns // 10**9):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09}Z"


def choose_instant(numbers, times, at):
    """At or near a command, or anywhere up to the next one; at the ends also beyond."""
    here, beyond = times[at], times[at + 1] if at + 1 < len(times) else times[at] + 10**12
    return numbers.choice((here, here - 1, here + 1, beyond, numbers.randint(here, beyond)))


def choose_words(numbers, times, how):
    """--from and --to: `how` says of what kind."""
    first = numbers.randrange(len(times))
    last = numbers.randint(first, min(first + 10**numbers.randint(0, 4), len(times) - 1))
    words = [str(first + 1), str(last + 1)]
    if how == "quiet":
        at = numbers.choice([i for i in range(len(times) - 1) if times[i + 1] - times[i] > 10**6])
        return [time_text(t) for t in sorted(numbers.randint(times[at] + 1, times[at + 1] - 1) for _ in range(2))]
    if how in ("instants", "from", "backwards"):
        words[0] = time_text(choose_instant(numbers, times, first))
    if how in ("instants", "to", "backwards"):
        words[1] = time_text(max(choose_instant(numbers, times, last), times[0]))
    if how == "spans":
        words = [f"-{times[-1] - numbers.randint(times[at], times[min(at + 1, len(times) - 1)])}ns" for at in (first, last)]
    return words[::-1] if how == "backwards" else words


HOWS = ("commands", "instants", "from", "to", "spans", "quiet", "backwards")


def choose(numbers, times, count):
    """All of it by each key, and stretches of all kinds and sizes."""
    for by in BY:
        yield by, "1", str(len(times))
    for i in range(count):
        yield BY[i % 3], *choose_words(numbers, times, HOWS[i % len(HOWS)])


def main():
    o = arguments(__doc__, "program", "make_history", "make_folder", commands=5000, snapshot_every=500, stretches=28)
    numbers = random.Random(o.seed)
    checked = lines = waited = grants = quiet = refused = 0
    with folder.temporary() as tmp:
        history = os.path.join(tmp, "history")
        make_history(o, history, o.snapshot_every)
        wrong = (check_others(o.program, o.make_folder, tmp) or
                 check_many(o.program, o.make_folder, numbers, tmp))
        for top in (history, make_queues(o.make_folder, numbers, tmp)):
            past = Past(o.program, top)
            for job in choose(numbers, past.times, o.stretches) if wrong is None else []:
                wrong, count = past.check(job)
                if wrong is not None:
                    wrong = f"{os.path.basename(top)}: usage --by {job[0]} --from {job[1]} --to {job[2]}: {wrong}"
                    break
                checked += 1
                lines += count
            waited += sum(w > 0 for w in past.waits.values())
            grants += len(past.waits)
            quiet += past.quiet
            refused += past.refused
    if wrong is not None:
        print(wrong)
    print(f"seed {o.seed}: {o.commands} commands, {checked} stretches, {quiet} without a command, {refused} refused, {lines} "
          f"lines, {waited} of {grants} grants had waited")
    is_all = checked == 2 * (o.stretches + 3) and quiet > 0 and refused > 0 and waited > 100
    return 0 if wrong is None and is_all else 1


if __name__ == "__main__":
    sys.exit(main())
