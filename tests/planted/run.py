#!/usr/bin/env python3
"""Plants bugs, one at a time, and sees that the test that claims to find such a bug does.

Each NN-name.patch beside this file is a bug somebody could make. Its head says:

    bug:    what is wrong
    user:   what a user would suffer
    target: what ninja must build
    run:    the test that must find it, as it is run otherwise, seeds fixed
    says:   the test's own words when it does (a regular expression, searched for in its output)

All of it happens in one copy of the sources with one build folder, build/planted/, in which only what a patch touches is
compiled again. Every test is run once without any bug and must pass. Then, for each patch: it must apply, compile, and
make its test end with a failure of its own: an exit code, not a signal, not a time-out, and the words. So a patch that no
longer fits the sources, and a test that no longer sees, are both failures here.

This program is the build option: a bug is never nearer to a real build than the copy below build/planted/.
`--keep NN` leaves one in the copy, to look at it: build/planted/objects/bin/ then has the program with the bug.

usage: run.py [--only NN[,NN...]] [--keep NN] [--build DIR]
"""

import argparse
import fcntl
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
NOT_COPIED = {"build", "var", ".git", "__pycache__"}
FIELDS = ("bug", "user", "target", "run", "says")
RUN_SECONDS_MAX = 600  # for a test; what finds a bug does so much earlier
BUILD_SECONDS_MAX = 1800


class Failure(Exception):
    """Why a bug was not found as it must be."""


class Planted:
    """One patch and what its head says."""

    def __init__(self, path):
        self.path = path
        self.number, self.name = path.stem.split("-", 1)
        head, self.diff = re.split(r"^(?=--- )", path.read_text(), maxsplit=1, flags=re.MULTILINE)
        said = re.findall(r"^(\w+):\s+(.*(?:\n\s+\S.*)*)", head, flags=re.MULTILINE)
        fields = {name: " ".join(text.split()) for name, text in said}
        if sorted(fields) != sorted(FIELDS):
            raise SystemExit(f"{path.name}: its head must have exactly these lines: {', '.join(FIELDS)}")
        self.target, self.run, self.says = fields["target"], fields["run"], fields["says"]
        self.files = re.findall(r"^\+\+\+ b/(\S+)", self.diff, flags=re.MULTILINE)

    @property
    def title(self):
        return f"{self.number}-{self.name}"


