#!/usr/bin/env python3
"""Flips single bits of a data folder, and of a file exported from it, and looks into each with boskos-replay.

usage: flips.py BOSKOS_REPLAY MAKE_HISTORY [--count N] [--seed S] [--case I]

Each look must end with exit code 4 and a line that names the damaged file (or data.mdb, which is then held against it), or
print exactly what it prints of the undamaged one; no signal, and nothing that takes long. It must change nothing in the
folder. An exported file that has lost the bytes by which it is known may be taken for no such file, with exit code 1. As in
the daemon's rig (tests/rigs/flips) a format number, which is in no checksum, may be taken for that of a newer version. A
seed repeats a run, --case one flip of it, whose folder stays. The last line of the output has the counts.
"""

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile

import folder

COMMANDS = 2000
SNAPSHOT_EVERY = 600
POINTS = 20  # that are looked at
SECONDS_MAX = 30
EXPORTED = "exported"
MAGIC_BYTES = 8  # by which an exported file is known
WRONG_MAX = 10  # then it ends


def content(path):
    """A file's bytes up to the last that is not 0, for the rest was only reserved; and its size."""
    with open(path, "rb") as f:
        whole = f.read()
    return whole.rstrip(b"\0"), len(whole)


class Rig:
    def __init__(self, o, top):
        self.program, self.seed, self.top = o.program, o.seed, top
        self.keeps = o.case is not None
        self.whole = os.path.join(top, "whole")
        os.mkdir(self.whole)
        self.make(o.make_history)
        self.exported = os.path.join(top, EXPORTED)
        ended = self.run(self.whole, None, ["export", "--to", self.exported])
        if ended.code != 0:
            sys.exit(f"the undamaged folder cannot be exported: {ended}")
        self.files = {name: content(os.path.join(self.whole, "journal", name))
                      for name in sorted(os.listdir(os.path.join(self.whole, "journal")))}
        self.exported_content = content(self.exported)
        for name, (bytes_, size) in [*self.files.items(), (EXPORTED, self.exported_content)]:
            print(f"{name}: {len(bytes_)} of {size} bytes")
        points = random.Random(f"{self.seed}/points").sample(range(1, COMMANDS + 1), POINTS)
        self.looks = [["show", "--json"], ["log", "--json"], ["verify"], ["info", "--json"]]
        self.shows = [["show", "--at", str(seq), "--json"] for seq in points]
        self.wanted = {}
        for file in (None, self.exported):
            looks = self.looks + self.shows
            for look, ended in zip(looks, folder.each(lambda look, file=file: self.run(self.whole, file, look), looks)):
                if ended.code != 0 or ended.out == b"":
                    sys.exit(f"of the undamaged one: {ended}")
                self.wanted[file is not None, *look] = ended.out
        self.counts = collections.Counter()
        self.by_file = collections.Counter()

    def make(self, make_history):
        ended = folder.Ended([make_history, self.whole, "--seed", str(self.seed), "--commands", str(COMMANDS),
                              "--snapshot-every", str(SNAPSHOT_EVERY)])
        if ended.code != 0:
            sys.exit(f"the history cannot be made: {ended}")
        os.rmdir(os.path.join(self.whole, "points"))

    def run(self, top, file, look):
        given = ["--data-dir", top] if file is None else ["--file", file]
        return folder.Ended([self.program, *given, *look], SECONDS_MAX)

    def copy(self, to):
        """The folder again; what was only reserved is left as a hole."""
        journal = os.path.join(to, "journal")
        os.mkdir(to, 0o700)
        os.mkdir(journal, 0o700)
        for name, (bytes_, size) in self.files.items():
            write(os.path.join(journal, name), bytes_, size)

    def choose(self, rng):
        """A file of the folder: half of the time any of them, half of the time by size."""
        names = [name for name, (bytes_, _) in self.files.items() if bytes_]
        if rng.random() < 0.5:
            return rng.choice(names)
        return rng.choices(names, [len(self.files[name][0]) for name in names])[0]

    def case(self, number):
        """Plays a case. What it came to, the damaged file, and a text when that is wrong."""
        rng = random.Random(f"{self.seed}/{number}")
        is_exported = rng.random() < 0.25
        name = EXPORTED if is_exported else self.choose(rng)
        bytes_, size = self.exported_content if is_exported else self.files[name]
        at, bit = rng.randrange(len(bytes_)), rng.randrange(8)
        # What a look at one point does is what most others begin with.
        look = rng.choice([*self.looks, rng.choice(self.shows)])
        copy = os.path.join(self.top, f"case-{number}")
        damaged = copy if is_exported else os.path.join(copy, "journal", name)
        if not is_exported:
            self.copy(copy)
        write(damaged, bytes_[:at] + bytes([bytes_[at] ^ 1 << bit]) + bytes_[at + 1 :], size)
        before = folder.look(copy)
        ended = self.run(copy, copy if is_exported else None, look)
        changed = folder.changes(before, folder.look(copy))
        outcome, why = self.judge(ended, name, at, copy, is_exported, look)
        if changed:
            outcome, why = "WRONG", "the folder was changed: " + "; ".join(changed)
        if self.keeps:
            kept = shutil.move(copy, tempfile.mkdtemp(prefix="boskos-replay-"))
            print(f"it stays in {kept}")
        elif is_exported:
            os.remove(copy)
        else:
            shutil.rmtree(copy)
        what = f"case {number}: {name} byte {at} bit {bit}: {outcome}: {why}\n{ended}"
        return outcome, name, what

    def judge(self, ended, name, at, copy, is_exported, look):
        said = ended.err.decode("utf-8", "replace")
        names = os.path.basename(copy) in said if is_exported else name in said or "data.mdb" in said
        if ended.code == 0:
            wanted = self.wanted[is_exported, *look]
            came = ended.out.replace(copy.encode(), (self.exported if is_exported else self.whole).encode())
            if name == "WITNESS" and look[0] == "verify":  # which says so, beside the same
                came, wanted = came.split(b"\n")[0], wanted.split(b"\n")[0]
            if came == wanted:
                return "same", ""
            return "WRONG", f"exit code 0 and another output: {difference(wanted, came)}"
        if ended.code == 4:
            return ("refused", "") if names else ("WRONG", "exit code 4 and the file is not named")
        if ended.code == 1 and names and "newer" in said:
            return "newer", ""
        if ended.code == 1 and names and is_exported and at < MAGIC_BYTES:
            return "refused", ""
        return "WRONG", "neither the same output nor exit code 4"


