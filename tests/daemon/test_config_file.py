"""The config file as people and tools write it: wrong, half, renamed into place, swapped by symlink, repaired."""

import os
import signal
import time
import unittest

import boskosd

OTHER = boskosd.CONFIG.replace("van-2]", "van-2, van-3]")
HALVES = ("resources:\n- type: car\n  names: [car-1]\n",
          "- type: car\n  names: [car-2, car-3]\n- type: van\n  names: [van-1]\n")

# Configs that are not valid, and what must be said about each.
BAD = [
    ("", ["empty config"]),
    ("resources: []\n", ["empty config"]),
    ("resources: [\n", []),
    ("resources: {a: b}\n", []),
    ("resources:\n- names: [a]\n", [".0.type: must be set"]),
    ("resources:\n- type: t\n", [".0.max-count: must be >0"]),
    ("resources:\n- type: t\n  names: [a, a]\n", [".0.names.1(a) is a duplicate"]),
    ("resources:\n- type: t\n  names: [UPPER]\n", [".0.names.0(UPPER) is invalid"]),
    ("resources:\n- names: [a]\n- type: t\n  min-count: 3\n  max-count: 2\n- type: u\n  names: [a]\n",
     [".0.type: must be set", ".1.min-count: must be <= .1.max-count", ".2.names.0(a) is a duplicate"]),
]


