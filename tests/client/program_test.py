"""What the tests of the programs around the server share: such a program, run once or in the background."""

import os
import subprocess
import time

from client_test import *  # noqa: F403

# What a server can do to a request, for good: nothing that has these as replies is one that works.
FAULTS = ("refuse", "close", "garbage", "html", "empty", "redirect", "500", "503:0", "400", "401", "403", "404",
          "409", "half", "cut")


class Program:
    """A program in the background; what it says on stderr is in `log`."""

    def __init__(self, words, folder, log_path):
        self.log_path = log_path
        with open(log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, number=15):
        """Ends it; the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it was expected to end:\n{self.log()}") from None

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class ProgramTest(ClientTest):
    PROGRAM = ""  # the environment variable that names it
    FLAGS = ()  # always
    BEFORE = ()  # what starts it

    def words(self, *flags, url=None):
        general = [] if url is False else ["--boskos-url", url or self.proxy.url]
        return [*self.BEFORE, os.environ[self.PROGRAM], *general, *self.FLAGS, *flags]

    def once(self, *flags, code=0, **more):
        done = subprocess.run(self.words(*flags, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE * 2)
        self.assertEqual(done.returncode, code, done)
        return done

    def start(self, *flags, **more):
        self.starts = getattr(self, "starts", 0) + 1
        p = Program(self.words(*flags, **more), self.folder,
                    os.path.join(self.folder, f"program-{self.starts}.log"))
        self.addCleanup(p.end)
        return p

    def eventually(self, what, check):
        end = time.monotonic() + PATIENCE
        while not (found := check()):
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)
        return found

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        boskosd.put_file(path, text)
        return path

    def states(self, *names):
        """The states of the named resources, with their owners."""
        found = self.d.resources()
        return [(found[n]["state"], found[n]["owner"]) for n in names]

    def check_usage(self, *pairs):
        """What is wrong with a command line is one line on stderr, and exit code 2."""
        for flags, text in pairs:
            with self.subTest(flags=flags):
                done = self.once(*flags, code=2)
                self.assertIn(text, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def check_help(self, *flags):
        done = self.once("--help")
        self.assertIn("Examples\n", done.stdout)
        for f in flags:
            self.assertIn(f"  {f}", done.stdout)
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 100)
        name = os.path.basename(os.environ[self.PROGRAM])
        self.assertRegex(self.once("--version").stdout, rf"^{name} \d+\.\d+\.\d+\n$")
        manual = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", name + ".1")
        with open(manual, encoding="utf-8") as f:
            text = f.read()
        for f in flags:
            self.assertIn(f"Fl -{f[2:]}", text.replace("\\-", "-"), f"{f} is not in {manual}")