def difference(wanted, came):
    """The first line that differs, shortened."""
    pairs = zip(wanted.split(b"\n") + [b""], came.split(b"\n") + [b""])
    first = next(((a, b) for a, b in pairs if a != b), (b"", b""))
    return f"wanted {first[0][:300]!r}, came {first[1][:300]!r}"


def write(path, bytes_, size):
    with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(bytes_)
        f.truncate(size)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("make_history")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--case", type=int)
    o = parser.parse_args()
    print(f"seed {o.seed}", flush=True)
    cases = range(o.count) if o.case is None else [o.case]
    with folder.temporary() as top:
        rig = Rig(o, top)
        for outcome, name, what in folder.each(rig.case, cases):
            rig.counts[outcome] += 1
            rig.by_file[name, outcome] += 1
            if outcome == "WRONG" or o.case is not None:
                print(what, flush=True)
            if rig.counts["WRONG"] >= WRONG_MAX:
                break
    for (name, outcome), count in sorted(rig.by_file.items()):
        print(f"  {name}: {count} {outcome}")
    c = rig.counts
    print(f"seed {o.seed}: {c.total()} flips, {c['same']} the same, {c['refused']} refused, {c['newer']} as of a newer "
          f"version, {c['WRONG']} WRONG")
    return 0 if c["WRONG"] == 0 and c.total() == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
