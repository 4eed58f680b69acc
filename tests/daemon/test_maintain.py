"""boskosd --compact and --repair on a real folder: what they say, what they leave, and when they refuse."""

import os
import random
import re
import shutil
import subprocess
import unittest

import boskosd


class Done:
    """How a run of boskosd ended that was not to serve."""

    def __init__(self, d, *flags, before=(), env=None):
        done = subprocess.run([*before, d.program, *flags, "--data-dir", d.data_dir], capture_output=True, text=True,
                              timeout=boskosd.PATIENCE, check=False, env=env)
        self.code, self.said, self.wrong = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"exit code {self.code}\n{self.said}{self.wrong}"


def listing(folder):
    """Every file below a folder with its content."""
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, folder)] = f.read()
    return found


class MaintainTest(boskosd.DaemonTest):

    def check_done(self, done, code, *texts):
        """The exit code; the texts in what it said: on stdout when all went well, else on stderr."""
        self.assertEqual(done.code, code, f"exit code {code} was expected: {done}")
        for text in texts:
            self.assertIn(text, done.said + done.wrong)
        return done

    def check_unchanged(self, d, before):
        after = listing(d.data_dir)
        self.assertEqual(sorted(after), sorted(before))
        for name, content in before.items():
            self.assertTrue(after[name] == content, f"{name} was expected to be left as it was")

    def work(self, d, count=300):
        """Commands of several kinds; what is there afterwards."""
        for i in range(count):
            name = d.acquire(owner=f"owner-{i}").json["name"]
            d.update(name, {"note": f"{i:0300}"}, owner=f"owner-{i}")
            if i < count - 1:
                d.release(name, owner=f"owner-{i}")
        return d.resources()


