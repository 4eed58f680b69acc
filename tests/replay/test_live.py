"""boskos-replay beside a daemon that works, trims, ends, starts, is killed and is compacted: neither minds the other.

usage: test_live.py [unittest's arguments], with the programs to test in the environment: BOSKOSD, BOSKOS_REPLAY and
MAKE_HISTORY.
"""

import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))

import boskosd  # noqa: E402
import folder  # noqa: E402

REPLAY, MAKE_HISTORY = (os.environ.get(name) for name in ("BOSKOS_REPLAY", "MAKE_HISTORY"))
SECONDS = 8  # that readers read
START_SECONDS = 5  # that a daemon waits for a reader
SLOW_SECONDS = 0.25  # for one request of a hundred, on a machine that does other things too

# What is asked, and whether what is asked for may be gone. VAN is what `client` holds all the time, SEQ its last command.
QUESTIONS = [
    (("show", "--json"), False),
    (("info", "--json"), True),
    (("log", "--json", "--from", "-300ms"), True),
    (("show", "--json", "--at", "-2s"), True),
    (("show", "--json", "--at", "-500ms"), True),
    (("diff", "--json", "-700ms", "-200ms"), True),
    (("usage", "--json", "--from", "-1s"), True),
    (("verify", "--json"), True),
    (("log", "--json", "--reverse", "--from", "-300ms"), True),
    (("who", "VAN", "--json"), True),
    (("who", "car-1", "--json", "--at", "-300ms"), True),
    (("held-by", "client", "--json"), True),
    (("why", "SEQ", "--json"), True),
    (("why", "--request", "visit", "--json"), True),
]


class Readers:
    """Threads that ask one question after the other until told to stop."""

    def __init__(self, data_dir, client, count):
        self.data_dir, self.client, self.faults, self.answers, self.stopping = data_dir, client, [], {}, False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]
        for t in self._threads:
            t.start()

    def _run(self, number):
        at = number * len(QUESTIONS) // 2
        while not self.stopping:
            words, may_be_gone = QUESTIONS[at % len(QUESTIONS)]
            at += 1
            now = {"VAN": self.client.name_held, "SEQ": str(self.client.last_seq)}
            done = folder.Ended([REPLAY, "--data-dir", self.data_dir, *[now.get(word, word) for word in words]])
            fault = self._look_at(done, may_be_gone) or self._look_into(done, words)
            with self._lock:
                if fault:
                    self.faults.append(f"{fault}: {done}")
                counts = self.answers.setdefault(" ".join(words), {})
                counts[done.code] = counts.get(done.code, 0) + 1

    @staticmethod
    def _look_at(done, may_be_gone):
        if done.code == 3 and may_be_gone:
            said = done.err.decode()
            return None if re.search(r"compacted: oldest is \d+ at \d", said) else "what is kept was expected to be said"
        if done.code != 0:
            return "it was expected to answer"
        for line in done.out.decode().splitlines():
            json.loads(line)
        return None

    def _look_into(self, done, words):
        """What is known of an answer: the van is client's, since a command that may be no longer kept."""
        if done.code != 0 or words[0] not in ("who", "held-by", "why"):
            return None
        said = json.loads(done.out)
        if words[:2] == ("who", "VAN") and (said["owner"], said["lease"]["end"]) != ("client", None):
            return "the van was expected to be client's"
        if words[0] == "held-by" and [lease["resource"] for lease in said["leases"]] != [self.client.name_held]:
            return "client was expected to hold the van"
        if words[0] == "why" and (said["status"], said["outcome"]) not in ((200, "done"), (200, "granted")):
            return "client's commands were expected to be granted"
        return None

    def stop(self):
        self.stopping = True
        for t in self._threads:
            t.join()


