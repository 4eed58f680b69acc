#!/usr/bin/env python3
"""test_demo.py BIN: how demo.py ends before its time: by Ctrl-C, SIGTERM, SIGKILL, and when a program fails it.

No process and, but for SIGKILL, no folder may be left.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_S = 60
BIN = os.path.abspath(sys.argv.pop()) if len(sys.argv) > 1 else ""


def left_in(folder):
    """The processes that have it as their folder: all that the demo starts."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd").partition(" ")[0] == folder:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    found.append(f"{pid}: {f.read()}")
        except OSError:
            pass  # it ended, or is another user's
    return found


class TestDemo(unittest.TestCase):
    def start(self, programs=BIN):
        """The demo in a session of its own, with its output in a file; (process, its folder)."""
        output = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.addCleanup(output.close)
        self.output = output
        process = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "demo.py"), "--bin", programs], stdout=output,
                                   stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process, self.until_said(process, r"in (\S+/boskosd-demo-\w+)\.").group(1)

    def said(self):
        # Not by the object's own place in the file, which the demo writes at.
        return os.pread(self.output.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def until_said(self, process, pattern):
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.said())):
            self.assertIsNone(process.poll(), self.said())
            self.assertLess(time.monotonic(), end, self.said())
            time.sleep(0.02)
        return found

    def check_nothing_left(self, folder):
        end = time.monotonic() + PATIENCE_S
        while (left := left_in(folder)) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(left, [])

    def interrupt(self, how, name):
        process, folder = self.start()
        self.until_said(process, "works in both accounts")
        self.assertGreaterEqual(len(left_in(folder)), 7, "all but the cleaner run, and the job")
        how(process)
        self.assertEqual(process.wait(PATIENCE_S), 130, self.said())
        self.assertRegex(self.said(), rf"\ninterrupted{name}\n\Z")
        self.check_nothing_left(folder)
        self.assertFalse(os.path.exists(folder))

    def test_interrupted_from_the_terminal(self):
        self.interrupt(lambda process: os.killpg(process.pid, signal.SIGINT), "")

    def test_terminated(self):
        self.interrupt(lambda process: process.terminate(), " by SIGTERM")

    def test_killed(self):
        process, folder = self.start()
        self.addCleanup(shutil.rmtree, folder)
        self.until_said(process, "works in both accounts")
        process.kill()
        self.assertEqual(process.wait(PATIENCE_S), -signal.SIGKILL)
        self.check_nothing_left(folder)

    def test_a_program_fails(self):
        with tempfile.TemporaryDirectory(prefix="boskosd-demo-test-") as programs:
            for name in os.listdir(BIN):
                os.symlink(os.path.join(BIN, name), os.path.join(programs, name))
            os.unlink(os.path.join(programs, "boskos-mason"))
            with open(os.path.join(programs, "boskos-mason"), "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\necho 'no stones' >&2\nexit 1\n")
            os.chmod(f.name, 0o755)
            process, folder = self.start(programs)
            self.assertEqual(process.wait(PATIENCE_S), 1)
        self.assertIn("the end of boskos-mason.log\n  no stones\n", self.said())
        self.assertRegex(self.said(), r"\nFAILED in step 3: boskos-mason ended while this waited until the cluster is free\n\Z")
        self.check_nothing_left(folder)
        self.assertFalse(os.path.exists(folder))


if __name__ == "__main__":
    unittest.main()
