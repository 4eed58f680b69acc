#!/usr/bin/env python3
"""Bisects folders with commands that are known to turn bad at one place, cannot tell, do not read, or end badly.

usage: check_bisect.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER [--seed S] [--commands N]

What is found must be the line of `log --json`; what a command got on its stdin must be `show --json` of its point; the
invariants are held against a look of its own at the states. A seed repeats a run. Exit code 1 after the first difference.
"""

import json
import os
import pty
import random
import re
import subprocess
import sys

import folder
from past import Asked, Wrong, arguments, instant, make_folder, make_history

RESOURCES = 20000  # of the large folder: its states are larger than any pipe
LARGE_COMMANDS = 40


class Past(Asked):
    def __init__(self, program, top):
        super().__init__(program, top)
        self.states = {}

    def state(self, seq):
        if seq not in self.states:
            self.states[seq] = super().state(seq)
        return self.states[seq]

    def bisect(self, good, bad, *words):
        return self.run("bisect", "--good", str(good), "--bad", str(bad), "--json", *words)

    def must_find(self, seq, good, bad, *words):
        """What stderr has: what the command says, and nothing more."""
        ended = self.bisect(good, bad, *words)
        if ended.code != 0:
            raise Wrong(str(ended))
        found = json.loads(ended.out)
        found.pop("why", None)
        if [found] != self.ask("log", "--from", str(seq), "--to", str(seq)):
            raise Wrong(f"{words}: it found {found}, not {seq}")
        return ended.err.decode("utf-8")

    def must_fail(self, code, says, good, bad, *words):
        ended = self.bisect(good, bad, *words)
        if ended.code != code or ended.out != b"" or says not in ended.err.decode("utf-8"):
            raise Wrong(f"{says!r} was to be said: {ended}")


def check_turns(past, numbers, commands):
    """A command that is bad from one place on; it is found in as many steps as halving takes."""
    for _ in range(12):
        good = numbers.randint(0, commands - 1)
        bad = numbers.randint(good + 1, commands)
        first = numbers.randint(good + 1, bad)
        said = past.must_find(first, good, bad, "--run", f"echo $BOSKOS_SEQ; [ $BOSKOS_SEQ -lt {first} ]")
        ends, tests = said.splitlines()[:2], said.splitlines()[2:]
        if ends != [str(bad), str(good)] or len(tests) > (bad - good - 1).bit_length():
            raise Wrong(f"tests of {ends}, and {tests} between {good} and {bad}")
    past.must_find(commands, 0, commands, "--run", f"test $BOSKOS_SEQ -lt {commands} || exit 124")
    past.must_find(1, 0, commands, "--run", "exit $((BOSKOS_SEQ > 0))")


