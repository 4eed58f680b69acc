"""boskosctl, the original and ours, against boskosd and the original server: what they print and how they end."""

import json
import os
import re
import signal
import subprocess
import time

from harness import *  # noqa: F403


class Said:
    """How a run of boskosctl ended and what it printed."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __eq__(self, other):
        return (self.code, self.out, self.err) == (other.code, other.out, other.err)

    def __repr__(self):
        return f"exit code {self.code}\n    stdout {self.out!r}\n    stderr {self.err!r}"


class Ctl:
    """One boskosctl at one server. What differs from run to run is made equal in what it said: times, addresses."""

    def __init__(self, program, path, server):
        self.program, self.path, self.server = program, path, server

    def words(self, *words, owner="ann", url=None):
        return [self.path, words[0], "--server-url", url or self.server.url, "--owner-name", owner, *words[1:]]

    def said(self, code, out, err):
        def plain(text):
            text = re.sub(r'"lastupdate":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"', '"lastupdate":"TIME"', text)
            return text.replace(self.server.url, "URL")

        return Said(code, plain(out), plain(err))

    def __call__(self, *words, **more):
        done = subprocess.run(self.words(*words, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=4 * PATIENCE)
        return self.said(done.returncode, done.stdout, done.stderr)

    def start(self, *words, **more):
        return subprocess.Popen(self.words(*words, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def end(self, process):
        try:
            out, err = process.communicate(timeout=4 * PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return self.said(process.returncode, out, err)


OPERATIONS = []


def operation(name, ours=None):
    """A function `work(ctl, type)` with a type of its own. It returns a list of what was said, and what to expect of it.

    `ours`: why ours says something else, where it does; then the function returns a third: what ours says.
    """
    def note(work):
        OPERATIONS.append((name, work, ours))
        return work

    return note


def lease(type):
    return "--type", type, "--state", "free", "--target-state", "busy"


def printed(type, name, owner="ann", userdata="{}"):
    return (f'{{"type":"{type}","name":"{name}","state":"busy","owner":"{owner}","lastupdate":"TIME",'
            f'"userdata":{userdata}}}\n')


@operation("acquire")
def acquire(ctl, type):
    said = ctl("acquire", *lease(type))
    expect_equal(counts(ctl.server, type), ({"busy": 1, "free": 1}, {"": 1, "ann": 1}), "the metric")
    return [said], [Said(0, printed(type, f"{type}-1"), "")]


# ---- running them ---------------------------------------------------------------


def type_of(number):
    return f"type-{number}"


def config():
    lines = ["resources:"]
    for number in range(len(OPERATIONS)):
        t = type_of(number)
        lines.append(f"- {{type: {t}, state: free, names: [{t}-1, {t}-2]}}")
    return "\n".join(lines) + "\n"


def attempt(ctl, number):
    _, work, ours = OPERATIONS[number]
    found, *wanted = work(ctl, type_of(number))
    differs = ours is not None and ctl.program == OURS
    expect_equal(found, wanted[1] if differs else wanted[0], "what it said")
    return ours if differs else ""


def run(table, servers, programs):
    """Every operation with both programs at each server there is, each pair with a server of its own."""
    jobs = []
    for kind in servers.kinds():
        for program, path in ((THEIRS, programs["boskosctl"]), (OURS, os.environ["BOSKOSCTL"])):
            ctl = Ctl(program, path, servers.start(kind, config()))
            for number, (name, _, _) in enumerate(OPERATIONS):
                jobs.append(lambda ctl=ctl, number=number, name=name: table.attempt(
                    "boskosctl", ctl.program, ctl.server.kind, name, lambda: attempt(ctl, number)))
    side_by_side(jobs)
