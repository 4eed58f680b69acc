"""boskosd --compact and --repair on a real folder: what they say, what they leave, and when they refuse."""

import os
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

    def data(self, d):
        return os.path.join(d.journal, "data.mdb")

    def test_compact(self):
        d = self.daemon().start()
        resources = self.work(d)
        seq = d.seq()
        self.assertEqual(d.kill(), -9)
        before = os.path.getsize(self.data(d))
        done = self.check_done(Done(d, "--compact"), 0, self.data(d), str(before))
        after = os.path.getsize(self.data(d))
        self.assertIn(str(after), done.said)
        self.assertEqual(done.wrong, "")
        self.assertLess(after, before, "the room that is not used was expected to be given back")
        self.assertEqual(os.stat(self.data(d)).st_mode & 0o777, 0o600)
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
        self.assertEqual(d.kill(), -9)
        with open(self.data(d), "r+b") as f:
            f.truncate(8192)
        before = listing(d.data_dir)
        self.check_done(Done(d, "--compact"), 4, self.data(d))
        before.pop("journal/lock.mdb")
        after = listing(d.data_dir)
        after.pop("journal/lock.mdb")
        after.pop("journal/data.mdb.new", None)  # removed by the next open
        self.assertEqual(before, after)

    def test_no_room(self):
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
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
        done = subprocess.run([*unshare, "sh", "-c", script, disk, d.data_dir, d.program, out], capture_output=True,
                              text=True, check=False)
        if "mount" in done.stderr or "unshare" in done.stderr:
            boskosd.skip_loudly(self, "no mount namespace can be had here, so no small disk")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("room", done.stderr)
        self.assertIn("data.mdb", done.stderr)
        self.assertNotIn("data.mdb.new", os.listdir(os.path.join(out, "journal")))
        e = self.daemon(data_dir=out).start()
        self.assertEqual(e.resources(), resources)


if __name__ == "__main__":
    boskosd.main()