def check_terminal(past, commands):
    """How far it is, is said on a terminal."""
    ours, its = pty.openpty()
    said = b""
    with subprocess.Popen([past.program, "--data-dir", past.top, "bisect", "--good", "0", "--bad", str(commands), "--run",
                           "[ $BOSKOS_SEQ = 0 ]"], stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        try:
            while (more := os.read(ours, 4096)) != b"":
                said += more
        except OSError:  # how Linux says that it has ended
            pass
        process.wait(timeout=folder.SECONDS_MAX)
    os.close(ours)
    lines = re.findall(rb"^testing (\d+), (--bad|--good|\d+ steps?) ?(?:left)?\r$", said, re.M)
    if lines[:2] != [(str(commands).encode(), b"--bad"), (b"0", b"--good")] or lines[-1][0] != b"1":
        raise Wrong(f"on a terminal it said {said}")


def check_unknown(past, numbers, commands):
    """A command that cannot tell of some, alone and in rows."""
    ranges = exact = 0
    for i in range(24):
        good = numbers.randint(0, commands - 60)
        bad = good + numbers.randint(2, 60)
        first = numbers.randint(good + 1, bad)
        if i % 2 == 0:
            unknown = set(numbers.sample(range(good + 1, bad), numbers.randint(0, bad - good - 1)))
        else:
            start = numbers.randint(good + 1, bad - 1)
            unknown = set(range(start, numbers.randint(start, bad - 1) + 1))
        last_good = max(s for s in range(good, first) if s not in unknown)
        first_bad = min(s for s in range(first, bad + 1) if s not in unknown)
        words = ("--run", f"case $BOSKOS_SEQ in {'|'.join(map(str, unknown)) or 'none'}) exit 125;; esac; "
                          f"[ $BOSKOS_SEQ -lt {first} ]")
        if first_bad - last_good == 1:
            past.must_find(first, good, bad, *words)
            exact += 1
        else:
            past.must_fail(1, f"one of {last_good + 1} to {first_bad}:", good, bad, *words)
            ranges += 1
    if ranges == 0 or exact == 0:
        raise Wrong(f"{ranges} ranges, {exact} exact: the cases do not show both")


def check_ends(past, commands):
    """What is no answer, and ends that are not as they are said to be."""
    nothing = "nothing is concluded"
    past.must_fail(1, "exit code 126; " + nothing, 0, commands, "--run", "exit 126")
    past.must_fail(1, "exit code 127; " + nothing, 0, commands, "--run", "/there/is/none")
    past.must_fail(1, "exit code 255; " + nothing, 0, commands, "--run", "exit 255")
    past.must_fail(1, "signal 9; " + nothing, 0, commands, "--run", "kill -9 $$")
    past.must_fail(1, f"the state after {commands} is good, --bad says", 0, commands, "--run", "true")
    past.must_fail(1, "the state after 0 is bad, --good says", 0, commands, "--run", "false")
    past.must_fail(1, f"the state after {commands} is not to be told, --bad says", 0, commands, "--run", "exit 125")
    past.must_fail(1, "the state after 0 is not to be told, --good says", 0, commands,
                   "--run", "exit $((BOSKOS_SEQ > 0 ? 1 : 125))")
    past.must_fail(2, "is not before", commands, commands, "--run", "true")
    past.must_fail(2, "is not before", 2, 1, "--run", "true")
    past.must_fail(1, "there is no command", 0, commands + 1, "--run", "true")
    for name in ("stuck", "stuck:", "stuck:0", "stuck:-1m", "stuck:soon", "min-counts", ""):
        past.must_fail(2, "is none of no-double-lease min-count stuck:DURATION", 0, commands, "--invariant", name)


def check_stdin(past, tmp, commands):
    """What the command gets is the state; its stdout goes where stderr does."""
    kept = os.path.join(tmp, "kept")
    os.mkdir(kept)
    first = commands // 3
    past.must_find(first, 0, commands, "--run", f"cat >{kept}/$BOSKOS_SEQ; echo heard >&1; [ $BOSKOS_SEQ -lt {first} ]")
    names = os.listdir(kept)
    for name in names:
        with open(os.path.join(kept, name), "rb") as f:
            if f.read() != past.run("--json", "show", "--at", name).out:
                raise Wrong(f"the command got another state than that after {name}")
    if len(names) < 3:
        raise Wrong("the command was hardly run")
    ended = past.bisect(0, commands, "--run", "echo said; [ $BOSKOS_SEQ = 0 ]")
    if b"said" in ended.out or ended.err.count(b"said\n") < 2 or ended.code != 0:
        raise Wrong(f"its stdout went elsewhere: {ended}")


def make_large(program, tmp):
    script, top = os.path.join(tmp, "large.txt"), os.path.join(tmp, "large")
    with open(script, "w", encoding="utf-8") as f:
        names = ", ".join(f"n{i}" for i in range(RESOURCES))
        f.write(f"0s started 0s\n0s config <<END\nresources:\n- {{type: t, state: free, names: [{names}]}}\nEND\n"
                f"1s repeat {LARGE_COMMANDS - 2} acquire t free busy owner-#\n")
    make_folder(program, script, top)
    return top


def check_not_read(past):
    """Commands that never read, or stop in the middle, of a state larger than a pipe: SIGPIPE ends neither."""
    last = LARGE_COMMANDS
    past.must_find(17, 2, last, "--run", "[ $BOSKOS_SEQ -lt 17 ]")
    past.must_find(17, 2, last, "--run", "exec <&-; [ $BOSKOS_SEQ -lt 17 ]")
    past.must_find(17, 2, last, "--run", "head -c 100 >/dev/null; [ $BOSKOS_SEQ -lt 17 ]")
    # In the command itself it is as it always is: `yes` ends by it, not by an error it tells of.
    ended = past.bisect(2, last, "--run", "{ yes; echo $? >&2; } | head -c 1 >/dev/null; [ $BOSKOS_SEQ -lt 17 ]")
    if ended.code != 0 or b"\n141\n" not in ended.err or b"roken pipe" in ended.err:
        raise Wrong(f"SIGPIPE was not given back: {ended}")
    seen = subprocess.run([past.program, "--data-dir", past.top, "bisect", "--good", "2", "--bad", str(last), "--run",
                           "python3 -c 'import json,sys; s=json.load(sys.stdin); "
                           "sys.exit(sum(r[\"owner\"] != \"\" for r in s[\"resources\"]) > 20)'"],
                          capture_output=True, check=False, timeout=folder.SECONDS_MAX)
    if not seen.stdout.startswith(b"the first bad command is 23\n"):
        raise Wrong(f"of a large state: {seen}")


def is_stuck(state, age_ns):
    return any(r["owner"] != "" and instant(state["time"]) - instant(r["lastupdate"]) > age_ns
               for r in state["resources"])


def has_owned_tombstone(state):
    kinds = {c["type"] for c in state["dynamic"]}
    return any(r["owner"] != "" and r["state"] == "tombstone" and r["type"] in kinds for r in state["resources"])


def check_invariants(past, numbers, commands):
    """Where a stretch begins good and ends bad, what is found is a step from good to bad. How many were found."""
    found = 0
    points = [(numbers.randint(0, commands - 1), numbers.randint(1, 300)) for _ in range(40)]
    for name, is_bad in (("no-double-lease", has_owned_tombstone), ("stuck:5m", lambda s: is_stuck(s, 300 * 10**9)),
                         ("stuck:1h30m", lambda s: is_stuck(s, 5400 * 10**9))):
        for good, length in points:
            bad = min(good + length, commands)
            if is_bad(past.state(good)):
                past.must_fail(1, "", good, bad, "--invariant", name)
            elif not is_bad(past.state(bad)):
                past.must_fail(1, "--bad says it is bad", good, bad, "--invariant", name)
            else:
                ended = past.bisect(good, bad, "--invariant", name)
                seq = json.loads(ended.out)["seq"] if ended.code == 0 else 0
                if not good < seq <= bad or is_bad(past.state(seq - 1)) or not is_bad(past.state(seq)):
                    raise Wrong(f"{name} from {good} to {bad}: {seq} is no first bad one: {ended}")
                past.must_find(seq, good, bad, "--invariant", name)
                found += 1
    # The rules see to the third at every command.
    past.must_fail(1, "--bad says it is bad", 0, commands, "--invariant", "min-count")
    return found


def main():
    o = arguments(__doc__, "program", "make_history", "make_folder", commands=3000)
    numbers = random.Random(o.seed)
    with folder.temporary() as tmp:
        top = os.path.join(tmp, "history")
        make_history(o, top, o.commands // 5)
        past = Past(o.program, top)
        before = folder.look(top)
        try:
            check_turns(past, numbers, o.commands)
            check_terminal(past, o.commands)
            check_unknown(past, numbers, o.commands)
            check_ends(past, o.commands)
            check_stdin(past, tmp, o.commands)
            found = check_invariants(past, numbers, o.commands)
            check_not_read(Past(o.program, make_large(o.make_folder, tmp)))
        except Wrong as e:
            print(e)
            print(f"seed {o.seed}: wrong")
            return 1
        changed = folder.changes(before, folder.look(top))
        for line in changed:
            print(f"the folder was changed: {line}")
    print(f"seed {o.seed}: {o.commands} commands, all as it should be, {found} breaks of invariants found")
    return 0 if not changed and found > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