class Compact(MaintainTest):

    def test_compact(self):
        d = self.daemon().start()
        resources = self.work(d)
        seq = d.seq()
        self.assertEqual(d.kill(), -9)
        before = os.path.getsize(d.data_mdb)
        done = self.check_done(Done(d, "--compact"), 0, d.data_mdb, str(before))
        after = os.path.getsize(d.data_mdb)
        self.assertIn(str(after), done.said)
        self.assertEqual(done.wrong, "")
        self.assertLess(after, before, "the room that is not used was expected to be given back")
        self.assertEqual(os.stat(d.data_mdb).st_mode & 0o777, 0o600)
        self.assertNotIn("data.mdb.new", os.listdir(d.journal))
        d.start()
        self.assertEqual(d.seq(), seq + 1)
        self.assertEqual(d.resources(), resources)
        # Without the snapshot too: the records are the same ones.
        self.assertEqual(d.stop(), 0)
        self.check_done(Done(d, "--compact"), 0)
        for snapshot in d.snapshots():
            os.unlink(d.snapshot_path(snapshot))
        d.start()
        self.assertEqual(d.resources(), resources)
        self.assertEqual(d.acquire().status, 200)

    def test_running(self):
        d = self.daemon().start()
        self.check_done(Done(d, "--compact"), 1, d.journal, "another boskosd")
        self.assertEqual(d.acquire().status, 200)

    def test_missing(self):
        d = self.daemon()
        self.check_done(Done(d, "--compact"), 1, d.journal, "--data-dir")
        self.assertFalse(os.path.exists(d.data_dir), "nothing was expected to be made")

    def test_left_over(self):
        d = self.daemon().start()
        self.assertEqual(d.kill(), -9)
        left = os.path.join(d.journal, "data.mdb.new")
        for start in (d.start, lambda: self.check_done(Done(d, "--compact"), 0)):
            with open(left, "wb") as f:
                f.write(b"half a copy")
            start()
            self.assertFalse(os.path.exists(left))
            if d.is_running():
                self.assertEqual(d.kill(), -9)

    def test_damaged(self):
        d = self.daemon().start()
        self.work(d, 20)
        self.assertEqual(d.kill_drained(), -9)
        with open(d.data_mdb, "r+b") as f:
            f.truncate(8192)
        before = listing(d.data_dir)
        self.check_done(Done(d, "--compact"), 4, d.data_mdb)
        before.pop("journal/lock.mdb")
        after = listing(d.data_dir)
        after.pop("journal/lock.mdb")
        after.pop("journal/data.mdb.new", None)  # removed by the next open
        self.assertEqual(before, after)

    def test_no_room(self):
        d = self.daemon().start()
        resources = self.work(d, 400)
        self.assertEqual(d.stop(), 0)
        self.check_done(Done(d, "--compact"), 0)  # so that the small disk below can hold it
        # A disk with room for the folder and 64 KiB; what is on it afterwards is copied to `out`.
        used = sum(len(content) for content in listing(d.data_dir).values())
        disk, out = os.path.join(self.folder, "disk"), os.path.join(self.folder, "out")
        os.mkdir(disk)
        script = (f'mount -t tmpfs -o size={used + (128 << 10)} tmpfs "$0" && cp -a "$1" "$0/data" && '
                  '{ "$2" --compact --data-dir "$0/data"; code=$?; cp -a "$0/data" "$3"; exit $code; }')
        command = [*boskosd.UNSHARE, "sh", "-c", script, disk, d.data_dir, d.program, out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "mount" in done.stderr or "unshare" in done.stderr:
            boskosd.skip_loudly(self, "no mount namespace can be had here, so no small disk")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("room", done.stderr)
        self.assertIn("data.mdb", done.stderr)
        self.assertNotIn("data.mdb.new", os.listdir(os.path.join(out, "journal")))
        e = self.daemon(data_dir=out).start()
        self.assertEqual(e.resources(), resources)


class Repair(MaintainTest):

    def worked(self):
        """Two generations with a snapshot at the end of each, and a killed one behind; what is there, by number."""
        d = self.daemon()
        for n in range(3):
            d.start()
            for i in range(20):
                name = d.acquire(owner=f"owner-{n}-{i:02}").json["name"]
                if i < 19:
                    d.release(name, owner=f"owner-{n}-{i:02}")
            last = d.seq()
            self.assertEqual(d.stop() if n < 2 else d.kill_drained(), 0 if n < 2 else -9)
        self.assertEqual(len(d.snapshots()), 2)
        return d, last

    def spoil(self, d, owner):
        """Damages the records with an owner."""
        self.patch_log(d, owner.encode(), owner.replace("owner", "owneX").encode())

    def refused_by_start(self, d):
        """The last line of a start that ends with code 4; it says what to run."""
        d.launch()
        self.assertEqual(d.wait(), 4, d.log())
        line = d.log_lines()[-1]
        self.assertIn(f"boskosd --repair --data-dir {d.data_dir}", line)
        return line

    def advised_cut(self, d):
        """What a dry look says can be kept; it changes nothing."""
        before = listing(d.data_dir)
        done = self.check_done(Done(d, "--repair"), 4, d.journal)
        self.check_unchanged(d, before)
        found = re.search(rf"boskosd --repair --cut-at (\d+) --data-dir {d.data_dir}", done.wrong)
        self.assertTrue(found, f"what to run was expected to be said: {done}")
        self.assertIn("damaged: ", done.said)
        return int(found.group(1)), done

    def cut(self, d, seq):
        before = listing(d.journal)
        done = self.check_done(Done(d, "--repair", "--cut-at", str(seq)), 0, "kept:", "lost:")
        kept = os.path.join(d.data_dir, f"journal.before-{seq}")
        self.assertIn(kept, done.said)
        self.assertEqual(listing(kept), before, "the damaged journal was expected to be kept as it was")
        self.assertEqual(sorted(os.listdir(d.data_dir)), ["journal", f"journal.before-{seq}"])
        self.assertEqual(os.stat(d.journal).st_mode & 0o777, 0o700)
        d.start()
        self.assertEqual(d.seq(), seq + 2, "`repaired` and `started` were expected, and no more")
        self.assertNotIn("level=error", d.log())
        return done

    def test_whole(self):
        d, last = self.worked()
        before = listing(d.data_dir)
        self.check_done(Done(d, "--repair"), 0, "nothing is damaged", str(last))
        self.check_unchanged(d, before)
        self.check_done(Done(d, "--repair", "--cut-at", "5"), 1, "nothing", "damaged", str(last))
        self.check_unchanged(d, before)
        # Made anew without a loss: for damage that is not found.
        done = self.cut(d, last)
        self.assertIn("lost: nothing", done.said)

    def test_running_and_missing(self):
        d = self.daemon().start()
        self.check_done(Done(d, "--repair"), 1, d.journal, "another boskosd")
        self.assertEqual(d.acquire().status, 200)
        e = self.daemon(data_dir=os.path.join(self.folder, "none"))
        self.check_done(Done(e, "--repair"), 1, e.journal, "--data-dir")
        self.assertFalse(os.path.exists(e.data_dir))

    def test_record(self):
        d, last = self.worked()
        self.spoil(d, "owner-2-10")
        line = self.refused_by_start(d)
        bad = int(re.search(r"record (\d+)", line).group(1))
        seq, done = self.advised_cut(d)
        self.assertEqual(seq, bad - 1)
        self.assertIn(f"record {bad}", done.said)
        before = listing(d.data_dir)
        for wrong in (bad, last, last + 1, 10**15):
            self.check_done(Done(d, "--repair", "--cut-at", str(wrong)), 1, str(seq))
            self.check_unchanged(d, before)
        snapshots = d.snapshots()
        done = self.cut(d, seq)
        self.assertIn(f"lost: records {bad} to {last}", done.said)
        self.assertEqual(d.snapshots(), snapshots)
        # All of the past is in it still: without a snapshot it comes to the same state.
        resources = d.resources()
        self.assertEqual(d.kill_drained(), -9)
        for snapshot in snapshots:
            os.unlink(d.snapshot_path(snapshot))
        d.start()
        self.assertEqual(d.resources(), resources)
        self.check_done(Done(self.stopped(d), "--repair"), 0)

    def stopped(self, d):
        if d.is_running():
            self.assertEqual(d.kill_drained(), -9)
        return d

    def test_earlier_cut(self):
        """Below the last good one is possible too, and a second cut keeps the first one's journal."""
        d, _ = self.worked()
        self.spoil(d, "owner-2-10")
        seq, _ = self.advised_cut(d)
        newest = d.snapshots()[-1]
        self.cut(d, newest - 5)
        self.assertEqual(len(d.snapshots()), 1, "a snapshot of what was cut off was not expected")
        self.assertLess(newest - 5, seq)

    def test_same_number_again(self):
        d, _ = self.worked()
        self.spoil(d, "owner-2-10")
        seq, _ = self.advised_cut(d)
        copy = os.path.join(self.folder, "copy")
        shutil.copytree(d.journal, copy)
        self.cut(d, seq)
        self.stopped(d)
        shutil.rmtree(d.journal)
        shutil.copytree(copy, d.journal)
        self.check_done(Done(d, "--repair", "--cut-at", str(seq)), 0, f"journal.before-{seq}.2")
        self.assertTrue(os.path.isdir(os.path.join(d.data_dir, f"journal.before-{seq}.2")))
        d.start()

    def test_record_before_a_snapshot(self):
        """Behind a break the log goes on with the next snapshot: nothing that counts today is lost."""
        d, last = self.worked()
        self.spoil(d, "owner-1-10")
        d.start()
        resources = d.resources()
        last = d.seq()
        self.stopped(d)
        seq, done = self.advised_cut(d)
        self.assertEqual(seq, last)
        first = d.snapshots()[-1]
        self.assertIn(f"good: records {first + 1} to {last}", done.said)
        gap = self.check_done(Done(d, "--repair", "--cut-at", str(first - 1)), 1, "breaks")
        self.assertIn("good: records 1 to ", gap.said)
        done = self.cut(d, seq)
        self.assertIn("lost: nothing", done.said)
        self.assertEqual(d.resources(), resources)
        self.assertEqual(d.snapshots(), [first])
        self.stopped(d)
        self.check_done(Done(d, "--repair", "--cut-at", "3"), 1, "nothing in")

    def test_log_behind_its_witness(self):
        d, last, _ = self.older_log_put_back(with_snapshot=False)
        self.refused_by_start(d)
        seq, done = self.advised_cut(d)
        self.assertIn("WITNESS", done.said)
        self.assertEqual(seq, 3)
        done = self.cut(d, seq)
        self.assertIn(f"lost: records 4 to {last}", done.said)

    def test_log_behind_a_snapshot(self):
        """The snapshot has what the log has lost."""
        d, last, resources = self.older_log_put_back(with_snapshot=True)
        self.refused_by_start(d)
        seq, done = self.advised_cut(d)
        self.assertEqual(seq, last)
        self.assertIn(f"good: the snapshot of record {last}", done.said)
        self.cut(d, seq)
        self.assertEqual(d.resources(), resources)

    def test_no_log(self):
        """All that is left is a snapshot."""
        for what in ("missing", "empty", "noise"):
            with self.subTest(what=what):
                d = self.daemon(data_dir=os.path.join(self.folder, what)).start()
                d.acquire()
                last, resources = d.seq(), d.resources()
                self.assertEqual(d.stop(), 0)
                os.unlink(d.data_mdb)
                if what != "missing":
                    with open(d.data_mdb, "wb") as f:
                        f.write(b"" if what == "empty" else b"this is no database" * 1000)
                self.refused_by_start(d)
                seq, _ = self.advised_cut(d)
                self.assertEqual(seq, last)
                self.cut(d, seq)
                self.assertEqual(d.resources(), resources)

    def test_nothing_left(self):
        d = self.daemon().start()
        self.stopped(d)
        os.truncate(d.data_mdb, 100)
        self.refused_by_start(d)
        before = listing(d.data_dir)
        for flags in (("--repair",), ("--repair", "--cut-at", "1")):
            done = Done(d, *flags)
            self.assertIn(done.code, (1, 4))
            self.assertIn("nothing", done.wrong)
            self.check_unchanged(d, before)

    def test_newer_program(self):
        d = self.daemon().start()
        self.stopped(d)
        self.patch_format(d, 1, 2)
        before = listing(d.data_dir)
        for flags in (("--repair",), ("--repair", "--cut-at", "1")):
            self.check_done(Done(d, *flags), 1, "newer boskosd")
            self.check_unchanged(d, before)

    def test_damaged_pages(self):
        """Every page in turn, as zeros or noise: what a start refuses can be repaired, and never kills the repair."""
        d = self.daemon().start()
        for i in range(120):
            name = d.acquire(owner=f"owner-{i}").json["name"]
            d.update(name, {"note": f"{i:0200}"}, owner=f"owner-{i}")
            d.release(name, owner=f"owner-{i}")
            if i == 60:
                self.assertEqual(d.stop(), 0)  # a snapshot on the way
                d.start()
        last = d.seq()
        self.stopped(d)
        os.truncate(d.data_mdb, d.used_pages() * 4096)
        good = os.path.join(self.folder, "good")
        shutil.copytree(d.journal, good)
        seed = int(os.environ.get("BOSKOS_SEED", "20"))
        print(f"seed {seed}", flush=True)
        noise = random.Random(seed)
        counts = {"served": 0, "repaired": 0, "not possible": 0}
        for page in range(os.path.getsize(os.path.join(good, "data.mdb")) // 4096):
            with self.subTest(page=page):
                shutil.rmtree(d.data_dir)
                shutil.copytree(good, d.journal)
                with open(d.data_mdb, "r+b") as f:
                    f.seek(page * 4096)
                    f.write(bytes(4096) if page % 2 == 0 else noise.randbytes(4096))
                d.launch()
                if d.wait_ready():
                    self.stopped(d)
                    counts["served"] += 1
                    continue
                self.assertEqual(d.wait(), 4, d.log())
                seq, _ = self.advised_cut(d)
                self.assertLessEqual(seq, last)
                self.cut(d, seq)
                self.stopped(d)
                counts["repaired"] += 1
        print(counts, flush=True)
        self.assertGreater(counts["repaired"], 10)

    def test_missing_journal(self):
        """A journal that is gone while an earlier one is kept is no first start."""
        d, _ = self.worked()
        self.spoil(d, "owner-2-10")
        seq, _ = self.advised_cut(d)
        self.cut(d, seq)
        self.stopped(d)
        away = os.path.join(self.folder, "away")
        os.rename(d.journal, away)
        d.launch()
        self.check_refused(d, 1, d.journal, f"journal.before-{seq}")
        self.assertFalse(os.path.exists(d.journal))
        os.rename(away, d.journal)
        d.start()

    def test_interrupted(self):
        """What a killed repair can leave, and what the next start makes of it."""
        d, _ = self.worked()
        self.spoil(d, "owner-2-10")
        seq, _ = self.advised_cut(d)
        self.cut(d, seq)
        self.stopped(d)
        kept, repaired, fresh = (os.path.join(d.data_dir, n)
                                 for n in (f"journal.before-{seq}", "journal.repaired", "journal.new"))
        # Between the two renames: the rest of them is done.
        os.rename(d.journal, repaired)
        d.start()
        self.assertIn("finished", d.log())
        self.assertFalse(os.path.exists(repaired))
        self.stopped(d)
        os.rename(d.journal, repaired)
        self.check_done(Done(d, "--repair"), 0, "finished", "nothing is damaged")
        # Before them: what was built is removed, and the damaged one is still refused.
        for left in (repaired, fresh):
            os.rename(d.journal, left)
            os.rename(kept, d.journal)
            self.refused_by_start(d)
            self.assertFalse(os.path.exists(left))
            self.check_done(Done(d, "--repair", "--cut-at", str(seq)), 0)
        d.start()


if __name__ == "__main__":
    boskosd.main()
