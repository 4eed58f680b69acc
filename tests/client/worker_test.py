"""What the tests of janitor and mason share: a program beside a boskosd and its proxy, and scripts it runs."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from client_test import *  # noqa: F403


class Worker:
    """One janitor or mason. `log()` is what it said."""

    def __init__(self, test, program, *flags):
        self.path = os.path.join(test.folder, f"log.worker.{len(test.workers)}")
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen([program, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=test.folder)

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it was expected to end:\n{self.log()}") from None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class WorkerTest(ClientTest):
    PROGRAM = None  # the environment variable that names it

    def setUp(self):
        super().setUp()
        self.workers = []
        self.program = os.environ[self.PROGRAM]
        self.addCleanup(lambda: [w.end() for w in self.workers])
        # What goes wrong is easier to see with what the program said.
        self.addCleanup(lambda: os.environ.get("WORKER_LOGS") and [print(w.log()) for w in self.workers])

    def worker(self, *flags, url=None):
        w = Worker(self, self.program, "--boskos-url", url or self.proxy.url, *flags)
        self.workers.append(w)
        return w

    def refused(self, *flags, code=2, text=""):
        """It must end with the code after one line on stderr."""
        p = subprocess.run([self.program, *flags], capture_output=True, text=True, timeout=PATIENCE, cwd=self.folder)
        self.assertEqual(p.returncode, code, p.stderr)
        self.assertEqual(len(p.stderr.splitlines()), 1, p.stderr)
        self.assertIn(text, p.stderr)
        self.assertEqual(p.stdout, "")

    def script(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def note(self, name):
        """A file that scripts wrote, as lines."""
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def states(self):
        return {n: r["state"] for n, r in self.d.resources().items()}

    def in_state(self, *names, state="free"):
        """Are they in the state, and nobody's?"""
        now = self.d.resources()
        return all(now[n]["state"] == state and now[n]["owner"] == "" for n in names)

    def check_released(self, worker, *names):
        """Each was released, and nothing was refused. An acquire that the signal cancelled may add one: the client asks
        whether it was granted, and gives back what it is given then."""
        released = [t.split("name=")[1].split("&")[0] for t in self.proxy.targets("/release")]
        self.assertEqual(set(released), set(names))
        self.assertLessEqual(len(released), len(names) + 1)
        self.assertNotIn("is not released", worker.log())

    def is_alive(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def page(self, port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as r:
                text = r.read().decode()
        except urllib.error.URLError:
            return {}  # not there yet
        return {m[1]: float(m[2]) for m in re.finditer(r"^([^#\s]\S*(?:\{.*\})?) (\S+)$", text, re.M)}
