"""What the checks of boskos-replay against random histories share: their command line, the folders, what it answers."""

import argparse
import datetime
import json
import os
import re
import sys
from fractions import Fraction

import folder

UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
EPOCH = datetime.datetime(1970, 1, 1)


class Wrong(ValueError):
    """What boskos-replay says is not so."""


def arguments(doc, *programs, **numbers):
    """The command line of a check with that text at its head, for options of numbers beside --seed. Says the seed."""
    parser = argparse.ArgumentParser(usage=doc.split("usage: ")[1].split("\n")[0])
    for program in programs:
        parser.add_argument(program)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    for name, usual in numbers.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=usual)
    o = parser.parse_args()
    print(f"seed {o.seed}", flush=True)
    return o


def make_history(o, top, snapshot_every, *more):
    """A data folder of a random history."""
    made = folder.Ended([o.make_history, top, "--seed", str(o.seed), "--commands", str(o.commands),
                         "--snapshot-every", str(snapshot_every), *more])
    if made.code != 0:
        sys.exit(f"the history cannot be made: {made}")


def make_folder(program, script, top):
    """A data folder of a script."""
    made = folder.Ended([program, script, top])
    if made.code != 0:
        sys.exit(f"the folder of {os.path.basename(script)} cannot be made: {made}")


class Asked:
    """A data folder that boskos-replay is asked about."""

    def __init__(self, program, top):
        self.program, self.top = program, top

    def run(self, *words):
        return folder.Ended([self.program, "--data-dir", self.top, *words])

    def ask(self, *words, **how):
        """The lines of an answer, each of them JSON."""
        ended = self.run("--json", *words)
        if ended.code != 0 or ended.err:
            raise Wrong(str(ended))
        return [json.loads(line, **how) for line in ended.out.decode("utf-8").splitlines()]

    def state(self, seq):
        return self.ask("show", "--at", str(seq))[0]


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
