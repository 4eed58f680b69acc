"""boskos-replay backup: a copy that a daemon starts on, whatever the daemon does that has the original, or nothing.

usage: test_backup.py [unittest's arguments], with the programs to test in the environment: BOSKOSD, BOSKOS_REPLAY,
MAKE_HISTORY and FORGE.
"""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))

import boskosd  # noqa: E402
import folder  # noqa: E402

REPLAY, MAKE_HISTORY, FORGE = (os.environ.get(name) for name in ("BOSKOS_REPLAY", "MAKE_HISTORY", "FORGE"))


class BackupTest(boskosd.DaemonTest):

    def replay(self, data_dir, *words, code=0):
        done = folder.Ended([REPLAY, "--data-dir", data_dir, *words])
        self.assertEqual(done.code, code, f"exit code {code} was expected: {done}")
        return done

    def show(self, data_dir, *words):
        return json.loads(self.replay(data_dir, "show", "--json", *words).out)

    def backup(self, data_dir, name="copy"):
        """Makes a backup that must succeed; its folder and what was said of it."""
        to = os.path.join(self.folder, name)
        return to, json.loads(self.replay(data_dir, "backup", "--json", "--to", to).out)

    def refused(self, data_dir, code, *texts, to=None):
        """A backup that must not come to be: one line that holds the texts, and nothing is left."""
        to = to or os.path.join(self.folder, "copy")
        was_there = os.path.exists(to)
        done = self.replay(data_dir, "backup", "--to", to, code=code)
        line = done.err.decode()
        self.assertEqual(line.count("\n"), 1, f"one line was expected: {done}")
        for text in texts:
            self.assertIn(text, line)
        self.assertEqual(done.out, b"")
        self.assertEqual(os.path.exists(to), was_there, f"{to} was expected to be as before: {done}")
        if was_there:
            self.assertEqual(os.listdir(to), [])

    def check(self, original, to, said, config_is_other=False):
        """The copy is whole, private, and what the original was at its end; a daemon goes on with it."""
        self.assertEqual(said["dir"], to)
        for top, names, files in os.walk(to):
            self.assertEqual(stat.S_IMODE(os.stat(top).st_mode), 0o700)
            for name in files:
                self.assertEqual(stat.S_IMODE(os.stat(os.path.join(top, name)).st_mode), 0o600, name)
        self.assertEqual(sorted(n for n in os.listdir(to)), ["journal"])
        verified = json.loads(self.replay(to, "verify", "--json").out)
        self.assertEqual((verified["from"], verified["to"]), (said["from"], said["to"]))
        self.assertEqual(verified["results"], said["to"] - said["from"] + 1, "every row was expected to be there")
        self.assertEqual(verified["snapshots"], said["snapshots"])
        shown = self.show(to)
        self.assertEqual(shown["seq"], said["to"])
        self.assertEqual(shown, self.show(original, "--at", str(said["to"])))
        copy = self.daemon(data_dir=to).start()
        if not config_is_other:
            self.assertEqual(copy.seq(), said["to"] + 1)
            self.assertEqual(copy.resources(), {r["name"]: r for r in shown["resources"]})
        self.assertEqual(copy.stop(), 0)
        self.assertNotIn("ERROR", copy.log())

    def history(self, commands=3000, snapshot_every=1000):
        """A folder of a random history, which no daemon has."""
        data_dir = os.path.join(self.folder, "data")
        subprocess.run([MAKE_HISTORY, data_dir, "--seed", "7", "--commands", str(commands), "--snapshot-every",
                        str(snapshot_every)], check=True, timeout=folder.SECONDS_MAX)
        return data_dir

    # ---- beside a daemon ----

    def test_under_load(self):
        d = self.daemon(flags=["--snapshot-every", "400"]).start()
        load = boskosd.Load(d, 8)
        try:
            self.eventually("there are snapshots", lambda: len(d.snapshots()) >= 3)
            copies = []
            for i in range(5):
                before = d.seq()
                to, said = self.backup(d.data_dir, f"copy-{i}")
                self.assertEqual(said["from"], 1)
                self.assertGreaterEqual(said["snapshots"], 2)
                self.assertGreaterEqual(said["to"], before)
                self.assertLess(said["to"], d.seq())
                copies.append((to, said))
        finally:
            load.stop()
        self.assertNotIn(503, load.statuses)
        for to, said in copies:
            self.check(d.data_dir, to, said)
        self.assertEqual(d.stop(), 0)

    def test_while_it_trims(self):
        """The oldest state is taken away again and again: a backup begins anew, or says that it is gone."""
        d = self.daemon(flags=["--retain", "1s", "--snapshot-every", "200"]).start()
        load = boskosd.Load(d, 8)
        made = []
        try:
            self.eventually("the log is trimmed", lambda: d.figure("boskosd_log_first_seq") > 1)
            for i in range(20):
                to = os.path.join(self.folder, f"copy-{i}")
                done = folder.Ended([REPLAY, "--data-dir", d.data_dir, "backup", "--json", "--to", to])
                self.assertIn(done.code, (0, 3), str(done))
                if done.code == 0:
                    made.append((to, json.loads(done.out)))
                else:
                    self.assertFalse(os.path.exists(to))
        finally:
            load.stop()
        self.assertTrue(made)
        to, said = made[-1]
        self.assertGreater(said["from"], 1)
        copy = self.daemon(data_dir=to).start()
        self.assertEqual(copy.seq(), said["to"] + 1)
        self.assertEqual(copy.stop(), 0)

    def test_starting_over(self):
        """One that is held up until its beginning is gone begins anew with the one that is the oldest then."""
        d = self.daemon(flags=["--retain", "1s", "--snapshot-every", "200"]).start()
        load = boskosd.Load(d, 4)
        started_over = 0
        try:
            self.eventually("the log is trimmed", lambda: d.figure("boskosd_log_first_seq") > 1)
            for i in range(30):
                to = os.path.join(self.folder, f"copy-{i}")
                process = subprocess.Popen([REPLAY, "--data-dir", d.data_dir, "backup", "--json", "--to", to],
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.addCleanup(process.kill)
                while process.poll() is None and not os.path.exists(os.path.join(to, "journal.new")):
                    time.sleep(0.0005)
                process.send_signal(signal.SIGSTOP)
                last = d.seq()
                self.eventually("all that was there is gone", lambda: d.figure("boskosd_log_first_seq") > last)
                process.send_signal(signal.SIGCONT)
                out, err = process.communicate(timeout=folder.SECONDS_MAX)
                self.assertEqual(process.returncode, 0, err)
                if b"starting over" in err:
                    started_over += 1
                    self.assertGreater(json.loads(out)["from"], last)
                    self.replay(to, "verify")
                if started_over == 2:
                    break
        finally:
            load.stop()
        self.assertEqual(started_over, 2)

    # ---- without one ----

    def test_trimmed_and_stopped(self):
        d = self.daemon(flags=["--retain", "1s", "--snapshot-every", "50"]).start()
        name = d.acquire().json["name"]
        self.eventually("the log is trimmed", lambda: d.update(name, {"n": "x" * 500}).status == 200
                        and d.figure("boskosd_log_first_seq") > 1)
        self.assertEqual(d.stop(), 0)
        before = folder.look(d.data_dir)
        to, said = self.backup(d.data_dir)
        self.assertEqual(folder.changes(before, folder.look(d.data_dir)), [])
        self.assertGreater(said["from"], 1)
        self.check(d.data_dir, to, said)

        # Where only the newest snapshot is left the copy has its record, too.
        for seq in d.snapshots()[:-1]:
            os.rename(d.snapshot_path(seq), d.snapshot_path(seq) + ".bad")
        to, said = self.backup(d.data_dir, "last")
        self.assertEqual((said["from"], said["snapshots"]), (said["to"], 1))
        copy = self.daemon(data_dir=to).start()
        self.assertEqual(copy.seq(), said["to"] + 1)

    def test_rows_that_are_missing(self):
        """A killed daemon leaves the last results unwritten: in the copy they are there."""
        d = self.daemon().start()
        load = boskosd.Load(d, 8)
        self.eventually("there is something", lambda: d.seq() > 500)
        self.assertEqual(d.kill(), -9)
        load.join()
        verified = json.loads(self.replay(d.data_dir, "verify", "--json").out)
        self.assertLess(verified["results"], verified["to"], "the last results were expected to be missing")
        to, said = self.backup(d.data_dir)
        self.check(d.data_dir, to, said)

    def test_as_text(self):
        data_dir = self.history(500, 200)
        done = self.replay(data_dir, "backup", "--to", os.path.join(self.folder, "copy"))
        self.assertRegex(done.out.decode(), r"\Abacked up commands 1 to 500, 2 snapshots, \d+ [KM]iB, to /\S+/copy\n\Z")
        self.assertEqual(done.err, b"")

    # ---- where nothing is made ----

    def test_places(self):
        data_dir = self.history(50, 0)
        before = folder.look(data_dir)
        full = os.path.join(self.folder, "full")
        os.mkdir(full)
        boskosd.put_file(os.path.join(full, "file"), "x")
        for to, text in ((full, "not empty"), (data_dir, "not empty"), (full + "/file", "folder"),
                         (os.path.join(self.folder, "no", "where"), "No such file"),
                         (data_dir + "/journal/copy", "is in the folder"), (data_dir + "/mine/", "is in the folder")):
            done = self.replay(data_dir, "backup", "--to", to, code=1)
            self.assertIn(text, done.err.decode())
        linked = os.path.join(self.folder, "linked")  # its journal is elsewhere
        os.mkdir(linked)
        os.symlink(data_dir + "/journal", linked + "/journal")
        for to in (data_dir + "/journal/copy", data_dir + "/journal.repaired/"):
            done = self.replay(linked, "backup", "--to", to, code=1)
            self.assertIn("belongs to", done.err.decode())
        self.assertEqual(os.listdir(full), ["file"])
        self.assertEqual(folder.changes(before, folder.look(data_dir)), [])
        # A folder that is there and empty is taken as it is, and a slash at the end does no harm.
        empty = os.path.join(self.folder, "empty") + "/"
        os.mkdir(empty)
        self.replay(data_dir, "backup", "--to", empty)
        self.replay(empty, "verify")

    def test_damage(self):
        data_dir = self.history()
        journal = os.path.join(data_dir, "journal")
        whole = os.path.join(self.folder, "whole")
        shutil.copytree(data_dir, whole)

        def again():
            shutil.rmtree(data_dir)
            shutil.copytree(whole, data_dir)

        snapshots = sorted(n for n in os.listdir(journal) if n.startswith("snapshot-"))
        self.assertEqual(len(snapshots), 3)
        chance = random.Random(3)
        for name in snapshots:  # each, not only the newest
            path = os.path.join(journal, name)
            for at in (3, 20, 90, chance.randrange(os.path.getsize(path))):
                with open(path, "r+b") as f:
                    f.seek(at)
                    byte = f.read(1)[0]
                    f.seek(at)
                    f.write(bytes([byte ^ 4]))
                self.refused(data_dir, 4, name)
                again()
        for what, seq, texts in (("status", 1500, ["1500"]), ("digest", 700, ["700"]), ("no-row", 1200, ["1200"]),
                                 ("snapshot", 2000, ["snapshot-00000000000000002000"])):
            subprocess.run([FORGE, data_dir, what, str(seq)], check=True, timeout=folder.SECONDS_MAX)
            self.refused(data_dir, 4, *texts)
            again()
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        os.truncate(os.path.join(journal, snapshots[1]), 50)
        self.refused(data_dir, 4, snapshots[1], to=empty)

    def test_no_room(self):
        """Wherever the disk ends: a clear line and an empty disk, or a whole copy."""
        data_dir = self.history(2000, 500)
        mount = os.path.join(self.folder, "disk")
        os.mkdir(mount)
        script = ('mount -t tmpfs -o size="$1" tmpfs "$0" || exit 77; "$2" --data-dir "$3" backup --to "$0/copy";'
                  ' code=$?; ls -A "$0"; exit $code')
        codes = []
        for size in (4, 8, 16, 40, 64, 100, 200, 300, 400, 600, 800, 1200, 4000):
            command = [*boskosd.UNSHARE, "sh", "-c", script, mount, f"{size}k", REPLAY, data_dir]
            try:
                done = folder.Ended(command)
            except FileNotFoundError:
                boskosd.skip_loudly(self, "there is no unshare")
            if done.code == 77 or done.err.startswith(b"unshare:"):
                boskosd.skip_loudly(self, "nothing can be mounted here")
            self.assertIn(done.code, (0, 1), str(done))
            codes.append(done.code)
            if done.code == 1:
                self.assertRegex(done.err.decode(), r"\Aboskos-replay: [^\n]*No space left[^\n]*\n\Z")
                self.assertEqual(done.out, b"", "nothing was expected to be left")
            else:
                self.assertTrue(done.out.endswith(b"copy\n"))
        self.assertEqual(codes, sorted(codes, reverse=True))
        self.assertTrue(0 in codes and codes.count(1) > 5, codes)

    # ---- its own end ----

    def start_backup(self, data_dir, to):
        """A backup that is in the midst of it."""
        process = subprocess.Popen([REPLAY, "--data-dir", data_dir, "backup", "--to", to], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        data = os.path.join(to, "journal.new", "data.mdb")

        def is_growing():
            try:
                return os.path.getsize(data) > 1 << 18
            except FileNotFoundError:
                return process.poll() is not None
        while not is_growing():
            time.sleep(0.001)
        return process

    def test_killed(self):
        data_dir = self.history(60000, 20000)
        to = os.path.join(self.folder, "copy")
        for i in range(5):  # each over what the one before left
            process = self.start_backup(data_dir, to)
            process.kill()
            process.communicate(timeout=folder.SECONDS_MAX)
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.assertEqual(os.listdir(to), ["journal.new"])
        done = self.replay(data_dir, "backup", "--json", "--to", to)
        self.check(data_dir, to, json.loads(done.out), config_is_other=True)
        # A daemon takes it for what it is: nothing.
        other = os.path.join(self.folder, "other")
        process = self.start_backup(data_dir, other)
        process.kill()
        process.communicate(timeout=folder.SECONDS_MAX)
        d = self.daemon(data_dir=other).start()
        self.assertLess(d.seq(), 10)
        self.assertEqual(os.listdir(other), ["journal"])

    def test_stopped(self):
        data_dir = self.history(60000, 20000)
        to = os.path.join(self.folder, "copy")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start_backup(data_dir, to)
            process.send_signal(number)
            out, _ = process.communicate(timeout=folder.SECONDS_MAX)
            self.assertEqual(process.returncode, -number)
            self.assertEqual(out, b"")
            self.assertFalse(os.path.exists(to))
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        process = self.start_backup(data_dir, to)
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=folder.SECONDS_MAX)
        self.assertEqual((process.returncode, err), (0, b""))
        self.assertIn(b"backed up commands 1 to 60000", out)


if __name__ == "__main__":
    if not all((REPLAY, MAKE_HISTORY, FORGE)):
        sys.exit("BOSKOS_REPLAY, MAKE_HISTORY and FORGE must name the programs")
    boskosd.main()
