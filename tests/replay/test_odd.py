#!/usr/bin/env python3
"""What boskos-replay makes of folders in which something is not what its name says.

usage: test_odd.py [unittest's arguments], with BOSKOS_REPLAY and MAKE_HISTORY in the environment
"""

import json
import os
import pty
import re
import shutil
import resource
import subprocess
import time
import unittest

import folder

PROGRAM, MAKE_HISTORY = (os.path.abspath(os.environ[name]) for name in ("BOSKOS_REPLAY", "MAKE_HISTORY"))
COMMANDS, EVERY = 1000, 400
LONG, LONG_BYTES, LONG_SECONDS = 10000, 1000000, 2  # of commands, of a log and of reading it
PAGE, PAGE_FLAGS_AT = 4096, 10


class Odd(unittest.TestCase):
    def setUp(self):
        held = folder.temporary()
        self.top = held.__enter__()
        self.addCleanup(held.__exit__, None, None, None)
        self.data = self.make("ours", 1)

    def make(self, name, seed, commands=COMMANDS):
        data = os.path.join(self.top, name)
        ended = folder.Ended([MAKE_HISTORY, data, "--seed", str(seed), "--commands", str(commands),
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

    def test_page_that_ends_the_process(self):
        """LMDB ends the process over a page that is of no kind; what was half written then is removed."""
        with open(self.file("data.mdb"), "rb") as f:
            whole = f.read()
        # Nodes with the key of one of some records: flags, the size of the key, the key.
        node = re.compile(b"|".join(re.escape(b"\x00\x00\x08\x00" + seq.to_bytes(8, "big"))
                                    for seq in range(EVERY // 2, COMMANDS, 50)))
        met = 0
        for page in sorted({match.start() // PAGE for match in node.finditer(whole)}):
            for command in ("export", "backup"):
                with open(self.file("data.mdb"), "r+b") as f:
                    f.seek(page * PAGE + PAGE_FLAGS_AT)
                    f.write(b"\xff\xff")
                to = os.path.join(self.top, command)
                ended = folder.Ended([PROGRAM, "--data-dir", self.data, command, "--to", to])
                left = [name for name in os.listdir(self.top) if name.startswith(command)]
                self.assertEqual((ended.code, left), (4, []) if ended.code != 0 else (0, [command]), str(ended))
                met += b"LMDB met a page it does not expect" in ended.err
                if left:
                    (os.remove if command == "export" else shutil.rmtree)(to)
                with open(self.file("data.mdb"), "wb") as f:
                    f.write(whole)
        self.assertGreaterEqual(met, 2)

    def test_end_of_the_write_ahead_file(self):
        """The last frame is of a record that was acknowledged: what has lost it may be either file."""
        data = os.path.join(self.top, "ahead")
        made = folder.Ended([MAKE_HISTORY, data, "--seed", "3", "--commands", "100", "--ahead", "50"])
        self.assertEqual(made.code, 0, str(made))
        with open(self.file("AHEAD", data), "r+b") as f:
            last = f.read().rindex(b"BOSKOSAH")
            f.seek(last + 100)
            byte = f.read(1)
            f.seek(last + 100)
            f.write(bytes([byte[0] ^ 1]))
        ended = folder.Ended([PROGRAM, "--data-dir", data, "show"])
        self.assertEqual(ended.code, 4, str(ended))
        self.assertIn(b"data.mdb and AHEAD: the log ends at record ", ended.err)

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

    def test_witness(self):
        def verified(witness, says=None):
            self.assertEqual(json.loads(self.run_one("verify", "--json", says=says))["witness"], witness)
            lines = self.run_one("verify", says=says).decode().splitlines()
            self.assertEqual(lines[1:], [] if says is None else [
                f"WITNESS is {witness}: whether acknowledged commands are lost behind {COMMANDS} cannot be told"])

        verified("good")
        with open(self.file("WITNESS"), "r+b") as f:
            f.seek(20)
            f.write(b"x")
        verified("damaged", "WITNESS is damaged")
        os.remove(self.file("WITNESS"))
        verified("missing", "WITNESS is missing")

    def test_damage_as_json(self):
        """verify --json says every damage as one object, and stderr the same."""
        log = self.file("data.mdb")
        with open(log, "rb") as f:
            whole = f.read()
        found = set()
        damages = [whole[:size] for size in range(4096, len(whole), len(whole) // 8)]  # cut short
        for at in range(1000, len(whole), len(whole) // 40):
            damages.append(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
        for bytes_ in damages:
            with open(log, "wb") as f:
                f.write(bytes_)
            ended = folder.Ended([PROGRAM, "--data-dir", self.data, "verify", "--json"], seconds=20)
            said = json.loads(ended.out)
            if ended.code == 0:  # nothing is there
                self.assertEqual(said["to"], COMMANDS, str(ended))
                continue
            self.assertEqual(ended.code, 4, str(ended))
            self.assertEqual(said["file"], log, str(ended))
            self.assertIn(f"boskos-replay: {said['error']}\n", ended.err.decode(), str(ended))
            self.assertTrue(said["seq"] is None or f" {said['seq']}" in said["error"], str(ended))
            found.add(said["seq"])
        self.assertTrue(None in found and len(found) > 3, f"some numbers were expected to be known: {found}")

    def test_folder_that_cannot_be_listed(self):
        os.chmod(self.file(""), 0o311)
        program = shutil.copy(PROGRAM, self.top)
        os.chmod(self.top, 0o755)
        os.chmod(self.data, 0o755)
        for name in ("LOCK", "WITNESS", "data.mdb"):
            os.chmod(self.file(name), 0o644)
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        done = subprocess.run([program, "--data-dir", self.data, "show"], capture_output=True, text=True, timeout=20,
                              check=False, **user)
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"boskos-replay: {self.data}: the snapshots cannot be listed: this user may not; run as that of "
                             "boskosd\n"))

    def log_slowly(self, *streams):
        """`log` of a history long enough, with these streams at one terminal that takes its time. What came there, and from
        the other stream."""
        data = os.path.join(self.top, "long")
        ours, theirs = pty.openpty()
        ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **dict.fromkeys(streams, theirs)}
        with subprocess.Popen([PROGRAM, "--data-dir", data, "log"], stdin=subprocess.DEVNULL,
                              env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}, **ends) as process:
            os.close(theirs)
            pipe = next((p for p in (process.stdout, process.stderr) if p is not None), None)
            slow, other = (pipe, ours) if streams == ("stderr",) else (ours, pipe)
            came = {slow: b"", other: b""}
            read = {ours: lambda: os.read(ours, 4096), pipe: lambda: pipe.read1(4096)}
            try:
                while more := read[slow]():
                    came[slow] += more
                    time.sleep(LONG_SECONDS * 4096 / LONG_BYTES)
            except OSError:  # the other end was closed
                pass
            try:
                while other is not None and (more := read[other]()):
                    came[other] += more
            except OSError:
                pass
            self.assertEqual(process.wait(20), 0)
        os.close(ours)
        return came[ours].replace(b"\r\n", b"\n"), came.get(pipe, b"")

    def test_progress(self):
        self.make("long", 3, LONG)
        ended = folder.Ended([PROGRAM, "--data-dir", os.path.join(self.top, "long"), "log"])
        wanted = ended.out
        self.assertEqual((ended.code, ended.err), (0, b""), str(ended))
        self.assertGreater(len(wanted), LONG_BYTES)
        progress = rb"(\r\x1b\[K\d+ of %d commands, \d+/s(, \d+ s left)?)+\r\x1b\[K" % LONG
        screen, _ = self.log_slowly("stdout", "stderr")
        self.assertRegex(screen, progress)
        self.assertIn(b" s left", screen)
        self.assertEqual(re.sub(progress, b"", screen), wanted, "a line of progress stands among the others")
        screen, said = self.log_slowly("stdout")
        self.assertEqual((screen == wanted, said), (True, b""), "stderr is no terminal")
        # A pager may have the terminal once it has a line.
        screen, printed = self.log_slowly("stderr")
        self.assertEqual(printed, wanted)
        self.assertEqual(re.sub(progress, b"", screen), b"")

    def on_terminal(self, **environment):
        """What `show` prints on a terminal of its own."""
        ours, theirs = pty.openpty()
        kept = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
        with subprocess.Popen([PROGRAM, "--data-dir", self.data, "show"], stdin=subprocess.DEVNULL, stdout=theirs,
                              stderr=subprocess.PIPE, env={**kept, **environment}) as process:
            os.close(theirs)
            out = b""
            try:
                while more := os.read(ours, 65536):
                    out += more
            except OSError:  # the other end was closed
                pass
            self.assertEqual((process.stderr.read(), process.wait(20)), (b"", 0))
        os.close(ours)
        return out

    def test_colours(self):
        self.assertIn(b"\033[", self.on_terminal(TERM="xterm"))
        self.assertIn(b"\033[", self.on_terminal(TERM="xterm", NO_COLOR=""))
        self.assertNotIn(b"\033", self.on_terminal(TERM="xterm", NO_COLOR="1"))
        self.assertNotIn(b"\033", self.on_terminal(TERM="dumb"))

    def test_nowhere_to_print(self):
        for words in (["--help"], ["--version"], ["show", "--help"], ["--data-dir", self.data, "show"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
            self.assertEqual((done.returncode, done.stderr),
                             (1, b"boskos-replay: cannot write to stdout: No space left on device\n"), words)

    def test_no_room_for_a_temporary_file(self):
        exported = os.path.join(self.top, "exported")
        for words in (["log", "--json", "--reverse"], ["export", "--to", exported]):
            done = subprocess.run([PROGRAM, "--data-dir", self.data, *words], capture_output=True, timeout=20,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)), check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (1, b"", b"boskos-replay: a temporary file cannot be written\n"), words)
        self.assertEqual([name for name in os.listdir(self.top) if name.startswith("exported")], [])

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
