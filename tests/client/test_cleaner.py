#!/usr/bin/env python3
"""boskos-cleaner against a real boskosd, through a proxy that loses and spoils."""

import time

from program_test import *  # noqa: F403

CLUSTERS = """\
- type: cluster
  state: free
  min-count: 2
  max-count: 8
"""


class Cleaner(ProgramTest):
    PROGRAM = "BOSKOS_CLEANER"
    CONFIG = boskosd.CONFIG + CLUSTERS

    def setUp(self):
        super().setUp()
        self.path = self.file("cleaner-config", self.CONFIG)

    def doom(self, *leased, present=None, text=None):
        """A cluster that is to be deleted, for which these were leased, of which those in `present` are there."""
        name = self.d.acquire(type="cluster", owner="mason").json["name"]
        for n in leased if present is None else present:
            self.d.call("POST", "/acquirebystate", state="free", dest="leased", owner="mason", names=n)
            self.assertEqual(self.d.release(n, dest=name, owner="mason").status, 200)
        if leased or text is not None:
            self.d.update(name, {"leasedResources": text if text is not None else "".join(f"- {n}\n" for n in leased)},
                          owner="mason")
        self.assertEqual(self.d.release(name, dest="toBeDeleted", owner="mason").status, 200)
        return name

    def clean(self, *flags, **more):
        return self.once("--config", self.path, "--once", *flags, **more)

    def is_there(self, name):
        return name in self.d.resources()

    def test_command_line(self):
        self.check_help("--config", "--resource-type", "--cleaner-count", "--period", "--once", "--namespace",
                        "--boskos-url")
        self.check_usage(((), "--config or --resource-type must be set"),
                         (("--config=x", "--cleaner-count=0"), "no number from 1 to 256"),
                         (("--config=x", "--bogus"), "there is no such flag"))
        self.clean("--namespace=x", "-use-v2-implementation", "--kubeconfig", "y")
        self.assertIn("/nonexistent", self.once("--config=/nonexistent", code=1).stderr)

    def test_a_life_ends(self):
        name, other = self.doom("car-1", "van-2"), self.doom()
        done = self.clean()
        self.assertFalse(self.is_there(name) or self.is_there(other))
        self.assertEqual(self.states("car-1", "van-2", "car-2"), [("dirty", ""), ("dirty", ""), ("free", "")])
        self.assertEqual(self.owned(), [])
        self.assertIn(f"Released {name} as tombstone", done.stderr)
        self.assertIn("resource car-1 released as dirty", done.stderr)
        self.assertEqual(len(self.proxy.targets("/update")), 1)

    def test_what_is_not_there_does_not_stop_the_rest(self):
        name = self.doom("car-1", "car-2", "gone", "van-1", present=("car-2", "van-1"))
        done = self.clean()
        self.assertFalse(self.is_there(name))
        self.assertEqual(self.states("car-1", "car-2", "van-1"), [("free", ""), ("dirty", ""), ("dirty", "")])
        self.assertIn(f"{name} has no leased resource gone any more", done.stderr)

    def test_a_list_that_is_none(self):
        name = self.doom(text="{a: b}")
        self.assertIn("no list of names", self.clean().stderr)
        self.assertFalse(self.is_there(name))

    def test_more_than_are_cleaned_at_a_time(self):
        names = [self.doom()]
        self.file(os.path.basename(self.d.config_path), self.CONFIG.replace("min-count: 2", "min-count: 7"))
        self.eventually("there are clusters", lambda: len(self.d.names("cluster")) >= 7)
        names += [self.doom(f"car-{i}") for i in range(1, 5)]
        self.clean("--cleaner-count=2")
        self.assertEqual([n for n in names if self.is_there(n)], [])
        self.assertEqual(self.states("car-1", "car-2", "car-3", "car-4"), [("dirty", "")] * 4)

    def test_static_names_are_left_alone(self):
        path = self.file("mixed", "resources:\n- {type: car, names: [car-1]}\n- {type: car, max-count: 3}\n"
                                  "- {type: van, names: [van-1]}\n")
        for n in ("car-1", "van-1"):
            self.d.call("POST", "/acquirebystate", state="free", dest="busy", owner="ann", names=n)
            self.d.release(n, dest="toBeDeleted")
        seq = self.d.seq()
        self.once("--config", path, "--once")
        self.assertEqual(self.d.seq(), seq, "something was done")
        self.proxy.is_original = True
        done = self.once("--config", path, "--once")
        self.assertIn("car-1 is in toBeDeleted, and in the config by its name", done.stderr)
        self.assertEqual(self.states("car-1", "van-1"), [("toBeDeleted", "")] * 2)

    def test_a_type_that_left_the_config(self):
        """At boskosd it is seen; at the original server it is remembered."""
        for is_original in (False, True):
            with self.subTest(original=is_original):
                self.proxy.is_original = is_original
                self.file("cleaner-config", self.CONFIG)
                p = self.start("--config", self.path, "--period=50ms")
                self.eventually("it is ready", lambda: "is ready" in p.log())
                self.file("cleaner-config", boskosd.CONFIG)
                asked = len(self.proxy.seen)
                self.eventually("it goes on", lambda: len(self.proxy.seen) > asked + 2)
                name = self.doom()
                self.eventually("it is cleaned", lambda: not self.is_there(name))
                self.assertEqual(p.stop(), 0)

    def test_one_answer_of_another_does_not_make_it_the_original_server(self):
        """A type that the config never had while this cleaner ran can only be found by asking boskosd."""
        self.file("cleaner-config", boskosd.CONFIG)
        for fault in ("404", "empty"):
            for before in (0, 2):
                with self.subTest(fault=fault, rounds_before=before):
                    self.proxy.seen.clear()
                    self.proxy.only, self.proxy.script = "/v1/resources", ["pass"] * before + [fault]
                    p = self.start("--config", self.path, "--period=50ms")
                    self.eventually("it was answered so", lambda: not self.proxy.script)
                    name = self.doom("car-1")
                    self.eventually("it is cleaned", lambda: not self.is_there(name))
                    self.assertEqual(p.stop(), 0)
                    self.assertEqual(self.states("car-1"), [("dirty", "")])
                    self.d.call("POST", "/acquirebystate", state="dirty", dest="busy", owner="ann", names="car-1")
                    self.d.release("car-1", dest="free")

    def test_at_the_original_server(self):
        name = self.doom("car-1", "gone", present=("car-1",))
        self.proxy.is_original = True
        done = self.clean()
        self.assertIn("not boskosd", done.stderr)
        self.assertFalse(self.is_there(name))
        self.assertEqual(self.states("car-1"), [("dirty", "")])

    PATHS = ("/acquire", "/acquirebystate", "/release", "/update", "/v1/resources")
    PASSING = ("refuse", "lose", "500!", "cut", "half", "html", "redirect", "404", "503!")

    def check_fault(self, path, action):
        """At last all is clean, and nothing was released twice."""
        with self.subTest(path=path, action=action):
            self.proxy.only, self.proxy.script = None, []
            name = self.doom("car-1", "car-2")
            self.proxy.only, self.proxy.script = path, [action]
            done = self.words("--config", self.path, "--once")
            for _ in range(3):
                subprocess.run(done, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False)
            self.assertFalse(self.is_there(name))
            self.assertEqual(self.owned(), [])
            self.assertEqual(self.states("car-1", "car-2"), [("dirty", "")] * 2)
            for n in ("car-1", "car-2"):
                self.d.call("POST", "/acquirebystate", state="dirty", dest="busy", owner="ann", names=n)
                self.d.release(n)

    @slow
    def test_faults_that_pass(self):
        """Each at two of the calls."""
        for i in range(len(self.PASSING) * 2):
            self.check_fault(self.PATHS[i % len(self.PATHS)], self.PASSING[i % len(self.PASSING)])

    @long_form
    def test_all_faults_that_pass(self):
        for path in self.PATHS:
            for action in self.PASSING:
                self.check_fault(path, action)

    @slow
    def test_faults_for_good(self):
        name = self.doom("car-1")
        for action in FAULTS:
            if action == "empty":
                continue  # so answers the original server, to what it does not know
            with self.subTest(action=action):
                self.proxy.script = [action] * 1000
                self.assertIn("level=warning", self.clean(code=1).stderr)
        self.proxy.script = []
        self.eventually("it is as it was", lambda: self.states(name, "car-1") == [("toBeDeleted", ""), (name, "")])
        self.clean()
        self.assertFalse(self.is_there(name))

    def test_a_leased_one_that_cannot_be_had_now(self):
        name = self.doom("car-1")
        self.proxy.only, self.proxy.script = "/acquirebystate", ["403"]
        self.assertIn("to be tried again", self.clean(code=1).stderr)
        self.assertEqual(self.states(name, "car-1"), [("toBeDeleted", ""), (name, "")])
        self.clean()
        self.assertEqual(self.states("car-1"), [("dirty", "")])

    def test_it_ends_in_the_middle(self):
        name = self.doom("car-1")
        self.proxy.only, self.proxy.script = "/acquirebystate", ["hang"]
        p = self.start("--config", self.path)
        self.eventually("it is at it", lambda: self.proxy.targets("/acquirebystate"))
        self.assertEqual(p.stop(), 0)
        self.eventually("nothing is leaked", lambda: self.states(name, "car-1") == [("toBeDeleted", ""), (name, "")])

    def test_it_ends_when_a_leased_one_was_just_taken(self):
        self.doom("car-1")
        self.proxy.only, self.proxy.script = "/acquirebystate", ["slow:20"]
        p = self.start("--config", self.path)
        self.eventually("it is taken", lambda: self.states("car-1") == [("cleaning", "cleaner")])
        self.assertEqual(p.stop(), 0)
        self.assertEqual((self.owned(), self.states("car-1")), ([], [("dirty", "")]))

    def test_a_server_that_is_down_for_a_while(self):
        name = self.doom()
        self.proxy.down = True
        p = self.start("--config", self.path, "--period=50ms")
        self.eventually("it fails", lambda: "could not look" in p.log())
        self.proxy.down = False
        self.eventually("it goes on", lambda: not self.is_there(name))
        self.assertEqual(p.stop(), 0)


if __name__ == "__main__":
    main()