class Copy:
    """The copy of the sources, and what is built of it."""

    def __init__(self, folder):
        self.sources, self.objects = folder / "sources", folder / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = open(folder / "lock", "w", encoding="ascii")  # pylint: disable=consider-using-with
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # two runs would plant into each other's sources
        self.bring_up_to_date()

    def bring_up_to_date(self):
        """Makes the copy equal to the sources; what is equal keeps its time, so that it is not compiled again."""
        wanted = set()
        for folder, folders, files in os.walk(TOP):
            folders[:] = [name for name in folders if name not in NOT_COPIED]
            wanted.update((pathlib.Path(folder) / name).relative_to(TOP) for name in files)
        for old in [path for path in self.sources.rglob("*") if path.is_file()]:
            if old.relative_to(self.sources) not in wanted:
                old.unlink()
        for name in wanted:
            self.restore(name)

    def restore(self, name):
        """Puts a file back as it is in the sources, with a time of its own: ninja goes by it."""
        source, copy = TOP / name, self.sources / name
        if copy.is_file() and copy.read_bytes() == source.read_bytes():
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        shutil.copyfile(source, copy)
        shutil.copymode(source, copy)

    def build(self, target):
        """Compiles a target; a text with the compiler's words when it does not."""
        steps = [["ninja", "-C", str(self.objects), "-j", str(os.cpu_count() or 2), *target.split()]]
        if not (self.objects / "build.ninja").is_file():
            steps.insert(0, ["cmake", "-S", str(self.sources), "-B", str(self.objects), "--preset", "release",
                             "-DBUILD_TESTING=ON"])
        for step in steps:
            done = subprocess.run(step, cwd=self.sources, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", timeout=BUILD_SECONDS_MAX, check=False)
            if done.returncode != 0:
                return done.stdout
        return None

    def run(self, command):
        """Runs a test. Returns its exit code, None after a time-out, and what it said."""
        # What a test that fails leaves to be looked at goes with this folder.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="boskosd-planted-", dir=memory) as folder:
            return self.run_in(folder, command)

    def run_in(self, folder, command):
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", TMPDIR=folder, BOSKOS_TESTS=str(self.sources / "tests"),
                           BOSKOS_BIN=str(self.objects / "bin"), BOSKOSD=str(self.objects / "bin" / "boskosd"),
                           PATH=f"{self.objects / 'bin'}:{os.environ['PATH']}")
        with subprocess.Popen(["sh", "-c", "exec env " + command], cwd=self.sources, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              start_new_session=True) as process:
            try:
                output, _ = process.communicate(timeout=RUN_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                return None, output
        return process.returncode, output


def plant(copy, planted):
    """Applies a patch to the copy."""
    done = subprocess.run(["patch", "-p1", "--batch", "--forward", "--fuzz=1", "--no-backup-if-mismatch",
                           "--reject-file=-"],
                          cwd=copy.sources, input=planted.diff, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"the patch no longer applies to {', '.join(planted.files)}: make it anew\n{done.stdout}")


def uproot(copy, planted):
    for name in planted.files:
        copy.restore(name)


def tail(text):
    return "\n".join("    " + line for line in text.splitlines()[-25:])


def run_without(copy, planted):
    """Without a bug the test must pass."""
    error = copy.build(planted.target)
    if error is not None:
        raise Failure(f"it does not compile even without the bug\n{tail(error)}")
    code, output = copy.run(planted.run)
    if code != 0:
        raise Failure(f"the test fails without the bug ({'time-out' if code is None else f'exit code {code}'})\n"
                      f"{tail(output)}")


def find(copy, planted):
    """With the bug the test must fail, in its own words."""
    try:
        plant(copy, planted)
        error = copy.build(planted.target)
        if error is not None:
            raise Failure(f"it does not compile with the bug: make the patch anew\n{tail(error)}")
        code, output = copy.run(planted.run)
    finally:
        uproot(copy, planted)
    if code is None:
        raise Failure(f"the test did not end within {RUN_SECONDS_MAX} s: that says nothing\n{tail(output)}")
    if code == 0:
        raise Failure(f"NOT FOUND: the test passes with the bug\n{tail(output)}")
    if code < 0:
        raise Failure(f"the test died of {signal.Signals(-code).name}: that says nothing\n{tail(output)}")
    said = re.search(planted.says, output, flags=re.MULTILINE)
    if said is None:
        raise Failure(f"the test fails (exit code {code}), but not in the words /{planted.says}/\n{tail(output)}")
    line = output[output.rfind("\n", 0, said.start()) + 1:]
    return line.split("\n", 1)[0].strip()


def chosen(numbers):
    every = [Planted(path) for path in sorted(HERE.glob("*.patch"))]
    wanted = [number.zfill(2) for number in numbers.split(",")] if numbers else [p.number for p in every]
    unknown = set(wanted) - {p.number for p in every}
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}")
    return [p for p in every if p.number in wanted]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", metavar="NN[,NN...]", help="these bugs")
    parser.add_argument("--keep", metavar="NN", help="plant this bug into the copy, build everything, and leave it there")
    parser.add_argument("--build", metavar="DIR", default=TOP / "build" / "planted", type=pathlib.Path,
                        help="where the copy is (build/planted)")
    options = parser.parse_args()
    bugs = chosen(options.keep or options.only)
    copy = Copy(options.build.resolve())
    if options.keep:
        plant(copy, bugs[0])
        sys.exit(copy.build("all") and "it does not compile")

    began, passed, faults = time.monotonic(), {}, 0
    for bug in bugs:
        started = time.monotonic()
        try:
            if bug.run not in passed:
                passed[bug.run] = False
                run_without(copy, bug)
                passed[bug.run] = True
            elif not passed[bug.run]:
                raise Failure("its test fails without the bug, see above")
            what = f"found: {find(copy, bug)}"
        except Failure as failure:
            faults += 1
            what = f"FAILED: {failure}"
        program = next(word for word in shlex.split(bug.run) if "=" not in word and word != "python3")
        print(f"{bug.title:<34} {pathlib.Path(program).name:<22} {time.monotonic() - started:5.1f} s  {what}",
              flush=True)
    print(f"planted: {len(bugs)} bugs, {len(bugs) - faults} found, {faults} not; "
          f"{sum(passed.values())} of {len(passed)} tests pass without them; {time.monotonic() - began:.0f} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
