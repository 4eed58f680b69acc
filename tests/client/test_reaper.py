#!/usr/bin/env python3
"""boskos-reaper against a real boskosd, through a proxy that loses and spoils."""

import time

from program_test import *  # noqa: F403


class Reaper(ProgramTest):
    PROGRAM = "BOSKOS_REAPER"

    def lease(self, *names, state="busy", owner="ann"):
        reply = self.d.call("POST", "/acquirebystate", state="free", dest=state, owner=owner, names=",".join(names))
        self.assertEqual(reply.status, 200)

    def test_command_line(self):
        self.check_help("--resource-type", "--resource-type-from-config", "--extra-source-states", "--expire",
                        "--target-state", "--period", "--once", "--dry-run", "--boskos-url", "--password-file")
        self.check_usage(((), "--resource-type or --resource-type-from-config must be set"),
                         (("--resource-type=,",), "must be set"),
                         (("--resource-type=car", "--target-state="), "--target-state must not be empty"),
                         (("--resource-type=car", "--expire=soon"), 'time: invalid duration "soon"'),
                         (("--resource-type=car", "--bogus"), "there is no such flag"),
                         (("car",), "takes no words"))

    def test_as_the_original(self):
        for name, state in (("car-1", "busy"), ("car-2", "cleaning"), ("car-3", "leased"), ("van-1", "odd")):
            self.lease(name, state=state)
        self.once("-resource-type", "car,van", "-expire=1h", "--once")
        self.assertEqual(self.owned(), ["car-1", "car-2", "car-3", "van-1"])
        done = self.once("-resource-type", "car,van", "-expire", "0", "--once")
        self.assertEqual(self.states("car-1", "car-2", "car-3", "van-1"), [("dirty", "")] * 3 + [("odd", "ann")])
        self.assertIn('resource_name=car-1', done.stderr)
        self.assertIn('previous_owner=ann', done.stderr)
        self.once("--resource-type=van", "--extra-source-states=odd,busy", "--expire=0s", "--target-state=x", "--once")
        self.assertEqual(self.states("van-1"), [("x", "")])
        self.assertEqual(len(self.proxy.targets("/reset")), 6 + 6 + 4, "a state was asked for twice")

    def test_types_of_a_config_that_changes(self):
        entry = "- {type: %s, names: [%s]}\n"
        path = self.file("config", "resources:\n" + entry % ("car", "car-1"))
        self.lease("car-1", "van-1")
        p = self.start("--resource-type-from-config", path, "--expire=0s", "--period=50ms")
        self.eventually("car is reaped", lambda: self.states("car-1") == [("dirty", "")])
        self.assertEqual(self.owned(), ["van-1"])
        self.file("config", "resources: 7\n")
        self.eventually("the fault is said", lambda: "stays in force" in p.log())
        self.lease("car-2")
        self.eventually("car is reaped still", lambda: self.states("car-2") == [("dirty", "")])
        self.file("config", "resources:\n" + entry % ("car", "car-1") + entry % ("van", "van-1"))
        self.eventually("van is reaped", lambda: self.states("van-1") == [("dirty", "")])
        self.assertEqual(p.stop(), 0)
        self.assertEqual(p.log().count("stays in force"), 1)
        self.assertIn("config:1:", p.log())

    def test_what_the_config_says_of_reaping(self):
        path = self.file("config", "resources:\n- {type: car, names: [car-1], reaper: off}\n"
                                   "- {type: van, names: [van-1], reaper: {expire: 1s}}\n")
        self.lease("car-1", "van-1")
        time.sleep(1.1)
        self.once("--resource-type-from-config", path, "--expire=1h", "--once")
        self.assertEqual(self.states("car-1", "van-1"), [("busy", "ann"), ("dirty", "")])
        self.once("--resource-type-from-config", path, "--resource-type=car", "--expire=0s", "--once")
        self.assertEqual(self.states("car-1"), [("dirty", "")])

    def test_a_config_that_is_wrong_at_the_start(self):
        for text in ("", "resources: []\n", "resources:\n- {state: free, names: [a]}\n", "{"):
            done = self.once("--resource-type-from-config", self.file("config", text), code=1)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        done = self.once("--resource-type-from-config=/nonexistent", code=1)
        self.assertIn("/nonexistent: No such file", done.stderr)

    def test_one_failing_type_does_not_stop_the_others(self):
        self.lease("car-1", "van-1")
        self.proxy.script = ["403"] * 3
        done = self.once("--resource-type=car,van", "--expire=0s", "--once", code=1)
        self.assertEqual(self.states("car-1", "van-1"), [("busy", "ann"), ("dirty", "")])
        self.assertEqual(done.stderr.count("Reset failed"), 3)

    def test_dry_run(self):
        self.lease("car-1")
        before = self.d.seq()
        done = self.once("--resource-type=car", "--expire=0s", "--once", "--dry-run")
        self.assertIn("Would reset resource", done.stderr)
        self.assertIn("car-1", done.stderr)
        self.assertNotIn("Would", self.once("--resource-type=car", "--expire=1h", "--once", "--dry-run").stderr)
        self.assertEqual((self.owned(), self.d.seq()), (["car-1"], before))
        self.proxy.script = ["empty"] * 9  # as the original server answers what it does not know
        self.assertIn("Reset failed", self.once("--resource-type=car", "--once", "--dry-run", code=1).stderr)

    def check_for_good(self, *faults):
        self.lease("car-1")
        for action in faults:
            with self.subTest(action=action):
                self.proxy.script = [action] * 100
                done = self.once("--resource-type=car", "--expire=1h", "--once", code=1)
                failed = [line for line in done.stderr.splitlines() if "Reset failed" in line]
                self.assertIn(len(failed), (1, 2, 3), done.stderr)
                self.assertIn("error=", failed[0])
        self.proxy.script = []
        self.assertEqual(self.owned(), ["car-1"])

    # Each is tried nine times, with pauses: some of them side by side.

    @slow
    def test_some_faults_for_good(self):
        self.check_for_good(*FAULTS[0::3])

    @slow
    def test_other_faults_for_good(self):
        self.check_for_good(*FAULTS[1::3])

    @slow
    def test_the_other_faults_for_good(self):
        self.check_for_good(*FAULTS[2::3])

    def test_faults_that_pass(self):
        for action in ("refuse", "close", "html", "500", "lose", "cut", "half", "delay:0.3"):
            with self.subTest(action=action):
                if not self.owned():
                    self.d.acquire(state=self.d.resources()["car-1"]["state"])
                self.proxy.script = [action]
                self.once("--resource-type=car", "--expire=0s", "--once", "--target-state=free")
                self.assertEqual(self.owned(), [])

    def test_a_server_that_is_down_for_a_while(self):
        self.lease("car-1")
        self.proxy.down = True
        p = self.start("--resource-type=car,van", "--expire=0s", "--period=50ms")
        self.eventually("it fails", lambda: p.log().count("Reset failed") >= 2)
        self.proxy.down = False
        self.eventually("it goes on", lambda: not self.owned())
        self.assertEqual(p.stop(), 0)

    def test_it_ends_while_the_server_hangs(self):
        self.proxy.script = ["hang"] * 10
        p = self.start("--resource-type=car", "--expire=0s")
        self.eventually("it asks", lambda: self.proxy.targets("/reset"))
        began = time.monotonic()
        self.assertEqual(p.stop(), 0)
        self.assertLess(time.monotonic() - began, 8)
        self.assertNotIn("Reset failed", p.log())


if __name__ == "__main__":
    main()
