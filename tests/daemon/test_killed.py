"""test_killed.py LIBRARY: boskosd --compact and --repair, ended between any two steps that change the folder.

LIBRARY is kill_at.c. After each kill the folder holds the old journal or the new one, whole: a start serves the same
state, or refuses as before the repair; and the same command then comes to its end.
"""

import os
import shutil
import struct
import subprocess
import sys

import boskosd

LIBRARY = None
STEPS_MAX = 2000


class Killed(boskosd.DaemonTest):

    def run_killed(self, d, flags, at):
        """Runs it with a kill before the at-th step (0: none). The exit code, and how many steps there were."""
        counter = os.path.join(self.folder, "count")
        with open(counter, "wb") as f:
            f.write(bytes(8))
        env = dict(os.environ, LD_PRELOAD=LIBRARY, KILL_COUNT=counter)
        if at > 0:
            env["KILL_AT"] = str(at)
        done = subprocess.run([d.program, *flags, "--data-dir", d.data_dir], capture_output=True, text=True, check=False,
                              timeout=boskosd.PATIENCE, env=env)
        with open(counter, "rb") as f:
            steps = struct.unpack("=Q", f.read())[0]
        return done, steps

    def prepared(self, damaged):
        """A folder with two snapshots and records behind them."""
        d = self.daemon()
        for n in range(3):
            d.start()
            for i in range(6):
                name = d.acquire(owner=f"owner-{n}-{i}").json["name"]
                d.release(name, owner=f"owner-{n}-{i}")
            name = d.acquire(owner=f"stays-{n}").json["name"]
            last, resources = d.seq(), d.resources()
            self.assertEqual(d.stop() if n < 2 else d.kill_drained(), 0 if n < 2 else -9)
        os.truncate(d.data_mdb, d.used_pages() * 4096)
        if damaged:
            self.patch_log(d, b"owner-2-3", b"owneX-2-3")
        good = os.path.join(self.folder, "good")
        os.rename(d.data_dir, good)
        return d, good, last, resources

    def each_step(self, flags, good, d, check):
        """Runs it once unharmed, and then with a kill before each step."""
        shutil.copytree(good, d.data_dir)
        done, steps = self.run_killed(d, flags, 0)
        self.assertEqual(done.returncode, 0, done)
        self.assertGreater(steps, 3, "the steps were expected to be seen")
        self.assertLess(steps, STEPS_MAX)
        for at in range(1, steps + 1):
            with self.subTest(step=at):
                shutil.rmtree(d.data_dir)
                shutil.copytree(good, d.data_dir)
                done, seen = self.run_killed(d, flags, at)
                self.assertGreaterEqual(seen, at)
                self.assertNotEqual(done.returncode, 0, done)
                check(done)
        print(f"{' '.join(flags)}: killed before each of {steps} steps", flush=True)

    def test_compact(self):
        d, good, last, resources = self.prepared(damaged=False)
        counts = {"old": 0, "new": 0}
        old = os.path.getsize(os.path.join(good, "journal", "data.mdb"))

        def check(_):
            size = os.path.getsize(d.data_mdb)
            counts["old" if size == old else "new"] += 1
            d.start()
            self.assertEqual((d.seq(), d.resources()), (last + 1, resources))
            self.assertNotIn("data.mdb.new", os.listdir(d.journal))
            self.assertEqual(d.kill(), -9)
            self.assertEqual(self.run_killed(d, ["--compact"], 0)[0].returncode, 0)

        self.each_step(["--compact"], good, d, check)
        print(counts, flush=True)
        self.assertGreater(counts["old"], 0)

    def test_repair(self):
        d, good, last, _ = self.prepared(damaged=True)
        shutil.copytree(good, d.data_dir)
        look, steps = self.run_killed(d, ["--repair"], 0)
        self.assertEqual((look.returncode, look.stdout.count("damaged: ")), (4, 1), look)
        seq = int(look.stderr.split("--cut-at ")[1].split()[0])
        self.assertLess(seq, last)
        shutil.rmtree(d.data_dir)
        flags = ["--repair", "--cut-at", str(seq)]
        counts = {"old": 0, "new": 0}

        def check(done):
            d.launch()
            if not d.wait_ready():  # the damaged one, as it was
                counts["old"] += 1
                self.assertEqual(d.wait(), 4, d.log())
                self.assertEqual(os.listdir(d.data_dir), ["journal"], "what was not finished was expected to be removed")
                again = self.run_killed(d, flags, 0)[0]
                self.assertEqual(again.returncode, 0, again)
                d.start()
            else:
                counts["new"] += 1
            self.assertEqual(d.seq(), seq + 2)
            self.assertEqual(sorted(os.listdir(d.data_dir)), ["journal", f"journal.before-{seq}"])
            self.assertEqual(d.kill(), -9)
            whole = self.run_killed(d, ["--repair"], 0)[0]
            self.assertEqual(whole.returncode, 0, whole)

        self.each_step(flags, good, d, check)
        print(counts, flush=True)
        self.assertGreater(counts["old"], 0)
        self.assertGreater(counts["new"], 0)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.exists(sys.argv[1]):
        sys.exit(__doc__)
    LIBRARY = os.path.abspath(sys.argv.pop(1))
    boskosd.main()
