#!/usr/bin/env python3
"""What boskos-replay makes of folders in which something is not what its name says.

usage: test_odd.py [unittest's arguments], with BOSKOS_REPLAY and MAKE_HISTORY in the environment
"""

import json
import os
import shutil
import subprocess
import unittest

import folder

PROGRAM, MAKE_HISTORY = (os.path.abspath(os.environ[name]) for name in ("BOSKOS_REPLAY", "MAKE_HISTORY"))
COMMANDS, EVERY = 1000, 400


class Odd(unittest.TestCase):
    def setUp(self):
        held = folder.temporary()
        self.top = held.__enter__()
        self.addCleanup(held.__exit__, None, None, None)
        self.data = self.make("ours", 1)

    def make(self, name, seed):
        data = os.path.join(self.top, name)
        ended = folder.Ended([MAKE_HISTORY, data, "--seed", str(seed), "--commands", str(COMMANDS),
                              "--snapshot-every", str(EVERY)])
        self.assertEqual(ended.code, 0, str(ended))
        return data

    def file(self, name, data=None):
        return os.path.join(data or self.data, "journal", name)

    def run_one(self, *arguments, code=0, says=None):
        """Ends with the code, has a line on stderr that says it (None: none at all), and changes nothing."""
        before = folder.look(self.data)
        ended = folder.Ended([PROGRAM, "--data-dir", self.data, *arguments], seconds=20)
        self.assertEqual(folder.changes(before, folder.look(self.data)), [], str(ended))
        self.assertEqual(ended.code, code, str(ended))
        said = ended.err.decode()
        if says is None:
            self.assertEqual(said, "", str(ended))
        else:
            self.assertIn(says, said, str(ended))
        return ended.out

    def test_snapshot_of_another_folder(self):
        name = f"snapshot-{2 * EVERY:020}"
        points = (EVERY, 2 * EVERY - 1, 2 * EVERY, COMMANDS)
        wanted = {at: self.run_one("show", "--json", "--at", str(at)) for at in points}
        shutil.copy(self.file(name, self.make("theirs", 2)), self.file(name))
        alien = f"{name} does not belong to this log"
        for at, answer in wanted.items():
            is_passed_over = at >= 2 * EVERY
            says = f"{alien}: in data.mdb record {2 * EVERY} is another one; the one before is used"
            self.assertEqual(self.run_one("show", "--json", "--at", str(at), says=says if is_passed_over else None), answer)
        self.run_one("verify", code=4, says=alien)
        self.run_one("verify", "--from", str(2 * EVERY + 1), code=4, says=alien)
        snapshots = json.loads(self.run_one("info", "--json", code=4, says=alien))["snapshots"]
        self.assertEqual([s["good"] for s in snapshots], [True, False])
        self.run_one("export", "--to", os.path.join(self.top, "exported"), says=None)
        self.run_one("backup", "--to", os.path.join(self.top, "copy"), code=4, says=name)

    def test_nowhere_to_print(self):
        for words in (["--help"], ["--version"], ["show", "--help"], ["--data-dir", self.data, "show"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
            self.assertEqual((done.returncode, done.stderr),
                             (1, b"boskos-replay: cannot write to stdout: No space left on device\n"), words)

    def test_what_a_terminal_would_obey(self):
        odd = "\033[2J\n\x9b"
        for words in ([odd], ["show", "--at", odd], ["show", "--" + odd], ["show", "--data-dir", "/" + odd],
                      ["show", "--file", "/" + odd], ["who", odd, "--data-dir", self.data]):
            ended = folder.Ended([PROGRAM, *words])
            self.assertIn(ended.code, (1, 2), str(ended))
            self.assertRegex(ended.err, rb"\A[^\x00-\x1f]+\\u001b\[2J\\n\\u009b[^\x00-\x1f]*\n\Z", words)

    def test_pipes(self):
        for name in ("LOCK", "WITNESS", f"snapshot-{2 * EVERY:020}"):
            is_snapshot = name.startswith("snapshot")
            saved = os.path.join(self.top, "saved")
            os.rename(self.file(name), saved)
            os.mkfifo(self.file(name))
            for command in ("show", "log", "info"):
                code = 1 if not is_snapshot else 4 if command == "info" else 0
                is_silent = is_snapshot and command == "log"  # it begins before it
                self.run_one(command, code=code, says=None if is_silent else f"{name}: ")
            os.remove(self.file(name))
            os.rename(saved, self.file(name))
        self.run_one("show")


if __name__ == "__main__":
    unittest.main()
