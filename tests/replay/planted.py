#!/usr/bin/env python3
"""Plants bugs in the rules, one at a time, and sees that `boskos-replay verify` names the first record that differs.

usage: planted.py BUILD [--only NN[,NN...]] [--commands N] [--seed S]

A random history is made by the state machine of BUILD, the folder of a build, and is what each bug must show in. Each
planted/NN-name.patch is a bug somebody could make in statemachine/; its head says what is wrong and what a user would suffer.
Only the source that it changes is compiled, away from the build folder, with the flags it is compiled with there; and
boskos-replay and replay_rows are linked with the other objects of the build, as they are linked there.

What is right is not said by verify: replay_rows replays a folder too, but compares nothing and prints all that it makes. The
first line that it prints otherwise with the bug is the record, the first column of it is the field, and both columns are the
stored and the computed value that verify, built with the same bug, must name; with exit code 4.

Then no bug, but folders that lie: rows with another field, a row that is missing, a snapshot of a state that was not, all
under good checksums. What is stored and what is made are again those that replay_rows prints.

The last line of the output has the counts. A seed repeats a run.
"""

import argparse
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import folder

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
COMMANDS = 100000
SEED = 6  # of which every bug shows within so many
SNAPSHOTS = 4
ARCHIVE = "statemachine/libstatemachine.a"
FIELDS = ("status", "reason", "resource", "effect", "digest")
EXIT_DAMAGE = 4
SECONDS_MAX = 120


class Failure(Exception):
    """Why something was not found as it must be."""


def checked(ended, what):
    if ended.code != 0:
        raise Failure(f"{what}: {ended}")
    return ended.out.decode()


class Build:
    """A build folder of ninja's: how it compiles and links, to do so elsewhere."""

    def __init__(self, path):
        self.path = path
        with open(path / "compile_commands.json", encoding="utf-8") as f:
            self.compiles = {entry["file"]: entry for entry in json.load(f)}
        self.steps = {target: self.last_step(target) for target in (ARCHIVE, "bin/boskos-replay", "bin/replay_rows")}

    def program(self, name):
        return str(self.path / "bin" / name)

    def last_step(self, target):
        """The command that makes a target of what it is made of: the last of those that ninja would run."""
        ended = folder.Ended(["ninja", "-C", str(self.path), "-t", "commands", target], SECONDS_MAX)
        return checked(ended, target).splitlines()[-1]

    def run(self, command, words, directory):
        """A command of the build, with some of its words replaced; each of them must be in it."""
        missing = set(words) - set(command.split())
        if missing:
            raise Failure(f"the build works in another way than was thought: no {', '.join(missing)} in {command}")
        command = re.sub(r"\S+", lambda word: shlex.quote(words.get(word[0], "")) if word[0] in words else word[0], command)
        checked(folder.Ended(["sh", "-c", f"cd {shlex.quote(directory)} && {command}"], SECONDS_MAX), "it cannot be built")

    def with_changed(self, changed, to):
        """The programs with some sources of the state machine, {in the tree: changed}, in place of the tree's."""
        objects = {}
        for source, copy in changed.items():
            entry = self.compiles[str(TOP / source)]
            words = shlex.split(entry["command"])
            made = words[words.index("-o") + 1]
            objects[made] = str(to / (copy.name + ".o"))
            self.run(entry["command"], {made: objects[made], entry["file"]: str(copy)}, entry["directory"])
        archive = str(to / "libstatemachine.a")
        self.run(self.steps[ARCHIVE].replace(ARCHIVE, archive), objects, str(self.path))
        programs = {}
        for name in ("boskos-replay", "replay_rows"):
            programs[name] = str(to / name)
            # Not optimized as a whole: the libraries have the other form of the code, too, and it links at once.
            step = self.steps[f"bin/{name}"].replace("-flto=auto", "-fno-lto")
            self.run(step, {f"bin/{name}": programs[name], ARCHIVE: archive}, str(self.path))
        return programs["boskos-replay"], programs["replay_rows"]


class Planted:
    """One patch and what its head says."""

    def __init__(self, path):
        self.title = path.stem
        self.number = path.stem.split("-", 1)[0]
        head, self.diff = re.split(r"^(?=--- )", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)
        said = re.findall(r"^(\w+): +\S", head, flags=re.MULTILINE)
        self.files = re.findall(r"^\+\+\+ b/(\S+)", self.diff, flags=re.MULTILINE)
        if said != ["bug", "user"] or not all(re.fullmatch(r"statemachine/\w+\.c", file) for file in self.files):
            sys.exit(f"{path.name}: its head must have `bug:` and `user:`, and it may change statemachine/*.c only")

    def plant(self, to):
        """Copies the sources that it changes, and changes them: {in the tree: changed}."""
        (to / "statemachine").mkdir(parents=True)
        for file in self.files:
            shutil.copyfile(TOP / file, to / file)
        done = subprocess.run(["patch", "-p1", "--batch", "--forward", "--fuzz=1", "--no-backup-if-mismatch",
                               "--reject-file=-"],
                              cwd=to, input=self.diff, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=SECONDS_MAX, check=False)
        if done.returncode != 0:
            raise Failure(f"the patch no longer applies to {', '.join(self.files)}: make it anew\n{done.stdout}")
        return {file: to / file for file in self.files}


