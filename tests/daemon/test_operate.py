"""What an operator's tools see: the service manager's socket, readiness while the disk hangs, a backup restored."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import boskosd

HANGING_DISK = os.environ.get("HANGING_DISK_SO", "")


class Manager:
    """The socket of a service manager. `messages` are the datagrams that came, in order."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.messages = []

    def take(self):
        """What has come until now."""
        while True:
            try:
                self.messages.append(self.socket.recv(65536, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return self.messages

    def count(self, line):
        return sum(line in m.split("\n") for m in self.take())

    def has(self, pattern):
        return any(re.search(pattern, m, re.M) for m in self.take())

    def close(self):
        self.socket.close()


class OperateTest(boskosd.DaemonTest):

    def manager(self, name=None):
        m = Manager(name or os.path.join(self.folder, "notify"))
        self.addCleanup(m.close)
        return m

    def hanging(self, *more):
        """What is put before the command line so that the disk hangs while `self.hang` exists."""
        self.hang = os.path.join(self.folder, "hang")
        # Another library is loaded before the address sanitizer's own: it is told to bear that.
        return ["env", f"LD_PRELOAD={HANGING_DISK}", f"HANGING_DISK={self.hang}",
                "ASAN_OPTIONS=verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""), *more]

    def in_background(self, call):
        """Runs a call that may hang; a list that gets its reply."""
        replies = []
        thread = threading.Thread(target=lambda: replies.append(call()))
        thread.start()
        self.addCleanup(thread.join)
        return replies


class Notify(OperateTest):

    def check_life(self, address):
        m = self.manager(address)
        d = self.daemon(before=["env", f"NOTIFY_SOCKET={address}"]).launch()
        self.eventually("READY comes", lambda: m.count("READY=1"))
        self.assertEqual(d.acquire().status, 200, "after READY the API was expected to be served")
        self.assertFalse(m.has("WATCHDOG"), "nobody asked for a watchdog")

        d.signal(signal.SIGHUP)
        self.eventually("a reload ends", lambda: m.count("READY=1") == 2)
        reload = next(t for t in m.messages if "RELOADING=1" in t.split("\n"))
        at = int(re.search(r"^MONOTONIC_USEC=(\d+)$", reload, re.M).group(1))
        self.assertLess(abs(time.monotonic() - at / 1e6), boskosd.PATIENCE, "the time of the reload is of this clock")
        self.assertLess(m.messages.index(reload), len(m.messages) - 1, "READY was expected after RELOADING")

        self.assertEqual(d.stop(), 0)
        self.assertEqual(m.count("STOPPING=1"), 1)
        self.assertIn("STOPPING=1", m.messages[-1].split("\n"))

    def test_path(self):
        self.check_life(os.path.join(self.folder, "notify"))

    def test_abstract(self):
        self.check_life(f"@boskosd-test-{os.getpid()}-{os.path.basename(self.folder)}")

    def test_bad_config_is_told(self):
        m = self.manager()
        d = self.daemon(before=["env", f"NOTIFY_SOCKET={self.folder}/notify"]).start()
        boskosd.put_file(d.config_path, "resources: []\n")
        self.eventually("the bad config is seen", lambda: d.figure("boskosd_config_bad") == 1)
        d.signal(signal.SIGHUP)
        self.eventually("the manager is told", lambda: m.has(r"^STATUS=serving; the config file is bad"))

    def test_not_ready_without_success(self):
        m = self.manager()
        d = self.daemon(config="resources: []\n", before=["env", f"NOTIFY_SOCKET={self.folder}/notify"]).launch()
        self.assertEqual(d.wait(), 1)
        self.assertFalse(m.has("READY"), f"it never was: {m.messages}")

    def test_nobody_there(self):
        """A socket that is not there is one warning, and no reason not to serve."""
        for address in (f"{self.folder}/none", "relative", "/" + "x" * 200, "vsock:2:1"):
            with self.subTest(address=address):
                d = self.daemon(before=["env", f"NOTIFY_SOCKET={address}"], flags=["--in_memory"]).start()
                self.assertEqual(d.log().count("service manager"), 1, d.log())
                self.assertEqual(d.stop(), 0)

    def test_recovery_is_told(self):
        """A recovery says how far it is, and asks for time."""
        d = self.daemon().start()
        d.acquire()
        seq = d.seq()
        d.kill()
        m = self.manager()
        d.before = ["env", f"NOTIFY_SOCKET={self.folder}/notify"]
        d.start()
        self.assertEqual(m.count(f"STATUS=recovering: command 0 of {seq}"), 1, f"{m.messages}")
        self.assertRegex(m.messages[0], r"(?m)^EXTEND_TIMEOUT_USEC=\d{8,}$")
        self.assertEqual(d.figure("boskosd_recovery_commands"), seq)


class Watchdog(OperateTest):

    def with_watchdog(self, usec, pid="$$"):
        return self.hanging(f"NOTIFY_SOCKET={self.folder}/notify", f"WATCHDOG_USEC={usec}", "sh", "-c",
                            f'WATCHDOG_PID={pid} exec "$@"', "sh")

    def test_fed_while_idle(self):
        m = self.manager()
        self.daemon(before=self.with_watchdog(1000000)).start()
        self.eventually("it is fed again and again", lambda: m.count("WATCHDOG=1") >= 5)

    def test_of_another_process(self):
        m = self.manager()
        d = self.daemon(before=self.with_watchdog(100000, pid="1")).start()
        time.sleep(1)
        self.assertEqual(d.stop(), 0)
        self.assertFalse(m.has("WATCHDOG"), f"the watchdog was another process': {m.messages}")

    def test_not_fed_while_the_disk_hangs(self):
        m = self.manager()
        d = self.daemon(before=self.with_watchdog(1000000)).start()
        self.eventually("it is fed", lambda: m.count("WATCHDOG=1"))
        boskosd.put_file(self.hang, "")
        replies = self.in_background(d.acquire)
        self.eventually("the manager is told why", lambda: m.has(r"^STATUS=no turn for \d+ s: the disk"))
        fed = m.count("WATCHDOG=1")
        told = sum("STATUS=no turn" in t for t in m.messages)
        self.eventually("it is told again", lambda: sum("STATUS=no turn" in t for t in m.take()) > told + 2)
        self.assertEqual(m.count("WATCHDOG=1"), fed, "it was expected to get nothing while the disk hangs")
        os.unlink(self.hang)
        self.eventually("it is fed again", lambda: m.count("WATCHDOG=1") > fed)
        self.eventually("the call is answered", lambda: replies)
        self.assertEqual(replies[0].status, 200)


class HangingDisk(OperateTest):

    def test_not_ready(self):
        d = self.daemon(before=self.hanging()).start()
        boskosd.put_file(self.hang, "")
        replies = self.in_background(d.acquire)
        self.eventually("it is not ready", lambda: d.probe("/healthz/ready") == 503)
        reply = d.call("GET", "/healthz/ready", port=d.health)
        self.assertRegex(reply.text, r"^not ready: a commit has been under way for 1\d s")
        self.assertEqual(d.probe("/healthz"), 200, "the process lives")
        # The page tells what it can without the disk.
        self.assertGreater(d.figure("boskosd_commit_under_way_seconds"), 10)
        self.assertEqual(d.figure("boskosd_ready"), 0)
        self.assertIsNone(d.figure("boskosd_resources"))
        self.assertEqual(replies, [], "nothing is acknowledged before it is on the disk")
        os.unlink(self.hang)
        self.eventually("it is ready by itself", lambda: d.probe("/healthz/ready") == 200)
        self.eventually("the call is answered", lambda: replies)
        self.assertEqual(replies[0].status, 200)
        self.assertEqual(d.figure("boskosd_commit_under_way_seconds"), 0)
        self.assertEqual(d.figure("boskosd_ready"), 1)
        self.assertEqual(d.figure("boskosd_resources"), 6)


class Alarms(OperateTest):

    def test_figures(self):
        """Conditions that somebody must act on, as the metrics page has them."""
        d = self.daemon().start()
        for name in ("space_full", "shadow_broken", "snapshots_set_aside", "config_unwatched", "config_bad",
                     "readers_cleared_total", "readers_check_failures_total", "cleaner_missing_total",
                     "cleaner_bad_lists_total", "clock_backward_total", "config_warnings"):
            self.assertEqual(d.figure("boskosd_" + name), 0, name)
        for name in ("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds",
                     "process_max_fds", "process_cpu_seconds_total", "boskosd_ready"):
            self.assertGreater(d.figure(name), 0, name)
        self.assertLess(abs(d.figure("process_start_time_seconds") - time.time()), 600)
        boskosd.put_file(d.config_path, boskosd.CONFIG + "  odd: 1\n")
        self.eventually("an odd place is counted", lambda: d.figure("boskosd_config_warnings") == 1)
        d.acquire()
        self.assertEqual(d.stop(), 0)
        seq = d.snapshots()[-1]
        with open(d.snapshot_path(seq), "r+b") as f:
            f.seek(100)
            f.write(b"damage")
        d.start()
        self.assertEqual(d.figure("boskosd_snapshots_set_aside"), 1)
        self.assertGreater(d.figure("boskosd_recovery_commands"), 0)
        self.assertGreater(d.figure("boskosd_recovery_seconds"), 0)


class Backup(OperateTest):
    """What docs/OPERATIONS.md says of backups, done to the letter."""

    def check_restored(self, d, restored):
        before = d.resources() if d.is_running() else self.seen
        restored.start()
        self.assertEqual(restored.resources(), before)
        self.assertEqual(restored.release("car-1").status, 200, "the lease was expected to be held by its owner")

    def test_stopped(self):
        d = self.daemon().start()
        self.assertEqual(d.acquire().json["name"], "car-1")
        self.seen = d.resources()
        self.assertEqual(d.stop(), 0)
        subprocess.run(["cp", "-a", d.data_dir, f"{self.folder}/backup"], check=True)
        shutil.rmtree(d.data_dir)
        self.check_restored(d, self.daemon(data_dir=f"{self.folder}/backup"))

    def test_running(self):
        if shutil.which("mdb_copy") is None:
            boskosd.skip_loudly(self, "mdb_copy (Debian: lmdb-utils) is not installed")
        d = self.daemon(flags=["--snapshot-every", "500"]).start()
        self.assertEqual(d.acquire().json["name"], "car-1")
        load = boskosd.Load(d, 4, type="van")
        self.eventually("there are snapshots", lambda: d.figure("boskosd_snapshots_total") >= 2)
        backup = f"{self.folder}/backup/journal"
        os.makedirs(backup)
        script = 'cp -p "$1"/snapshot-[0-9]* "$1"/WITNESS "$2"/ && sleep 1 && mdb_copy "$1" "$2"'
        subprocess.run(["sh", "-c", script, "sh", d.journal, backup], check=True)
        acknowledged = d.seq()
        load.stop()
        r = self.daemon(data_dir=f"{self.folder}/backup").start()
        self.assertGreater(r.figure("boskosd_snapshot_seq"), 0)
        self.assertLessEqual(r.figure("boskosd_recovery_commands"), acknowledged)
        self.assertEqual(r.release("car-1").status, 200, "the lease was expected to be held by its owner")


if __name__ == "__main__":
    boskosd.main()
