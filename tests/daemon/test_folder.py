"""The data folder in trouble: a second daemon, a newer format, no rights, damage, a full disk.

A damaged folder is never served silently: an earlier snapshot is used where one is good, else the daemon ends with exit
code 4 and names file and sequence number.
"""

import os
import random
import shutil
import subprocess
import time
import unittest

import boskosd


def flip_byte(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x40]))


class Folder(boskosd.DaemonTest):

    def test_second_daemon(self):
        d = self.daemon().start()
        name = d.acquire().json["name"]
        second = self.daemon(data_dir=d.data_dir).launch()
        self.check_refused(second, 1, d.data_dir, "another boskosd", "--data-dir")
        self.assertEqual(d.release(name).status, 200, "the first was expected to be unharmed")
        seq, resources = d.seq(), d.resources()
        self.assertEqual(d.kill(), -9)
        second.start()
        self.assertEqual(second.seq(), seq + 1, "after the first has ended the second was expected to start")
        self.assertEqual(second.resources(), resources)

    def test_two_first_starts(self):
        daemons = [self.daemon(data_dir=os.path.join(self.folder, "data")) for _ in range(3)]
        for d in daemons:
            d.launch()
        self.eventually("all but one end", lambda: sum(d.is_running() for d in daemons) <= 1)
        running = [d for d in daemons if d.is_running()]
        self.assertEqual(len(running), 1, "one was expected to have the folder:\n" + "".join(d.log() for d in daemons))
        self.assertTrue(running[0].wait_ready())
        for d in daemons:
            if d not in running:
                self.assertEqual(d.wait(), 1, d.log())
        self.assertEqual(running[0].acquire().status, 200)

    def test_newer_format(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        self.patch_format(d, 1, 2)
        with open(d.data_mdb, "rb") as f:
            before = f.read()
        d.launch()
        self.check_refused(d, 1, d.journal, "newer boskosd", "format 2")
        with open(d.data_mdb, "rb") as f:
            self.assertEqual(f.read(), before, "a newer folder was expected to be left alone")
        self.patch_format(d, 2, 1)
        d.start()

    def test_no_parent(self):
        path = os.path.join(self.folder, "missing", "data")
        d = self.daemon(data_dir=path).launch()
        line = self.check_refused(d, 1, path, "parent folder", "--data-dir")
        self.assertEqual(line.count("--in_memory"), 1, "the other way was expected to be named, once")

    def test_read_only(self):
        user = self.other_user()
        program = self.program_for_all()
        d = self.daemon(user=user, program=program)
        if user is not None:
            os.chown(self.folder, user, user)
            os.chown(d.config_path, user, user)
        d.start()
        self.assertEqual(d.stop(), 0)
        for path, mode in ((d.data_mdb, 0o400), (os.path.join(d.journal, "LOCK"), 0o400)):
            with self.subTest(path=os.path.basename(path)):
                os.chmod(path, mode)
                d.launch()
                self.check_refused(d, 1, path, "--data-dir")
                os.chmod(path, 0o600)
        os.chmod(d.journal, 0o000)
        d.launch()
        self.check_refused(d, 1, d.journal, "--data-dir")
        os.chmod(d.journal, 0o700)
        d.start()

    def test_lost_and_found(self):
        data = os.path.join(self.folder, "data")
        os.makedirs(os.path.join(data, "lost+found"))
        d = self.daemon().start()
        self.assertEqual(d.acquire().status, 200)

    def test_left_over_creation(self):
        """What a first start that was killed has left is no obstacle."""
        fresh = os.path.join(self.folder, "data", "journal.new")
        os.makedirs(fresh)
        for name in ("data.mdb", "lock.mdb", "LOCK"):
            with open(os.path.join(fresh, name), "wb") as f:
                f.write(b"x" * 100)
        d = self.daemon().start()
        self.assertEqual(d.acquire().status, 200)
        self.assertFalse(os.path.exists(fresh))


class Damage(boskosd.DaemonTest):

    def worked(self, generations=1):
        """A folder with some generations of work, each with a snapshot at its end; what was in it at the end."""
        d = self.daemon()
        for n in range(generations):
            d.start()
            name = d.acquire(owner=f"owner-{n}").json["name"]
            d.update(name, {f"key-{n}": f"value-{n}"}, owner=f"owner-{n}")
            resources = d.resources()
            self.assertEqual(d.stop(), 0)
        return d, resources

    def test_newest_snapshot(self):
        d, resources = self.worked(3)
        snapshots = d.snapshots()
        self.assertEqual(len(snapshots), 3)
        newest = d.snapshot_path(snapshots[-1])
        size = os.path.getsize(newest)
        with open(newest, "rb") as f:
            good = f.read()
        places = {"magic": 0, "header": 40, "state": size // 2, "length": size - 20, "checksum": size - 1}
        for what, at in places.items():
            with self.subTest(what=what):
                with open(newest, "wb") as f:
                    f.write(good)
                flip_byte(newest, at)
                d.start()
                self.check_earlier(d, snapshots, resources)
                d.kill()
                self.assertTrue(os.path.exists(newest + ".bad"), "the damaged one was expected to be set aside")
                os.unlink(newest + ".bad")
        for size in (0, 10, size - 1):
            with self.subTest(size=size):
                with open(newest, "wb") as f:
                    f.write(good[:size])
                d.start()
                self.check_earlier(d, snapshots, resources)
                d.kill()
                os.unlink(newest + ".bad")

    def check_earlier(self, d, snapshots, resources):
        lines = [line for line in d.log_lines() if f"{snapshots[-1]:020d}" in line]
        self.assertTrue(lines, f"the damaged snapshot was expected to be named:\n{d.log()}")
        self.assertIn("level=error", lines[0], "a loud line was expected")
        self.line_at_the_start(d)
        self.assertRegex(d.log(), rf"\bsnapshot={snapshots[-2]}\b", "the one before was expected to be used")
        self.assertEqual(d.resources(), resources, "all was expected to be there all the same")

    def test_all_snapshots(self):
        d, resources = self.worked(3)
        for seq in d.snapshots():
            flip_byte(d.snapshot_path(seq), 100)
        d.start()
        self.line_at_the_start(d)
        self.assertRegex(d.log(), r"\bsnapshot=0\b", "the log alone was expected to be used")
        self.assertEqual(d.log().count("level=error"), 3, "each damaged one was expected to be named")
        self.assertEqual(d.resources(), resources)

    def records(self, d):
        """A folder without snapshots whose records 3 to 12 have owners that can be found in the file."""
        d.start()
        for n in range(10):
            self.assertEqual(d.acquire(owner=f"owner-number-{n:03}").status, 200 if n < 4 else 404)
        self.assertEqual(d.kill_drained(), -9)

    def check_damage(self, d, seq, *texts):
        d.launch()
        self.assertEqual(d.wait(), 4, f"exit code 4 was expected:\n{d.log()}")
        line = d.log_lines()[-1]
        self.assertIn("level=fatal", line)
        for text in ("data.mdb", *texts):
            self.assertIn(text, line, "file and sequence number were expected to be named")
        if seq is not None:
            self.assertRegex(line, rf"\b0*{seq}\b", "the sequence number was expected to be named")
        self.assertNotIn("is ready", d.log())

    def test_record(self):
        d = self.daemon()
        self.records(d)
        with open(d.data_mdb, "rb") as f:
            good = f.read()
        for n in (0, 4, 8, 9):  # among them the last two, which are looked at first
            with self.subTest(record=n + 3):
                with open(d.data_mdb, "wb") as f:
                    f.write(good)
                owner = f"owner-number-{n:03}".encode()
                self.patch_log(d, owner, owner.replace(b"number", b"numbex"))
                self.check_damage(d, n + 3)
                # And again: the first try was not to make it worse, or good.
                self.check_damage(d, n + 3)
        with open(d.data_mdb, "wb") as f:
            f.write(good)
        d.start()
        self.assertEqual(sum(r["owner"] != "" for r in d.resources().values()), 4)

    def test_record_before_a_snapshot(self):
        """Damage before the newest snapshot: what was acknowledged is all there."""
        d, resources = self.worked(2)
        self.patch_log(d, b"owner-0", b"owner-X")
        d.start()
        self.assertEqual(d.resources(), resources)

    def test_record_and_snapshot(self):
        """The newest snapshot is damaged, and so is a record that would make up for it."""
        d, _ = self.worked(2)
        flip_byte(d.snapshot_path(d.snapshots()[-1]), 100)
        self.patch_log(d, b"owner-1", b"owner-X")
        self.check_damage(d, None)

    def test_shorter_log(self):
        d, last, _ = self.older_log_put_back(with_snapshot=True)
        self.assertEqual(d.snapshots(), [last])
        self.check_damage(d, 3, "AHEAD", "lost")
        os.unlink(os.path.join(d.journal, "AHEAD"))
        for _ in range(2):
            self.check_damage(d, last, "lost")
        self.assertEqual(d.snapshots(), [last], "the snapshot that proves the loss was expected to stay")

    def test_log_behind_its_witness(self):
        """No snapshot proves the loss; the tail witness does."""
        d, last, _ = self.older_log_put_back(with_snapshot=False)
        os.rename(os.path.join(d.journal, "AHEAD"), os.path.join(self.folder, "AHEAD"))
        for _ in range(2):
            self.check_damage(d, last, "WITNESS", "lost", "record 3")
        os.rename(os.path.join(self.folder, "newer.mdb"), d.data_mdb)
        os.rename(os.path.join(self.folder, "AHEAD"), os.path.join(d.journal, "AHEAD"))
        d.start()
        self.assertEqual(d.seq(), last + 1)

    def test_witness(self):
        d = self.daemon().start()
        witness = os.path.join(d.journal, "WITNESS")
        self.assertEqual(d.kill(), -9)
        for what, change in (("damaged", lambda: flip_byte(witness, 20)), ("damaged", lambda: os.truncate(witness, 10)),
                             ("missing", lambda: os.unlink(witness))):
            change()
            d.start()
            lines = [line for line in d.log_lines() if "WITNESS" in line]
            self.assertEqual(len(lines), 1, f"one loud line was expected:\n{d.log()}")
            self.assertIn(what, lines[0])
            self.assertIn("level=error", lines[0])
            self.assertEqual(d.kill(), -9)
        d.start()
        self.assertNotIn("WITNESS", d.log())

    def test_cut_log(self):
        """A file that lost its end: never served as a shorter log."""
        d, resources = self.worked(2)
        shutil.copy(d.data_mdb, d.data_mdb + ".good")
        for snapshot in d.snapshots():
            os.unlink(d.snapshot_path(snapshot))
        for size in range(d.used_pages()):
            with self.subTest(pages=size):
                shutil.copy(d.data_mdb + ".good", d.data_mdb)
                os.truncate(d.data_mdb, size * 4096)
                d.launch()
                if d.wait_ready():  # what was cut off were free pages
                    self.assertEqual(d.resources(), resources, "it was expected to be whole or refused")
                    d.kill()
                    continue
                self.assertEqual(d.wait(), 4, f"exit code 4 was expected:\n{d.log()}")
                self.assertIn("level=fatal", d.log_lines()[-1])
                self.assertRegex(d.log_lines()[-1], "journal|data.mdb", "the file was expected to be named")

    def test_damaged_pages(self):
        """Whole pages of zeros or noise: the complete state, or exit 4 with a name; never another signal or a hang."""
        d = self.daemon().start()
        for i in range(300):
            name = d.acquire().json["name"]
            d.update(name, {"note": f"{i:0200}"})
            d.release(name)
        resources = d.resources()
        self.assertEqual(d.kill_drained(), -9)
        shutil.copy(d.data_mdb, d.data_mdb + ".good")
        noise = random.Random(20)
        for page in range(d.used_pages()):
            bad = bytes(4096) if page % 2 == 0 else noise.randbytes(4096)
            with self.subTest(page=page, zeros=page % 2 == 0):
                shutil.copy(d.data_mdb + ".good", d.data_mdb)
                with open(d.data_mdb, "r+b") as f:
                    f.seek(page * 4096)
                    f.write(bad)
                d.launch()
                if d.wait_ready():  # a free page, or the older of the two that LMDB begins with
                    self.assertEqual(d.resources(), resources, "it was expected to be whole or refused")
                    d.kill()
                    continue
                self.assertEqual(d.wait(), 4, f"exit code 4 was expected:\n{d.log()}")
                self.assertRegex(d.log_lines()[-1], "journal|data.mdb", "the file was expected to be named")

    def test_other_log(self):
        """A log that goes another way than its snapshot."""
        d = self.daemon().start()
        d.acquire()
        self.assertEqual(d.kill(), -9)
        other = os.path.join(self.folder, "copy")
        shutil.copytree(d.data_dir, other)
        d.start()
        for _ in range(3):
            d.acquire(owner="this")
        self.assertEqual(d.stop(), 0)
        e = self.daemon(data_dir=other).start()
        for _ in range(3):
            e.acquire(owner="that")
        self.assertEqual(e.kill(), -9)
        snapshot = d.snapshot_path(d.snapshots()[-1])
        shutil.copy(snapshot, e.journal)
        self.check_damage(e, d.snapshots()[-1])

    def test_missing_log(self):
        d, _ = self.worked(1)
        os.rename(d.data_mdb, d.data_mdb + ".away")
        self.check_damage(d, None, "missing")
        self.assertFalse(os.path.exists(d.data_mdb),
                         "a lost log was not expected to be replaced by an empty one")
        with open(d.data_mdb, "wb"):
            pass
        self.check_damage(d, None, "empty")
        os.unlink(d.data_mdb)
        os.rename(d.data_mdb + ".away", d.data_mdb)
        d.start()

    def test_no_database(self):
        d, _ = self.worked(1)
        size = os.path.getsize(d.data_mdb)
        with open(d.data_mdb, "wb") as f:
            f.write(b"\0" * size)
        self.check_damage(d, None)
        with open(d.data_mdb, "wb") as f:
            f.write(b"this is no database" * 1000)
        self.check_damage(d, None)


class Retention(boskosd.DaemonTest):

    def test_trimmed_and_killed(self):
        """What is older than --retain goes, also across kills, and nothing else."""
        d = self.daemon(flags=["--retain", "1s", "--snapshot-every", "50"]).start()
        first = 1
        for generation in range(4):
            name = d.acquire(owner="o").json["name"]
            end = d.seq() + 150
            self.eventually("the log is trimmed", lambda: d.update(name, {"n": "x" * 500}, owner="o").seq > end
                            and d.figure("boskosd_log_first_seq") > first)
            first = d.figure("boskosd_log_first_seq")
            resources = d.resources()
            self.assertEqual(d.kill(), -9)
            self.assertLess(first, d.snapshots()[-1], "the newest two snapshots were expected to be replayable")
            d.start()
            self.assertEqual(d.resources(), resources)
            self.assertEqual(d.release(name, owner="o").status, 200)
        self.eventually("the log is trimmed while nothing is to do", lambda: d.figure("boskosd_log_first_seq") ==
                        d.snapshots()[0] + 1)
        self.assertLess(len(d.snapshots()), 30)
        self.eventually("the figures are there", lambda: d.figure("boskosd_snapshots_kept") == len(d.snapshots()))
        self.assertNotIn("ERROR", d.log())


class FullDisk(boskosd.DaemonTest):
    """A disk of its own, as a tmpfs in a mount namespace of the daemon's: seen from here below /proc/PID/root."""

    MIB = 1 << 20

    def mounted(self, flags=(), size="100m"):
        self.mount = os.path.join(self.folder, "disk")
        os.mkdir(self.mount)
        script = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
        before = [*boskosd.UNSHARE, "sh", "-c", script, self.mount]
        try:
            possible = subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            possible = False
        if not possible:
            boskosd.skip_loudly(self, "no mount namespace can be had here, so no small disk")
        d = self.daemon(data_dir=os.path.join(self.mount, "data"), before=before, flags=flags).start()
        self.inside = f"/proc/{d.process.pid}/root{self.mount}"
        return d

    def fill(self):
        """Takes all the room there is, but for the daemon's reserve."""
        self.eventually("the daemon has its reserve",
                        lambda: os.path.exists(os.path.join(self.inside, "data", "journal", "snapshot.reserve")))
        self.fill_on()

    def fill_on(self):
        with open(os.path.join(self.inside, "filler"), "ab", buffering=0) as f:
            for size in (1 << 16, 1 << 12):
                try:
                    while f.write(b"x" * size) == size:
                        pass
                except OSError:
                    pass

    def free(self):
        os.unlink(os.path.join(self.inside, "filler"))

    def until_low(self, d, name):
        """Works until acquires are refused, which must be with a 503 that says why and when to come again."""
        for n in range(1000):
            reply = d.update(name, {"n": f"{n:0200000}"})
            self.assertEqual(reply.status, 200, f"updates were expected to go on, {n} did: {d.log()}")
            reply = d.acquire(type="none")
            if reply.status != 404:
                break
        self.check_refusal(reply)

    def until_full(self, d, name):
        """Works until nothing at all fits any more: LMDB finds room in pages here and there for long."""
        for size in (200000, 500, 1):
            refused = 0
            for n in range(20000):
                reply = d.update(name, {"n": f"{n:0{size}}"})
                refused = refused + 1 if reply.status != 200 else 0
                if refused == 8:
                    break
            self.check_refusal(reply)

    def full(self):
        """A daemon on a disk where nothing fits any more, and the name of what it leased."""
        d = self.mounted()
        name = d.acquire().json["name"]
        self.fill()
        self.until_full(d, name)
        return d, name

    def check_refusal(self, reply):
        self.assertEqual(reply.status, 503, f"503 was expected of a full disk, not {reply}")
        self.assertRegex(reply.text, r"\A[^\n]+\n\Z", "one line was expected")
        self.assertRegex(reply.text, "full|space", "the text was expected to say why")
        self.assertIn("retry-after", reply.headers)
        self.assertEqual(reply.seq, 0, "what was refused is not in the log")

    def test_low_and_room_again(self):
        """Before the disk is full acquires are refused, so that there is room to give back what was acquired."""
        d = self.mounted(size="130m")
        names = [d.acquire().json["name"] for _ in range(3)]
        waiting = d.acquire(type="van", state="none", request_id="r")
        self.assertEqual(waiting.status, 404)
        self.fill()
        self.until_low(d, names[0])
        self.assertEqual(d.figure("boskosd_space_low"), 1)
        self.assertEqual(len([line for line in d.log_lines() if "nearly full" in line]), 1, d.log())
        for reply in (d.acquire(), d.call("POST", "/acquirebystate", state="free", dest="busy", owner="x", names="van-1")):
            self.check_refusal(reply)
        for reply in (d.release(names[0]), d.update(names[1], {"k": "v"}),
                      d.call("POST", "/reset", type="car", state="busy", dest="free", expire="-1s"),
                      d.call("GET", "/metric", type="car")):
            self.assertEqual(reply.status, 200, f"what gives back was expected to go on: {reply}")
        self.eventually("what is due is done", lambda: d.call("GET", "/v1/queues").json == {"queues": []})
        self.assertEqual(d.probe("/healthz/ready"), 200)
        self.free()
        self.eventually("acquires are served again by themselves", lambda: d.acquire().status == 200)
        self.assertEqual(d.figure("boskosd_space_low"), 0)
        self.assertIn("room again", d.log())

    def test_low_after_a_start(self):
        """A restart does not use up the reserve."""
        d = self.mounted(size="30m")  # less than the reserve
        self.eventually("acquires are refused", lambda: d.acquire().status == 503)
        self.assertEqual(d.release("car-1").status, 401, "the rest was expected to be served")

    def test_full_and_free_again(self):
        d, name = self.full()
        seq, resources = d.seq(), d.resources()
        for reply in (d.acquire(), d.acquire(type="van", request_id="r"), d.release(name), d.update(name, {"k": "v"}),
                      d.call("POST", "/reset", type="car", state="busy", dest="free", expire="-1s")):
            self.assertEqual(reply.status, 503, f"every command was expected to be refused: {reply}")
        self.assertEqual(d.call("GET", "/metric", type="car").status, 200, "queries were expected to go on")
        self.assertEqual((d.seq(), d.resources()), (seq, resources), "what was refused was expected to change nothing")
        self.assertTrue(d.is_running(), "the daemon was expected to live")
        self.assertGreater(d.figure("boskosd_refused_nospace_total"), 0)
        self.assertEqual(d.probe("/healthz"), 200)
        self.assertIn("commands are refused until there is room", d.log())
        self.free()
        reply = d.release(name)
        self.assertEqual(reply.status, 200, f"it was expected to go on when there is room again: {reply}")
        self.assertEqual(reply.seq, seq + 1, "no number was expected to be lost")
        self.assertIn("room again", d.log())
        after = d.resources()
        held = os.open(os.path.join(self.inside, "data"), os.O_RDONLY)  # keeps the disk when the daemon has ended
        self.addCleanup(os.close, held)
        self.assertEqual(d.kill(), -9)
        copy = os.path.join(self.folder, "copy")
        shutil.copytree(f"/proc/self/fd/{held}", copy)
        e = self.daemon(data_dir=copy).start()
        self.assertEqual(e.resources(), after, "the log was expected to be whole after a full disk")

    def test_config_while_full(self):
        d, _ = self.full()
        many = ", ".join(f"van-{n}.{'x' * 50}" for n in range(5000))  # what does not fit into any corner
        boskosd.put_file(d.config_path, boskosd.CONFIG.replace("van-2]", f"van-2, van-3, {many}]"))
        time.sleep(0.5)
        self.assertNotIn("van-3", d.names())
        self.free()
        self.eventually("a config that came while the disk was full is taken later", lambda: "van-3" in d.names())

    def test_snapshot_on_a_full_disk(self):
        """The next snapshot has its room. A later one has not: that is an alarm, and acquires are refused."""
        d = self.mounted(flags=["--snapshot-every", "50"])
        names = [d.acquire().json["name"] for _ in range(4)]
        self.fill()
        written, failures = "boskosd_snapshots_total", "boskosd_snapshot_failures_total"
        before = d.figure(written)

        def work_until(figure, least):
            self.eventually(figure, lambda: d.update(names[0], {}).status in (200, 503) and d.figure(figure) > least)

        work_until(written, before)
        self.eventually("acquires are refused", lambda: d.acquire(type="none").status == 503)
        self.assertIn("no room for the next snapshot", d.log())
        self.fill_on()
        work_until(failures, 0)
        time.sleep(1.5)
        said = "snapshot could not be written"
        self.assertLessEqual(d.log().count(said), 2, f"a pause was expected before the next try:\n{d.log()}")
        journal = os.path.join(self.inside, "data", "journal")
        self.assertFalse([n for n in os.listdir(journal) if n.endswith(".tmp")],
                         "what did not become a snapshot was expected to be removed")
        self.free()
        self.assertEqual(d.release(names[0]).status, 200)
        self.eventually("acquires are served again", lambda: d.acquire(type="none").status == 404)
        seq = d.seq()
        held = os.open(journal, os.O_RDONLY)  # keeps the disk when the daemon has ended
        self.addCleanup(os.close, held)
        self.assertEqual(d.stop(), 0)
        self.assertIn(f"snapshot-{seq:020d}", os.listdir(held), f"a last snapshot was expected:\n{d.log()}")

    def test_term_on_a_full_disk(self):
        d, _ = self.full()
        self.assertEqual(d.stop(), 0, f"an orderly end was expected, though without a snapshot:\n{d.log()}")

    def test_start_on_a_full_disk(self):
        d = self.mounted()
        self.assertEqual(d.stop(), 0)
        # No room for a journal at all.
        d.before = [p.replace("size=100m", "size=16k") for p in d.before]
        d.launch()
        self.check_refused(d, 1, self.mount)

    def test_read_only_disk(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        d.before = [*boskosd.UNSHARE, "sh", "-c", script, d.data_dir]
        try:
            done = subprocess.run([*d.before, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            boskosd.skip_loudly(self, "there is no unshare")
        if done.returncode != 0:
            boskosd.skip_loudly(self, "nothing can be mounted read-only here")
        d.launch()
        self.check_refused(d, 1, d.data_dir, "--data-dir")


if __name__ == "__main__":
    boskosd.main()