class Difference:
    """The first record of which two lists of rows differ, and in what."""

    def __init__(self, stored, made):
        if len(stored) != len(made):
            raise Failure(f"{len(stored)} rows are stored and {len(made)} are made")
        at = next((i for i, pair in enumerate(zip(stored, made)) if pair[0] != pair[1]), None)
        if at is None:
            raise Failure("it does not show: no row differs; more commands, or another seed?")
        stored_words, made_words = stored[at].split("\t"), made[at].split("\t")
        self.seq = int(made_words[0])
        if len(stored_words) != len(made_words):
            self.field, self.stored, self.made = "form", stored_words[1], made_words[1]
            return
        for self.field, self.stored, self.made in zip(FIELDS, stored_words[2:], made_words[2:]):
            if self.stored != self.made:
                return
        raise Failure(f"rows {stored[at]!r} and {made[at]!r} differ in nothing that is known")

    def __str__(self):
        return f"command {self.seq}, {self.field} stored {self.stored!r}, computed {self.made!r}"


class Rig:
    def __init__(self, o, top):
        self.build, self.top, self.commands = Build(o.build), top, o.commands
        self.data = top / "data"
        self.data.mkdir()
        self.every = o.commands // (SNAPSHOTS + 1)
        checked(folder.Ended([self.build.program("replay_make_history"), str(self.data), "--seed", str(o.seed),
                              "--commands", str(o.commands), "--snapshot-every", str(self.every)]), "no history")
        self.data_is = folder.look(self.data)
        self.program, self.rows_program = self.build.program("boskos-replay"), self.build.program("replay_rows")
        self.rows = self.rows_of(self.rows_program, self.data)

    def rows_of(self, program, data, *options):
        rows = checked(folder.Ended([program, *options, str(data)]), "replay_rows").split("\n")[:-1]
        numbers = [int(row.split("\t", 1)[0]) for row in rows]
        if numbers != list(range(1, self.commands + 1)):
            raise Failure(f"replay_rows printed {len(rows)} rows, not those of commands 1 to {self.commands}")
        return rows

    def verify(self, program, data, *options):
        return folder.Ended([program, "--data-dir", str(data), "verify", *options])

    def must_be_whole(self):
        """Without a bug all is as stored, also by the rows' own word."""
        if self.rows_of(self.rows_program, self.data, "--stored") != self.rows:
            raise Failure("the history's rows are not those that replaying gives")
        ended = self.verify(self.program, self.data, "--json")
        said = json.loads(checked(ended, "the history without a bug"))
        wanted = {"from": 1, "to": self.commands, "results": self.commands,
                  "snapshots": self.commands // self.every, "witness": "good"}
        if said != wanted:
            raise Failure(f"the history without a bug: {wanted} was wanted, and verify says {said}")

    def must_name(self, d, program, data, *options):
        """verify must say this difference, in both its forms, and how it ended."""
        ended = self.verify(program, data, "--json", *options)
        if ended.code != EXIT_DAMAGE:
            raise Failure(f"{d} was to be found: {ended}{ended.out.decode()}")
        said = json.loads(ended.out)
        got = (said["seq"], said["field"], said["stored"], said["computed"])
        if got != (d.seq, d.field, d.stored, d.made) or f"record {d.seq} ".encode() not in ended.err or \
                said["file"] != str(data / "journal" / "data.mdb") or f"{said['error']}\n" not in ended.err.decode():
            raise Failure(f"{d} was to be found, and verify says {said}, {ended.err.decode()}")
        ended = self.verify(program, data, *options)
        lines = ended.out.decode().splitlines()
        wanted = (rf"command {d.seq}, .*", rf'{d.field} stored    "?{re.escape(d.stored)}"?',
                  rf'{d.field} computed  "?{re.escape(d.made)}"?')
        is_same = len(lines) == len(wanted) and all(re.fullmatch(w, line) for w, line in zip(wanted, lines))
        if ended.code != EXIT_DAMAGE or not is_same or f"record {d.seq} ".encode() not in ended.err:
            raise Failure(f"{d} was to be found, and verify says {ended}{ended.out.decode()}")

    def find(self, planted):
        """verify with the bug must name what rows with the bug show."""
        to = self.top / planted.title
        try:
            program, rows_program = self.build.with_changed(planted.plant(to), to)
            d = Difference(self.rows, self.rows_of(rows_program, self.data))
            self.must_name(d, program, self.data)
        finally:
            shutil.rmtree(to, ignore_errors=True)
        return str(d)

    def forged(self, what, seq):
        data = self.top / f"forged-{what}"
        shutil.copytree(self.data, data)
        checked(folder.Ended([self.build.program("replay_forge"), str(data), what, str(seq)]), "it cannot be forged")
        return data

    def forged_row(self, what):
        seq = self.forged_seq(what)
        data = self.forged(what, seq)
        d = Difference(self.rows_of(self.rows_program, data, "--stored"), self.rows_of(self.rows_program, data))
        if (d.seq, d.field) != (seq, what):
            raise Failure(f"{what} of row {seq} was forged, and what differs is {d}")
        self.must_name(d, self.program, data)
        self.must_name(d, self.program, data, "--from", str(seq))
        return str(d)

    def forged_seq(self, what):
        """A row in the middle; for `resource` one that has it."""
        seqs = [int(row.split("\t")[0]) for row in self.rows if what != "resource" or row.split("\t")[4] != ""]
        return seqs[len(seqs) // 2]

    def must_say(self, data, seq, file, *words):
        """verify must end as for damage, with these words on stderr, and say it as JSON where that is asked for."""
        for form in ((), ("--json",)):
            ended = self.verify(self.program, data, *form)
            if ended.code != EXIT_DAMAGE or not all(w.encode() in ended.err for w in words):
                raise Failure(f"{words} were wanted: {ended}{ended.out.decode()}")
            if form == () and ended.out != b"":
                raise Failure(f"nothing was wanted on stdout: {ended.out.decode()}")
        said = json.loads(ended.out)
        if said["seq"] != seq or said["file"] != str(data / "journal" / file) or f"{said['error']}\n" not in ended.err.decode():
            raise Failure(f"{seq} and {file} were wanted: {ended}{ended.out.decode()}")
        return ended.err.decode().strip()

    def missing_row(self):
        seq = self.commands // 2
        data = self.forged("no-row", seq)
        ended = folder.Ended([self.rows_program, "--stored", data])
        if ended.code != 1 or f"the result of record {seq} is missing" not in ended.err.decode():
            raise Failure(f"the row of {seq} is still there: {ended}")
        return self.must_say(data, seq, "data.mdb", f"the result of record {seq} is missing")

    def forged_snapshot(self):
        """From before it, it is the snapshot that differs; from it on, the row after it."""
        seq = self.every * 2
        data = self.forged("snapshot", seq)
        said = self.must_say(data, seq, f"snapshot-{seq:020}", f"snapshot-{seq:020}: replaying up to there gives another state")
        ended = self.verify(self.program, data, "--json", "--from", str(seq + 1))
        if ended.code != EXIT_DAMAGE or json.loads(ended.out)["seq"] != seq + 1:
            raise Failure(f"after the forged snapshot: {ended}{ended.out.decode()}")
        return said


def tried(title, began, work):
    """Does a piece of work and prints what came of it; whether it went well."""
    try:
        what, is_good = work(), True
    except Failure as failure:
        what, is_good = f"FAILED: {failure}", False
    print(f"{title:<34} {time.monotonic() - began:5.1f} s  {what}", flush=True)
    return is_good


def chosen(numbers):
    every = [Planted(path) for path in sorted((HERE / "planted").glob("*.patch"))]
    wanted = [number.zfill(2) for number in numbers.split(",")] if numbers else [p.number for p in every]
    unknown = set(wanted) - {p.number for p in every}
    if unknown:
        sys.exit(f"there is no {', '.join(sorted(unknown))}")
    return [p for p in every if p.number in wanted]


def run(o, top):
    began = time.monotonic()
    bugs = chosen(o.only)
    tree = [folder.look(TOP / name) for name in ("statemachine", "tests/golden")]
    rig = Rig(o, top)
    rig.must_be_whole()
    found = sum(folder.each(lambda bug: tried(bug.title, time.monotonic(), lambda: rig.find(bug)), bugs))
    checks = [(f"a forged {what}", lambda what=what: rig.forged_row(what)) for what in (*FIELDS, "form")]
    checks += [("a missing row", rig.missing_row), ("a forged snapshot", rig.forged_snapshot)]
    named = sum(tried(title, time.monotonic(), work) for title, work in checks)
    rig.must_be_whole()
    if folder.look(rig.data) != rig.data_is:
        raise Failure("looking has changed the folder")
    if tree != [folder.look(TOP / name) for name in ("statemachine", "tests/golden")]:
        raise Failure("a bug has come into the tree")
    print(f"planted: of {len(bugs)} bugs verify names the first record that differs of {found}; "
          f"of {len(checks)} folders that lie it names {named}; {o.commands} commands, seed {o.seed}, "
          f"{time.monotonic() - began:.0f} s")
    return 0 if found == len(bugs) > 0 and named == len(checks) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build", metavar="BUILD", type=pathlib.Path)
    parser.add_argument("--only", metavar="NN[,NN...]", help="these bugs")
    parser.add_argument("--commands", type=int, default=COMMANDS)
    parser.add_argument("--seed", type=int, default=SEED)
    o = parser.parse_args()
    o.build = o.build.resolve()
    with folder.temporary() as top:
        try:
            sys.exit(run(o, pathlib.Path(top)))
        except Failure as failure:
            sys.exit(f"planted: {failure}")


if __name__ == "__main__":
    main()
