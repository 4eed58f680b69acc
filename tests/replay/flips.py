#!/usr/bin/env python3
"""Flips single bits of a data folder, and of a file exported from it, and looks into each with boskos-replay.

usage: flips.py BOSKOS_REPLAY MAKE_HISTORY [--count N] [--seed S] [--case I]

Each look must end as it does on the undamaged one, with the same output and the same files where it writes some, or with exit
code 4 and a last line that names the damaged file, and the record where the line is about one: for a checksum that does not
fit the very record in which the bit is. No signal, nothing that takes long, nothing changed in the folder and nothing half
made left elsewhere. A memory fault, which boskos-replay turns into exit code 4, may come of data.mdb only, which LMDB reads as
memory. The version that made the folder, which info shows and export hands on, is in no checksum. The folder's last commands
are in AHEAD, as a crash leaves them. The bits are flipped in place and flipped back. A seed repeats a run, --case one flip of
it, whose folder stays. The last line of the output has the counts.
"""

import argparse
import bisect
import collections
import json
import os
import queue
import random
import re
import shutil
import sys
import tempfile

import folder

COMMANDS = 1500
SNAPSHOT_EVERY = 450
AHEAD = 300  # of them: the last ones
POINTS = 12  # that are looked at
SECONDS_MAX = 30
EXPORTED = "exported"
WRONG_MAX = 10  # then it ends
LOOK_EVERY = 20  # flips: then all of the folder is read again, for what has changed

FAULT = "is damaged or was cut short, or its disk fails"
# What a line can say that is about no record.
NO_RECORD = re.compile(
    r"data\.mdb was written by a newer boskosd |data\.mdb is damaged: (page \d+ |LMDB met a page )|data\.mdb: .*cannot |cannot (read|open) .*: (MDB_|[A-Z])"
    r"|snapshot-\d{20}(: the header is damaged|: it is the snapshot of record \d+|: its (checksum|length|state)"
    r"| is cut short| was written by a newer boskosd|: it has no format)"
    r"|AHEAD is damaged: its size"
    rf"|{EXPORTED}(: the header | is cut short| is not a file that |: its (end|length)|: the checksum of its "
    r"|: the state in it | was written by a newer )")
RECORD = re.compile(r"\b(record|command|ends at|begins at) \d+")
MISFIT = re.compile(r"data\.mdb: the checksum of (?:the result of )?record (\d+) does not fit")
# The head of one of LMDB's nodes: its flags, the size of the key, and the key, a sequence number.
NODE = re.compile(rb"[\x00\x01]\x00\x08\x00(\x00{6}..)", re.DOTALL)
NODE_SIZES = 4  # bytes before the flags: the size of its content


def content(path):
    """A file's bytes up to the last that is not 0, for the rest was only reserved; and its size."""
    with open(path, "rb") as f:
        whole = f.read()
    return whole.rstrip(b"\0"), len(whole)


def stamps(top):
    """Of a file or of everything below a folder, what changes when it is written by the way of the system."""
    places = [top] + [os.path.join(path, name) for path, names, files in os.walk(top) for name in names + files]
    return [(place, s.st_mode, s.st_size, s.st_mtime_ns) for place in sorted(places) for s in [os.lstat(place)]]


def flip(path, at, bit):
    with open(path, "r+b", buffering=0) as f:
        was = os.pread(f.fileno(), 1, at)[0]
        os.pwrite(f.fileno(), bytes([was ^ 1 << bit]), at)


class Lane:
    """A folder and an exported file of its own for each that works at the same time."""

    def __init__(self, rig, number):
        self.top = os.path.join(rig.top, f"lane-{number}")
        self.folder = os.path.join(self.top, "folder")
        self.exported = os.path.join(self.top, EXPORTED)
        self.written = os.path.join(self.top, "written")  # by a look
        os.mkdir(self.top)
        shutil.copytree(rig.whole, self.folder)
        shutil.copyfile(rig.exported, self.exported)
        self.whole = (folder.look(self.folder), folder.look(self.exported))
        self.flips = 0

    def clear(self):
        """Removes what the look has written. Its names."""
        names = sorted(set(os.listdir(self.top)) - {"folder", EXPORTED})
        for path in (os.path.join(self.top, name) for name in names):
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.remove(path)
        return names

    def changed(self):
        """What is not as it was at first, but for the times of files, which flipping changes."""
        def still(found):
            return {name: (mode, size, content_) for name, (mode, size, _, content_) in found.items()}
        now = (folder.look(self.folder), folder.look(self.exported))
        return [line for before, after in zip(self.whole, now) for line in folder.changes(still(before), still(after))]


