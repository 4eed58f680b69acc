"""What the tests of clients share: a boskosd with a proxy before it, and the driver of libboskos."""

import json
import os
import queue
import subprocess
import sys
import threading


sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import boskosd  # noqa: E402
import proxy  # noqa: E402
from side_by_side import long_form, main, slow  # noqa: E402, F401

PATIENCE = 60

# The codes of boskos.h.
(ARGUMENT, NONE, NO_TYPE, NO_RESOURCE, OWNER, STATE, KEY, REFUSED, AUTH, CONNECT, TIMEOUT, LOST, REPLY, SERVER, REDIRECT,
 CANCELLED, UNSUPPORTED, SYSTEM, LEASED) = range(-1, -20, -1)


class Answer:
    def __init__(self, line):
        code, status, doubt, self.text = line.split(" ", 3)
        self.code, self.status, self.is_doubted = int(code), int(status), doubt == "doubted"

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"code {self.code}, status {self.status}, doubted {self.is_doubted}: {self.text}"


class Driver:
    """One client of libboskos. Fast by default: what is repeated is repeated after milliseconds."""

    def __init__(self, url, **options):
        usual = {"url": url, "backoff_first": 10, "backoff_most": 40, "poll": 30, "request_timeout": 20000,
                 "settle_timeout": 0}
        self.process = subprocess.Popen([os.environ["DRIVER"]] +
                                        [f"{k}={v}" for k, v in {**usual, **options}.items() if v is not None],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.logs, self.lost, self.answers = [], [], queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.made = self.answer()

    def _read(self):
        for line in self.process.stdout:
            first, rest = line.rstrip("\n").split(" ", 1)
            if first == "log":
                self.logs.append(rest)
            elif first == "lost":
                self.lost.append(rest)
            elif first != "end":
                self.answers.put(first + " " + rest)
        self.answers.put(None)

    def send(self, *words):
        self.process.stdin.write(" ".join(str(w) if w != "" else "-" for w in words) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.answers.get(timeout=PATIENCE)
        assert line is not None, f"the driver ended: {self.process.wait()}"
        return Answer(line)

    def __call__(self, *words):
        self.send(*words)
        return self.answer()

    def end(self):
        """Closes the client as a program would; its exit code."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.thread.join(PATIENCE)
        self.process.stdout.close()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()


class ClientTest(boskosd.DaemonTest):
    """A test with a daemon, a proxy before it, and clients that are ended after it."""

    CONFIG = boskosd.CONFIG

    def setUp(self):
        super().setUp()
        self.d = self.daemon(config=self.CONFIG, flags=["--in_memory", "--log-level", "error"]).start()
        self.proxy = proxy.Proxy(("127.0.0.1", self.d.port))
        self.addCleanup(self.proxy.close)

    def client(self, **options):
        c = Driver(options.pop("url", self.proxy.url), **options)
        self.addCleanup(c.kill)
        return c

    def owned(self, owner=None):
        """The names that have an owner, or that one."""
        return sorted(n for n, r in self.d.resources().items()
                      if (r["owner"] == owner if owner is not None else r["owner"]))

    def check(self, answer, code, *texts):
        self.assertIn(answer.code, code if isinstance(code, tuple) else (code,), answer)
        for t in texts:
            self.assertIn(t, answer.text)
        return answer

    def check_ended(self, client):
        """The driver ends well: under the address sanitizer also without a leak."""
        self.assertEqual(client.end(), 0)