class AtTheStart(boskosd.DaemonTest):

    def test_without_journal(self):
        for number, (text, errors) in enumerate(BAD):
            with self.subTest(config=text):
                folder = os.path.join(self.folder, str(number))
                os.mkdir(folder)
                d = self.daemon(folder=folder, config=text).launch()
                self.assertEqual(d.wait(), 1, f"without a journal exit code 1 was expected:\n{d.log()}")
                for error in errors:
                    self.assertIn(error, d.log(), "every error was expected to be named")
                self.assertIn(d.config_path, d.log(), "the file was expected to be named")
                self.assertNotIn("is ready", d.log())

    def test_the_line_is_named(self):
        d = self.daemon(config="resources:\n- type: t\n  names: [good,\n    UPPER]\n").launch()
        self.assertEqual(d.wait(), 1)
        self.assertRegex(d.log(), r"line=4\b.*UPPER", "the error was expected to name its line")

    def test_with_a_journal(self):
        d = self.daemon().start()
        self.assertEqual(d.acquire().status, 200)
        before = d.resources()
        self.assertEqual(d.stop(), 0)
        for text, errors in BAD:
            with self.subTest(config=text):
                boskosd.put_file(d.config_path, text)
                d.start()
                for error in errors:
                    self.assertIn(error, d.log(), "every error was expected to be named")
                self.assertIn("level=error", d.log(), "a loud line was expected")
                self.assertIn("config of the journal", d.log())
                self.assertEqual(d.resources(), before, "a bad config was expected to change nothing")
                self.assertEqual(d.figure("boskosd_config_bad"), 1)
                self.assertEqual(d.stop(), 0)

    def test_repaired_after_such_a_start(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        boskosd.put_file(d.config_path, "resources: [\n")
        d.start()
        boskosd.put_file(d.config_path, OTHER)
        self.eventually("the repaired config is taken", lambda: "van-3" in d.names())

    def test_strict(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        boskosd.put_file(d.config_path, "resources: []\n")
        strict = self.daemon(flags=["--strict-config"]).launch()
        self.assertEqual(strict.wait(), 1, f"--strict-config was expected to end with 1:\n{strict.log()}")
        self.assertIn("empty config", strict.log())
        d.start()
        self.assertEqual(len(d.names()), 6, "the journal was expected to be as before")

    def test_changed_while_down(self):
        d = self.daemon().start()
        held = d.acquire(type="van").json["name"]
        self.assertEqual(d.stop(), 0)
        boskosd.put_file(d.config_path, "resources:\n- type: car\n  names: [car-1, car-9]\n")
        d.start()
        self.assertEqual(d.names(), sorted(["car-1", "car-9", held]),
                         "names that are gone are expected to go, but not a leased one")
        self.assertEqual(d.release(held).status, 200)
        self.assertEqual(d.names(), ["car-1", "car-9"], "it was expected to go when it was released")

    def test_same_config_appends_nothing(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        d.start()
        seq = d.seq()
        self.assertEqual(d.stop(), 0)
        boskosd.put_file(d.config_path, "# a comment\n" + boskosd.CONFIG)
        d.start()
        self.assertEqual(d.seq(), seq + 1, "of a start with the same config one record, `started`, was expected")


class WhileRunning(boskosd.DaemonTest):

    def setUp(self):
        super().setUp()
        self.d = self.daemon().start()
        self.held = self.d.acquire().json["name"]
        self.d.update(self.held, {"k": "v"})
        self.before = self.d.resources()

    def errors(self):
        return self.d.figure("boskosd_config_errors_total")

    def test_bad_ones_change_nothing(self):
        for text, errors in BAD:
            with self.subTest(config=text):
                count = self.errors()
                boskosd.put_file(self.d.config_path, text)
                self.eventually("the bad config is counted", lambda: self.errors() > count)
                self.eventually("it is said to be bad", lambda: self.d.figure("boskosd_config_bad") == 1)
                for error in errors:
                    self.assertIn(error, self.d.log())
                self.assertEqual(self.d.resources(), self.before, "a bad config was expected to change nothing")
        self.assertIn("stays in force", self.d.log(), "a loud line was expected")
        boskosd.put_file(self.d.config_path, OTHER)
        self.eventually("the repaired config is taken", lambda: "van-3" in self.d.names())
        self.eventually("it is no longer said to be bad", lambda: self.d.figure("boskosd_config_bad") == 0)
        self.assertEqual(self.d.resources()[self.held], self.before[self.held])

    def test_gone(self):
        os.unlink(self.d.config_path)
        count = self.errors()
        self.d.signal(signal.SIGHUP)
        self.eventually("a config that is gone is counted as an error", lambda: self.errors() > count)
        self.assertEqual(self.d.resources(), self.before, "a config that is gone was expected to change nothing")
        boskosd.put_file(self.d.config_path, OTHER)
        self.eventually("a config that is back is taken", lambda: "van-3" in self.d.names())

    def test_atomic_rename(self):
        boskosd.put_file(self.d.config_path, OTHER)
        self.eventually("a renamed file is taken", lambda: "van-3" in self.d.names())
        boskosd.put_file(self.d.config_path, boskosd.CONFIG)
        self.eventually("the next one too", lambda: "van-3" not in self.d.names())

    def test_written_in_place(self):
        with open(self.d.config_path, "w", encoding="utf-8") as f:
            f.write(OTHER)
        self.eventually("a file written in its place is taken", lambda: "van-3" in self.d.names())

    def test_removed_and_written_anew(self):
        os.unlink(self.d.config_path)
        with open(self.d.config_path, "w", encoding="utf-8") as f:
            f.write(OTHER)
        self.eventually("a file made anew is taken", lambda: "van-3" in self.d.names())

    def write_halves(self, between):
        """Writes HALVES with a pause; between(n) is called in it. The first half is a valid config by itself."""
        with open(self.d.config_path, "w", encoding="utf-8") as f:
            f.write(HALVES[0])
            f.flush()
            for n in range(10):
                time.sleep(0.05)
                between(n)
                names = self.d.names()
                self.assertEqual(names, sorted(self.before), "nothing was expected to be deleted for half a file")
            f.write(HALVES[1])
        self.eventually("the whole file is taken", lambda: self.d.names() == ["car-1", "car-2", "car-3", "van-1"])
        self.assertEqual(self.d.figure("boskosd_config_loads_total"), 2, "one config command for the file was expected")

    def test_half_written(self):
        self.write_halves(lambda n: None)

    def test_half_written_beside_other_files(self):
        # What happens to other files in the folder must not make anyone read this one.
        def other(n):
            boskosd.put_file(os.path.join(self.folder, "other"), str(n))
            with open(os.path.join(self.folder, f"another-{n}"), "w", encoding="utf-8") as f:
                f.write("x")
        self.write_halves(other)

    def test_behind_a_symlink(self):
        real = os.path.join(self.folder, "real")
        os.mkdir(real)
        boskosd.put_file(os.path.join(real, "c.yaml"), boskosd.CONFIG)
        os.symlink(os.path.join(real, "c.yaml"), self.d.config_path + ".fresh")
        os.rename(self.d.config_path + ".fresh", self.d.config_path)
        boskosd.put_file(os.path.join(real, "c.yaml"), OTHER)
        self.eventually("a file behind a symlink is taken", lambda: "van-3" in self.d.names())
        boskosd.put_file(os.path.join(real, "c.yaml"), boskosd.CONFIG)
        self.eventually("and again", lambda: "van-3" not in self.d.names())

    def test_hangup(self):
        self.d.signal(signal.SIGHUP)
        self.eventually("SIGHUP is said", lambda: "SIGHUP" in self.d.log())
        boskosd.put_file(self.d.config_path, OTHER)
        self.d.signal(signal.SIGHUP)
        self.eventually("SIGHUP takes the new file", lambda: "van-3" in self.d.names())

    def test_other_text_of_the_same_meaning(self):
        seq = self.d.seq()
        boskosd.put_file(self.d.config_path, "# a comment\n" + boskosd.CONFIG.replace("car-1, ", "'car-1',   "))
        self.d.signal(signal.SIGHUP)
        said = "SIGHUP: reading the config again"
        self.eventually("it is read", lambda: said in self.d.log())
        time.sleep(0.5)
        self.assertEqual(self.d.seq(), seq, "no command was expected for a config that means the same")
        boskosd.put_file(self.d.config_path, OTHER)
        self.eventually("the next change is taken", lambda: "van-3" in self.d.names())
        self.assertEqual(self.d.seq(), seq + 1, "one command for one change was expected")

    def test_many_changes_in_a_row(self):
        for n in range(50):
            boskosd.put_file(self.d.config_path, boskosd.CONFIG.replace("van-2", f"van-x{n}"))
            time.sleep(0.01)
        self.eventually("the last one is in force", lambda: "van-x49" in self.d.names())
        self.assertEqual([n for n in self.d.names() if n.startswith("van-x")], ["van-x49"])
        self.assertEqual(self.d.resources()[self.held], self.before[self.held], "the lease was expected to stay")


class ConfigMap(boskosd.DaemonTest):
    """A config map as Kubernetes mounts it: config.yaml -> ..data/config.yaml, ..data -> a folder that is swapped."""

    def version(self, number, text):
        folder = os.path.join(self.mount, f"..2026_{number}")
        os.mkdir(folder)
        boskosd.put_file(os.path.join(folder, "config.yaml"), text)
        os.symlink(f"..2026_{number}", os.path.join(self.mount, "..data_tmp"))
        os.rename(os.path.join(self.mount, "..data_tmp"), os.path.join(self.mount, "..data"))
        if number > 0:
            before = os.path.join(self.mount, f"..2026_{number - 1}")
            os.unlink(os.path.join(before, "config.yaml"))
            os.rmdir(before)

    def test_swaps(self):
        self.mount = os.path.join(self.folder, "mount")
        os.mkdir(self.mount)
        self.version(0, boskosd.CONFIG)
        os.symlink("..data/config.yaml", os.path.join(self.mount, "config.yaml"))
        d = self.daemon()
        d.config_path = os.path.join(self.mount, "config.yaml")
        d.start()
        for number in range(1, 5):
            self.version(number, boskosd.CONFIG.replace("van-2", f"van-x{number}"))
            self.eventually(f"swap {number} is taken", lambda n=number: f"van-x{n}" in d.names())
            self.assertEqual(len(d.names()), 6)
        self.version(5, "resources: []\n")
        self.eventually("a bad one is counted", lambda: d.figure("boskosd_config_bad") == 1)
        self.assertIn("van-x4", d.names())
        self.version(6, boskosd.CONFIG)
        self.eventually("a good one is taken again", lambda: "van-2" in d.names())


if __name__ == "__main__":
    boskosd.main()