class Rig:
    def __init__(self, o, top):
        self.program, self.seed, self.top = o.program, o.seed, top
        self.keeps = o.case is not None
        self.whole = os.path.join(top, "whole")
        self.exported = os.path.join(top, EXPORTED)
        os.mkdir(self.whole)
        self.make(o.make_history)
        ended = folder.Ended([self.program, "--data-dir", self.whole, "export", "--with-userdata", "--to", self.exported])
        if ended.code != 0:
            sys.exit(f"the undamaged folder cannot be exported: {ended}")
        self.files = {name: content(os.path.join(self.whole, "journal", name))
                      for name in sorted(os.listdir(os.path.join(self.whole, "journal")))}
        if not {"AHEAD", "WITNESS", "data.mdb"} <= {name for name, (bytes_, _) in self.files.items() if bytes_}:
            sys.exit(f"the folder has not what it should have: {sorted(self.files)}")
        self.exported_content = content(self.exported)
        for name, (bytes_, size) in [*self.files.items(), (EXPORTED, self.exported_content)]:
            print(f"{name}: {len(bytes_)} of {size} bytes")
        self.nodes = self.find_nodes()
        self.versions = self.find_versions()
        self.looks = self.choose_looks()
        self.lanes = queue.SimpleQueue()
        for number in range(folder.JOBS):
            self.lanes.put(Lane(self, number))
        self.wanted = {}
        jobs = [(is_exported, look) for is_exported in (False, True) for look in self.looks
                if not (is_exported and look[0] == "backup")]
        for (is_exported, look), got in zip(jobs, folder.each(self.undamaged, jobs)):
            self.wanted[is_exported, look] = got
        self.counts = collections.Counter()
        self.by_file = collections.Counter()

    def make(self, make_history):
        ended = folder.Ended([make_history, self.whole, "--seed", str(self.seed), "--commands", str(COMMANDS),
                              "--snapshot-every", str(SNAPSHOT_EVERY), "--ahead", str(AHEAD)])
        if ended.code != 0:
            sys.exit(f"the history cannot be made: {ended}")
        os.rmdir(os.path.join(self.whole, "points"))

    def find_nodes(self):
        """Where in data.mdb each node begins that may be of a record or a result, and of which."""
        found = []
        for match in NODE.finditer(self.files["data.mdb"][0]):
            seq = int.from_bytes(match[1], "big")
            if 1 <= seq <= COMMANDS and match.start() % 2 == 0:
                found.append((match.start() - NODE_SIZES, seq))
        return found

    def find_versions(self):
        """Where in data.mdb the version stands that made it: nothing vouches for that, but that it is shown."""
        version = json.loads(folder.Ended([self.program, "--data-dir", self.whole, "info", "--json"]).out)["created_by"]
        key = b"created-by" + version.encode()
        ends = [match.end() for match in re.finditer(re.escape(key), self.files["data.mdb"][0])]
        if not ends:
            sys.exit("data.mdb does not say which version made it")
        return {at for end in ends for at in range(end - len(version), end)}

    def leased(self, points):
        """The points at which somebody has something, with the names of resources and the owners."""
        for seq in points:
            state = json.loads(folder.Ended([self.program, "--data-dir", self.whole, "show", "--at", seq, "--json"]).out)
            owners = [r["owner"] for r in state["resources"] if r["owner"]]
            if owners:
                yield seq, [r["name"] for r in state["resources"]], owners

    def choose_looks(self):
        """Command lines, {to} being a place to write to."""
        numbers = random.Random(f"{self.seed}/points")
        points = [str(seq) for seq in numbers.sample(range(1, COMMANDS + 1), POINTS)]
        leased, names, owners = next(self.leased(points), (None, [], []))
        if leased is None:
            sys.exit(f"the seed {self.seed} gives a history without a lease at {points}")
        first, last = sorted(points[:2], key=int)
        always = [("show", "--json"), ("log", "--json"), ("verify",), ("info", "--json"), ("log", "--reverse"),
                  ("usage", "--by", "owner", "--json"), ("diff", first, last, "--json"),
                  ("bisect", "--good", "1", "--bad", str(COMMANDS), "--run", f'test "$BOSKOS_SEQ" -lt {last}'),
                  ("bisect", "--good", "1", "--bad", str(COMMANDS), "--invariant", "no-double-lease"),
                  ("export", "--with-userdata", "--to", "{to}"), ("export", "--from", first, "--to", "{to}"),
                  ("backup", "--to", "{to}"),
                  ("who", numbers.choice(names), "--at", leased), ("held-by", numbers.choice(owners), "--at", leased)]
        at = [("show", "--at", seq, "--json") for seq in points[: POINTS // 2]]
        return always + at + [("why", seq, "--json") for seq in points[POINTS // 2 :]]

    # ---- looking -------------------------------------------------------------------

    def run(self, lane, is_exported, look):
        given = ["--file", lane.exported] if is_exported else ["--data-dir", lane.folder]
        return folder.Ended([self.program, *given, *(w.replace("{to}", lane.written) for w in look)], SECONDS_MAX)

    def came(self, lane, ended, look):
        """Exit code, output without the lane's own names, and what was written: the bytes of an exported file; of a
        backup, which has times of its own, what verify says of it."""
        files = b""
        if ended.code == 0 and look[0] == "export":
            with open(lane.written, "rb") as f:
                files = f.read()
        elif ended.code == 0 and look[0] == "backup":
            verified = folder.Ended([self.program, "--data-dir", lane.written, "verify"], SECONDS_MAX)
            files = verified.out + str(verified.code).encode()
        return ended.code, ended.out.replace(lane.top.encode(), b"LANE"), files

    def undamaged(self, job):
        is_exported, look = job
        lane = self.lanes.get()
        try:
            ended = self.run(lane, is_exported, look)
            came = self.came(lane, ended, look)
            lane.clear()
        finally:
            self.lanes.put(lane)
        # Of bisect it is an answer that nothing breaks the invariant.
        if ended.code not in ((0, 1) if look[0] == "bisect" else (0,)) or ended.out + ended.err == b"":
            sys.exit(f"of the undamaged one: {ended}")
        return came

    # ---- flipping ------------------------------------------------------------------

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
        bytes_ = (self.exported_content if is_exported else self.files[name])[0]
        at, bit = rng.randrange(len(bytes_)), rng.randrange(8)
        look = rng.choice([look for look in self.looks if (is_exported, look) in self.wanted])
        lane = self.lanes.get()
        try:
            damaged = lane.exported if is_exported else os.path.join(lane.folder, "journal", name)
            flip(damaged, at, bit)
            before = stamps(lane.folder), stamps(lane.exported)
            ended = self.run(lane, is_exported, look)
            is_changed = before != (stamps(lane.folder), stamps(lane.exported))
            outcome, why = self.judge(lane, ended, name, at, look)
            if self.keeps:
                print(f"it stays in {shutil.copytree(lane.top, tempfile.mkdtemp(prefix='boskos-replay-'), dirs_exist_ok=True)}")
            flip(damaged, at, bit)
            left = lane.clear()
            lane.flips += 1
            changed = lane.changed() if is_changed or self.keeps or lane.flips % LOOK_EVERY == 0 else []
            if is_changed or changed:
                outcome, why = "WRONG", "the folder was changed: " + "; ".join(changed)
            if left and (ended.code != 0 or left != ["written"]):
                outcome, why = "WRONG", f"it left behind {left}"
        finally:
            self.lanes.put(lane)
        return outcome, name, f"case {number}: {name} byte {at} bit {bit}: {outcome}: {why}\n{ended}"

    def judge(self, lane, ended, name, at, look):
        is_exported = name == EXPORTED
        if ended.code == 4:
            return self.judge_refusal(ended, name, at)
        came, wanted = self.came(lane, ended, look), self.wanted[is_exported, look]
        if name == "WITNESS" and look[0] == "verify":  # which says so in a line of its own
            came, wanted = ((code, out.split(b"\n")[0]) for code, out, _ in (came, wanted))
        if came == wanted:
            return "same", ""
        if name == "data.mdb" and at in self.versions and look[0] in ("info", "export") and came[0] == 0:
            return "unchecked", "another version is said to have made it"
        if came[0] != wanted[0]:
            return "WRONG", f"neither exit code 4 nor the {wanted[0]} of the undamaged one"
        return "WRONG", f"exit code {ended.code} and another output: {difference(wanted, came)}"

    def judge_refusal(self, ended, name, at):
        lines = ended.err.decode("utf-8", "replace").splitlines()
        said = lines[-1] if lines else ""
        if name in ("WITNESS", "LOCK", "lock.mdb"):
            return "WRONG", "what the log is without was damaged, and it was refused"
        if FAULT in said:
            return ("fault", "") if name == "data.mdb" else ("WRONG", "a memory fault over what is read with checks")
        if name not in said:
            return "WRONG", "exit code 4 and the damaged file is not named"
        if RECORD.search(said) is None and NO_RECORD.search(said) is None:
            return "WRONG", "exit code 4 and no record is named"
        misfit = MISFIT.search(said)
        if misfit is not None:
            node = bisect.bisect_right(self.nodes, (at, COMMANDS)) - 1
            where = self.nodes[node][1] if node >= 0 else 0
            if int(misfit[1]) != where:
                return "WRONG", f"the flipped bit is in a node of record {where}"
        return "refused", "with its number" if RECORD.search(said) else ""


def difference(wanted, came):
    """The first line that differs, shortened."""
    pairs = zip(*(b"\n".join(side[1:]).split(b"\n") + [b""] for side in (wanted, came)))
    first = next(((a, b) for a, b in pairs if a != b), (b"", b""))
    return f"wanted {first[0][:300]!r}, came {first[1][:300]!r}"


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
        changed = [line for _ in range(folder.JOBS) for line in rig.lanes.get().changed()]
    for (name, outcome), count in sorted(rig.by_file.items()):
        print(f"  {name}: {count} {outcome}")
    c = rig.counts
    if changed:
        print("the folder was changed: " + "; ".join(changed))
    print(f"seed {o.seed}: {c.total()} flips, {c['same']} the same, {c['refused']} refused, {c['fault']} by a memory fault "
          f"over data.mdb, {c['unchecked']} of the version that made it, {c['WRONG']} WRONG")
    return 0 if c["WRONG"] == 0 and c.total() == len(cases) and not changed else 1


if __name__ == "__main__":
    sys.exit(main())
