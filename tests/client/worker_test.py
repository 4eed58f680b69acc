"""What the tests of janitor and mason share: scripts that they run, and what these leave behind."""

import os
import re
import urllib.error
import urllib.request

from program_test import *  # noqa: F403


class WorkerTest(ProgramTest):
    def script(self, name, text):
        """A script in the folder, which is where it runs."""
        path = self.file(name, "#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def note(self, name):
        """A file that scripts wrote, as lines."""
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def in_state(self, *names, state="free"):
        """Are they in the state, and nobody's?"""
        return self.states(*names) == [(state, "")] * len(names)

    def check_released(self, p, *names):
        """Each was released, and nothing was refused. An acquire that the signal cancelled may add one: the client asks
        whether it was granted, and gives back what it is given then."""
        released = [t.split("name=")[1].split("&")[0] for t in self.proxy.targets("/release")]
        self.assertEqual(set(released), set(names))
        self.assertLessEqual(len(released), len(names) + 1)
        self.assertNotIn("is not released", p.log())

    def is_alive(self, pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def check_killed(self, pids):
        """That they were sent SIGKILL is known; when they are gone is the system's."""
        self.eventually("they are gone", lambda: not any(self.is_alive(p) for p in pids.split()))

    def page(self, port):
        """The samples of the page of metrics."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as r:
                text = r.read().decode()
        except urllib.error.URLError:
            return {}  # not there yet
        return {m[1]: float(m[2]) for m in re.finditer(r"^([^#\s]\S*(?:\{.*\})?) (\S+)$", text, re.M)}

    def check_page_port(self, *flags):
        """A port that is taken is an end when it was given, and else a line in the log."""
        done = self.once(*flags, f"--metrics-port={self.d.port}", code=1)
        self.assertRegex(done.stderr, r"^boskos-\w+: cannot listen on port \d+: Address already in use\n$")
