"""Boskos's published Go packages: the client, Mason's client, the mason and the cleaner, in goclient/."""

import subprocess

from harness import *  # noqa: F403


def run(table, servers, programs):
    """Every trial of goclient at each server there is."""
    config = subprocess.run([programs["goclient"], "config"], stdout=subprocess.PIPE, text=True, check=True).stdout

    def try_at(kind):
        server = servers.start(kind, config)
        done = subprocess.run([programs["goclient"], "run", server.url, kind], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=4 * PATIENCE)
        # The client has a warning of its own for stdout.
        lines = [line for line in done.stdout.splitlines() if line.startswith(("pass\t", "FAIL\t"))]
        for line in lines:
            result, name, note = line.split("\t")
            table.add("Go packages", THEIRS, kind, name, result, note)
            if result != "pass":
                say_failed("Go packages", THEIRS, kind, name, note)
        if done.returncode != 0 or not lines:
            table.add("Go packages", THEIRS, kind, "(to its end)", "FAIL")
            say_failed("Go packages", THEIRS, kind, f"exit code {done.returncode}", done.stderr)

    side_by_side([lambda kind=kind: try_at(kind) for kind in servers.kinds()])