class Client(threading.Thread):
    """Sends heartbeats and notes how long each took; now and then it also visits the other van."""

    def __init__(self, daemon):
        super().__init__()
        self.name_held = daemon.acquire(type="van", owner="client").json["name"]  # the load takes every car
        self.daemon_port, self.took, self.stopping, self.last_seq = daemon.port, [], False, 0
        with boskosd.Connection(self.daemon_port) as c:
            self.visit(c)
        self.start()

    def visit(self, c):
        reply = c.request("POST", boskosd.target("/acquire", type="van", state="free", dest="busy", owner="guest",
                                                 request_id="visit"))
        assert reply.status == 200, reply
        reply = c.request("POST", boskosd.target("/release", name=reply.json["name"], owner="guest", dest="free"))
        assert reply.status == 200, reply
        self.last_seq = reply.seq

    def run(self):
        with boskosd.Connection(self.daemon_port) as c:
            while not self.stopping:
                began = time.monotonic()
                reply = c.request("POST", boskosd.target("/update", name=self.name_held, owner="client", state="busy"))
                self.took.append(time.monotonic() - began)
                assert reply.status == 200, reply
                self.last_seq = reply.seq
                if len(self.took) % 20 == 0:
                    self.visit(c)

    def stop(self):
        """Seconds that one of a hundred took, or longer."""
        self.stopping = True
        self.join()
        return sorted(self.took)[len(self.took) * 99 // 100]


def slots(daemon):
    """The process ids in LMDB's table of readers, but for the daemon's own, that have a transaction open."""
    with open(os.path.join(daemon.journal, "lock.mdb"), "rb") as f:
        table = f.read()
    found = []
    used, = struct.unpack_from("=I", table, 56)  # what is behind these is from before a start
    for at in range(128, 128 + 64 * used, 64):  # behind two parts of the head, each on lines of its own
        transaction, process = struct.unpack_from("=QI", table, at)
        if process not in (0, daemon.process.pid) and transaction != (1 << 64) - 1:
            found.append(process)
    return found


class LiveTest(boskosd.DaemonTest):

    def trimming_daemon(self):
        """One whose log goes on being trimmed, with snapshots all the time."""
        d = self.daemon(flags=["--retain", "1s", "--snapshot-every", "200"]).start()
        load = boskosd.Load(d, 4)
        self.addCleanup(load.stop)
        self.eventually("the log is trimmed", lambda: d.figure("boskosd_log_first_seq") > 1)
        return d, load

    def check_unharmed(self, d):
        for figure in ("boskosd_readers_check_failures_total", "boskosd_result_mismatches_total",
                       "boskosd_digest_mismatches_total", "boskosd_snapshot_failures_total"):
            self.assertEqual(d.figure(figure), 0, figure)
        self.assertNotIn("ERROR", d.log())

    def start_replay(self, d, *words):
        """A reader that goes on by itself. Nothing of its output is read ahead, so that its pipe can fill."""
        process = subprocess.Popen([REPLAY, "--data-dir", d.data_dir, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, bufsize=0)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process

    def start_in_time(self, d):
        began = time.monotonic()
        d.start()
        self.assertLess(time.monotonic() - began, START_SECONDS + 3, "it was expected to wait for readers up to 5 s")


class Live(LiveTest):

    def test_readers_in_a_loop(self):
        d, load = self.trimming_daemon()
        client = Client(d)
        readers = Readers(d.data_dir, client, 2)
        time.sleep(SECONDS / 2)
        pages = d.used_pages()
        time.sleep(SECONDS / 2)
        readers.stop()
        slow = client.stop()
        grown = d.used_pages()
        load.stop()
        self.assertFalse(readers.faults, "\n".join(readers.faults[:10]))
        print(f"answers by exit code: {readers.answers}; 99 of 100 requests took up to {slow * 1000:.1f} ms; "
              f"pages: {pages}, then {grown}; seq {d.seq()}", flush=True)
        for words, _ in QUESTIONS:
            self.assertIn(" ".join(words), readers.answers, "each was expected to be asked")
        self.assertLess(slow, SLOW_SECONDS)
        self.assertLess(grown, pages * 1.5 + 500, "pages were expected to be used again")
        self.assertEqual(slots(d), [], "no reader was expected to be left")
        self.assertEqual(d.figure("boskosd_readers_cleared_total"), 0)
        self.check_unharmed(d)
        self.assertEqual(d.stop(), 0)

    def test_start_beside_readers(self):
        """Readers of a folder that nobody has hold its lock again and again, never for long."""
        data_dir = os.path.join(self.folder, "data")
        subprocess.run([MAKE_HISTORY, data_dir, "--seed", "5", "--commands", "60000", "--snapshot-every", "0"],
                       check=True, timeout=folder.SECONDS_MAX)
        d = self.daemon(data_dir=data_dir)
        readers = [subprocess.Popen(["sh", "-c", f'for i in 1 2 3 4 5 6; do "{REPLAY}" --data-dir "{data_dir}" verify '
                                     '|| exit; done'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for _ in range(3)]
        for r in readers:
            self.addCleanup(lambda r=r: (r.kill(), r.communicate()))
        for _ in range(4):
            time.sleep(0.1)
            self.start_in_time(d)
            self.assertEqual(d.stop(), 0)
        for r in readers:
            _, said = r.communicate(timeout=folder.SECONDS_MAX)
            self.assertEqual((r.returncode, said), (0, b""))
        self.check_unharmed(d.start())

    def test_reader_that_is_held_up(self):
        """It stands still, its pipe being full, while the daemon ends, is compacted and starts again."""
        d = self.daemon().start()
        name = d.acquire().json["name"]
        boskosd.Load(d, 8, each=400).join()
        for i in range(4):
            last = d.seq()
            process = self.start_replay(d, "log", "--json")
            first = process.stdout.readline()
            self.assertEqual(json.loads(first)["seq"], 1)
            d.update(name, {"n": str(i)})
            self.assertEqual(d.stop() if i % 2 == 0 else d.kill(), 0 if i % 2 == 0 else -9)
            done = subprocess.run([d.program, "--compact", "--data-dir", d.data_dir], capture_output=True, check=False,
                                  timeout=boskosd.PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.start_in_time(d)
            self.assertEqual(d.update(name, {"n": str(i)}).status, 200)
            out, said = process.communicate(timeout=folder.SECONDS_MAX)
            self.assertEqual((process.returncode, said), (0, b""))
            self.assertEqual([json.loads(line)["seq"] for line in out.splitlines()], list(range(2, last + 1)))
        self.check_unharmed(d)

    def test_follow(self):
        """What follows sees every command, through ends, kills, starts and compactions."""
        d = self.daemon().start()
        process = self.start_replay(d, "log", "--json", "--follow")
        seen = []

        def read():
            with open(process.stdout.fileno(), "rb", closefd=False) as lines:
                seen.extend(json.loads(line)["seq"] for line in lines)

        thread = threading.Thread(target=read)
        thread.start()
        for i in range(6):
            load = boskosd.Load(d, 4)
            time.sleep(0.3)
            if i % 2 == 0:
                load.stop()
            self.assertEqual(d.stop() if i % 2 == 0 else d.kill(), 0 if i % 2 == 0 else -9)
            load.join()
            if i % 3 == 1:
                subprocess.run([d.program, "--compact", "--data-dir", d.data_dir], check=True, capture_output=True,
                               timeout=boskosd.PATIENCE)
            self.start_in_time(d)
        self.check_followed(d, process, thread, seen, 1)

    def check_followed(self, d, process, thread, seen, first):
        """The follower, which the thread reads into `seen`, goes on after the last command, has seen all, and is ended."""
        last = d.seq()
        time.sleep(2)
        self.assertIsNone(process.poll(), "it was expected to go on")
        process.terminate()
        thread.join(folder.SECONDS_MAX)
        self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(seen, list(range(first, last + 1)))
        self.check_unharmed(d)

    def test_follow_what_is_trimmed(self):
        """What follows closely sees every command; what is held up for too long is told what is kept."""
        d, load = self.trimming_daemon()

        def follow():
            """A reader that has its first line; what the line is of may be trimmed before it is there."""
            for _ in range(10):
                process = self.start_replay(d, "log", "--json", "--follow", "--from", "-100ms")
                line = process.stdout.readline()
                if line:
                    return process, json.loads(line)["seq"]
                self.assertEqual(process.wait(folder.SECONDS_MAX), 3)
            return self.fail("it was expected to begin")

        close, first = follow()
        seen = [first]

        def read():
            with open(close.stdout.fileno(), "rb", closefd=False) as lines:
                seen.extend(json.loads(line)["seq"] for line in lines)

        thread = threading.Thread(target=read)
        thread.start()
        held_up, begun = follow()
        time.sleep(2)
        beyond = d.seq() + 4096  # more than it can have read ahead
        self.eventually("the log is trimmed behind both", lambda: d.figure("boskosd_log_first_seq") > beyond)
        out, said = held_up.communicate(timeout=folder.SECONDS_MAX)
        self.assertEqual(held_up.returncode, 3, said)
        self.assertRegex(said.decode(), r"\Aboskos-replay: .* is no longer kept; compacted: oldest is \d+ at \S+\n\Z")
        seqs = [json.loads(line)["seq"] for line in out.splitlines()]
        self.assertEqual(seqs, list(range(begun + 1, begun + 1 + len(seqs))))
        load.stop()
        self.check_followed(d, close, thread, seen, first)


class Killed(LiveTest):

    def kill_in_a_read(self, d):
        """kill -9 of a reader that has a transaction open."""
        command = [REPLAY, "--data-dir", d.data_dir, "info"]
        started = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=folder.SECONDS_MAX, check=False)
        self.assertIn(done.returncode, (0, 3))  # 3: what it was at was trimmed meanwhile
        whole_run = time.monotonic() - started  # with a sanitizer, or beside other work, it is much longer
        for _ in range(300):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0, whole_run))
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.002)
            is_reading = process.pid in slots(d)
            process.kill()
            process.wait()
            if is_reading:
                return
        self.fail("a reader was expected to be met while it reads")

    def test_start_after_it(self):
        d, load = self.trimming_daemon()
        self.kill_in_a_read(d)
        self.assertEqual(len(slots(d)), 1)
        load.stop()
        self.assertEqual(d.kill(), -9)
        self.start_in_time(d)
        self.assertEqual(slots(d), [])
        self.check_unharmed(d)

    def test_pages_are_used_again(self):
        """Its slot keeps pages from being used again until the daemon looks, which it does every minute."""
        d, _ = self.trimming_daemon()
        self.kill_in_a_read(d)
        kept = d.used_pages()
        time.sleep(5)
        self.assertGreater(d.used_pages(), kept + 1000, "the slot was expected to matter")
        end = time.monotonic() + 90
        while d.figure("boskosd_readers_cleared_total") == 0:
            self.assertLess(time.monotonic(), end, "the slot was expected to be cleared")
            time.sleep(0.5)
        self.assertEqual(slots(d), [])
        time.sleep(2)
        pages = d.used_pages()
        time.sleep(5)
        self.assertLess(d.used_pages(), pages * 1.1 + 500, "pages were expected to be used again")
        self.check_unharmed(d)


if __name__ == "__main__":
    if not all((REPLAY, MAKE_HISTORY)):
        sys.exit("BOSKOS_REPLAY and MAKE_HISTORY must name the programs")
    boskosd.main()
