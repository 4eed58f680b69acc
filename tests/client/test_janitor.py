#!/usr/bin/env python3
"""boskos-janitor against a real boskosd: its turns, and what its program, the server and signals do to it."""

import sys
import time

from worker_test import *  # noqa: F403

TYPES = """\
resources:
- type: gcp-project
  state: dirty
  names: [p-1, p-2, p-3]
- type: car
  state: dirty
  names: [car-1]
"""


class JanitorTest(WorkerTest):
    PROGRAM = "BOSKOS_JANITOR"
    CONFIG = TYPES

    def janitor(self, path, *flags, types="gcp-project,car"):
        given = ["--janitor-path", path, "--poll-period", "200ms", "--update-frequency", "100ms", "--metrics-port", "0",
                 "--grace", "500ms"]
        if types:
            given += ["--resource-type", types]
        return self.start(*given, *flags)

    def all_free(self):
        self.eventually("all are free", lambda: self.in_state(*self.d.resources()))


class Cleaning(JanitorTest):
    def test_the_command_line_of_the_program(self):
        w = self.janitor(self.script("clean", 'echo "$@" >> ran\n'), "--pool-size", "1", "--", "--hours=0", "--", "x y")
        self.all_free()
        self.assertEqual(sorted(self.note("ran")), ["--car=car-1 --hours=0 -- x y"] +
                         [f"--project=p-{i} --hours=0 -- x y" for i in (1, 2, 3)])
        self.assertEqual(w.stop(), 0)
        self.assertEqual({t.split("owner=")[1].split("&")[0] for t in self.proxy.targets("/acquire")}, {"Janitor"})

    def test_the_first_word_ends_the_flags(self):
        self.janitor(self.script("clean", 'echo "$@" >> ran\n'), "word", "--pool-size", types="car")
        self.eventually("it ran", lambda: self.note("ran") == ["--car=car-1 word --pool-size"])

    def test_types_of_the_config_are_followed(self):
        path = self.file("types.yaml", "resources: [{type: car, names: [car-1]}]\n")
        w = self.janitor(self.script("clean", "true\n"), "--resource-type-from-config", path, types=None)
        self.eventually("the car is free", lambda: self.in_state("car-1"))
        self.assertTrue(self.in_state("p-1", state="dirty"))
        self.file("types.yaml", "resources: [{type: car\n")
        self.eventually("the fault is logged", lambda: "types.yaml" in w.log())
        self.file("types.yaml", TYPES)
        self.all_free()
        self.assertEqual(w.stop(), 0)

    def test_a_type_that_does_not_exist_is_said_once(self):
        w = self.janitor(self.script("clean", "true\n"), "--poll-period", "50ms", types="car,kar")
        self.eventually("the car is free", lambda: self.in_state("car-1"))
        self.eventually("it is asked for again", lambda: len([t for t in self.proxy.targets("/acquire") if "=kar" in t]) > 2)
        self.assertEqual(w.log().count("type kar: "), 1, w.log())
        self.assertIn("does not exist", w.log())

    def test_a_failure_is_dirty_again_and_is_logged_with_the_end_of_the_output(self):
        w = self.janitor(self.script("clean", 'echo "$@" >> ran; echo to-stdout; echo to-stderr >&2; exit 3\n'),
                         "--poll-period", "1h", "--log-format", "json", types="car")
        line = self.eventually("the failure is logged", lambda: [json.loads(x) for x in w.log().splitlines()
                                                                 if "cleaning failed" in x])[0]
        self.assertEqual((line["type"], line["name"], line["result"]), ("car", "car-1", "exit code 3"))
        self.assertEqual(sorted(line["output"].split()), ["to-stderr", "to-stdout"])
        self.eventually("it is dirty", lambda: self.in_state("car-1", state="dirty"))
        time.sleep(0.5)
        self.assertEqual(len(self.note("ran")), 1, "it was taken again in the same round")
        self.assertTrue(self.in_state("car-1", state="dirty"))

    def test_a_failure_of_the_round_before_is_tried_again(self):
        w = self.janitor(self.script("clean", "sleep 0.5; exit 1\n"), "--poll-period", "50ms", types="car")
        self.eventually("it has failed three times", lambda: w.log().count("cleaning failed") == 3)
        # Before the signal: what it ends, and an acquire that it cancels, is given back too.
        released = len(self.proxy.targets("/release"))
        self.assertLessEqual(released, w.log().count("cleaning failed"), "in vain")
        w.stop()

    def test_heartbeats(self):
        self.janitor(self.script("clean", "while ! test -e go; do sleep 0.05; done\n"), types="car")
        self.eventually("it is held", lambda: self.owned("Janitor") == ["car-1"])
        first = self.d.resources()["car-1"]["lastupdate"]
        self.eventually("it is updated", lambda: len(self.proxy.targets("/update")) > 2 and
                        self.d.resources()["car-1"]["lastupdate"] > first)
        self.script("go", "")
        self.eventually("it is free", lambda: self.in_state("car-1"))

    def test_a_frequency_below_a_millisecond_is_not_none(self):
        self.janitor(self.script("clean", "while ! test -e go; do sleep 0.05; done\n"), "--update-frequency", "1us",
                     types="car")
        self.eventually("it is updated", lambda: self.proxy.targets("/update"))

    def test_the_page(self):
        port = boskosd.free_ports(1)[0]
        w = self.janitor(self.script("clean", 'test "$1" != --project=p-2\n'), "--metrics-port", str(port))
        self.eventually("a failure is counted", lambda: self.page(port).get(
            'boskos_janitor_cleanings_total{type="gcp-project",result="failed"}', 0) >= 1)
        page = self.eventually("all have ended", lambda: (p := self.page(port))[
            'boskos_janitor_cleanings_total{type="gcp-project",result="cleaned"}'] == 2 and p)
        self.assertEqual(page["boskos_janitor_pool_size"], 20)
        self.assertEqual(w.stop(), 0)
        self.check_page_port("--resource-type", "car", "--janitor-path", "/bin/true")


class Turns(JanitorTest):
    CONFIG = """\
resources:
- type: many
  state: dirty
  names: [%s]
- type: car
  state: dirty
  names: [car-1, car-2]
""" % ", ".join(f"m-{i}" for i in range(40))

    def test_never_more_at_once_than_the_pool_has(self):
        w = self.janitor(self.script("clean", "touch run-$$; ls | grep -c ^run- >> counts; sleep 0.1; rm run-$$\n"),
                         "--pool-size", "3", "--poll-period", "50ms", types="many,car")
        self.eventually("all are free", lambda: self.in_state(*self.d.resources()))
        self.assertEqual(w.stop(), 0)
        counts = [int(n) for n in self.note("counts")]
        self.assertEqual((len(counts), max(counts)), (42, 3))

    def test_a_type_with_many_does_not_keep_others_waiting(self):
        w = self.janitor(self.script("clean", 'echo "$1" >> ran; sleep 0.02\n'), "--pool-size", "1", types="many,car")
        self.eventually("the cars are free", lambda: self.in_state("car-1", "car-2"))
        before = len([x for x in self.note("ran") if x.startswith("--many")])
        self.assertLess(before, 15)
        self.assertEqual(w.stop(), 0)

    def test_a_type_that_hangs_or_fails_leaves_places(self):
        for what in ("sleep 1000", "exit 1"):
            with self.subTest(what):
                w = self.janitor(self.script("clean", f'case "$1" in --many*) {what};; esac\n'), "--pool-size", "4",
                             types="many,car")
                self.eventually("the cars are free", lambda: self.in_state("car-1", "car-2"))
                w.stop()
                for _ in range(2):
                    self.d.acquire()
                for n in ("car-1", "car-2"):
                    self.assertEqual(self.d.release(n, "dirty").status, 200)


    def test_a_type_of_which_the_server_refuses_all_leaves_the_others(self):
        self.proxy.only, self.proxy.script = ("/acquire", "type=many"), ["500", "403"] * 1000
        w = self.janitor(self.script("clean", "true\n"), types="many,car")
        self.eventually("the cars are free", lambda: self.in_state("car-1", "car-2"))
        self.eventually("it is said", lambda: "type many: nothing acquired: " in w.log())
        self.proxy.script = []
        self.eventually("the rest is free too", lambda: self.in_state(*self.d.resources()))

    def test_one_that_cannot_be_given_back_leaves_the_others(self):
        """m-0 has failed and comes again in the same round, behind m-1 and m-2: that release is refused."""
        self.d.call("POST", "/acquirebystate", state="dirty", dest="gone", owner="ann",
                    names=",".join(f"m-{i}" for i in range(3, 40)))
        self.proxy.only, self.proxy.script = ("/release", "name=m-0"), ["pass"] + ["403"] * 1000
        w = self.janitor(self.script("clean", 'test "$1" != --many=m-0\n'), "--pool-size", "2", types="many,car")
        self.eventually("its release is refused", lambda: "m-0 is not released" in w.log())
        self.assertEqual(w.log().count("cleaning failed"), 1)
        self.eventually("all others are free", lambda: self.in_state("car-1", "car-2", "m-1", "m-2"))
        name = self.d.acquire().json["name"]
        self.assertEqual(self.d.release(name, "dirty").status, 200)
        self.eventually("it is free", lambda: self.in_state(name))
        self.assertEqual(self.owned("Janitor"), ["m-0"])
        self.proxy.script = []
        self.assertEqual(w.stop(), 0)
        self.assertTrue(self.in_state("m-0", state="dirty"))


class Program(JanitorTest):
    """What the program does."""

    def test_one_that_hangs_is_killed_with_its_children(self):
        w = self.janitor(self.script("clean", 'trap "" TERM\n(trap "" TERM; sleep 1000) &\necho $! $$ > pids\nsleep 1000\n'),
                         "--time-limit", "300ms", "--poll-period", "1h", types="car")
        self.eventually("it is dirty", lambda: "took too long" in w.log() and self.in_state("car-1", state="dirty"))
        self.check_killed(self.note("pids")[0])

    def test_children_do_not_outlive_it(self):
        self.janitor(self.script("clean", "sleep 1000 &\necho $! > pids\n"), types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.check_killed(self.note("pids")[0])

    def test_a_child_that_leaves_the_group_is_not_waited_for(self):
        self.janitor(self.script("clean", "setsid sleep 30 &\n"), types="car")
        began = time.monotonic()
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertLess(time.monotonic() - began, 20)

    def test_a_flood(self):
        w = self.janitor(self.script("clean", "head -c 30000000 /dev/zero | tr '\\0' x; echo the-end\n"), types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertIn("the-end", w.log())
        self.assertLess(len(w.log()), 10000)

    def test_one_that_is_killed_and_one_that_kills_its_group(self):
        for how in ("kill -9 $$", "kill -9 0"):
            with self.subTest(how):
                w = self.janitor(self.script("clean", how + "\n"), "--poll-period", "1h", types="car")
                self.eventually("it is dirty", lambda: "killed by signal 9" in w.log() and
                                self.in_state("car-1", state="dirty"))
                self.assertEqual(w.stop(), 0)

    def test_one_that_cannot_be_run(self):
        path = self.script("clean", "")
        with open(path, "wb") as f:
            f.write(b"#!/none/such\n")
        w = self.janitor(path, "--poll-period", "1h", types="car")
        self.eventually("it is dirty", lambda: "not started" in w.log() and self.in_state("car-1", state="dirty"))

    def test_it_sees_neither_our_signals_nor_our_descriptors(self):
        self.janitor(self.script("clean", "grep SigBlk /proc/self/status > mask; ls /proc/$$/fd > fds; cat > input\n"),
                     types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertEqual(int(self.note("mask")[0].split()[1], 16) & ((1 << 14) | (1 << 1)), 0)
        self.assertLessEqual({int(x) for x in self.note("fds")}, {0, 1, 2, 10, 11, 255})  # from 10 on: the shell's own
        self.assertEqual(self.note("input"), [])


class FirstProcess(JanitorTest):
    """As the first process of a container it becomes the parent of orphans, here by PR_SET_CHILD_SUBREAPER (36)."""

    BEFORE = (sys.executable, "-c",
              "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execv(sys.argv[1], sys.argv[1:])")

    def children(self, p):
        found = []
        for task in os.listdir(f"/proc/{p.process.pid}/task"):
            try:
                with open(f"/proc/{p.process.pid}/task/{task}/children", encoding="ascii") as f:
                    found += f.read().split()
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that has ended
        return found

    def test_it_leaves_no_zombies(self):
        w = self.janitor(self.script("clean", "sleep 1000 & sleep 1000 &\n"
                                              'test "$1" != --car=car-1 || { touch hangs; sleep 1000; }\n'),
                         "--time-limit", "1s", "--poll-period", "1h")
        self.eventually("the car hangs", lambda: self.children(w) and os.path.exists(os.path.join(self.folder, "hangs")))
        self.eventually("the projects are free", lambda: self.in_state("p-1", "p-2", "p-3"))
        self.eventually("the car is given up", lambda: "took too long" in w.log() and self.in_state("car-1", state="dirty"))
        self.assertEqual(self.children(w), [])
        self.assertEqual(w.stop(), 0)


class Descriptors(JanitorTest):
    """With few of them allowed, and more allowed to whoever asks."""

    BEFORE = ("prlimit", "--nofile=64:4096")
    CONFIG = Turns.CONFIG

    def test_as_many_at_once_as_it_was_told(self):
        w = self.janitor(self.script("clean", 'echo >> ran; while ! test -e go; do sleep 0.05; done\n'), "--pool-size", "30",
                         types="many")
        self.eventually("all places are taken", lambda: len(self.note("ran")) == 30)
        self.script("go", "")
        self.eventually("all are free", lambda: self.in_state(*(n for n in self.d.resources() if n[0] == "m")))
        self.assertEqual(w.stop(), 0)


class Ends(JanitorTest):
    HANG = "echo $$ >> pids; sleep 1000\n"

    def test_sigterm_gives_back_as_dirty(self):
        w = self.janitor(self.script("clean", self.HANG))
        self.eventually("all are held", lambda: len(self.owned("Janitor")) == 4 and len(self.note("pids")) == 4)
        self.assertEqual(w.stop(), 0)
        self.assertTrue(self.in_state(*self.d.resources(), state="dirty"))
        self.assertFalse(any(self.is_alive(p) for p in self.note("pids")))
        self.check_released(w, *self.d.resources())

    def test_sigterm_with_a_server_that_is_down(self):
        w = self.janitor(self.script("clean", self.HANG))
        self.eventually("all are held", lambda: len(self.note("pids")) == 4)
        self.proxy.down = True
        began = time.monotonic()
        w.stop()
        self.assertLess(time.monotonic() - began, 40)
        self.assertIn("is left in doubt", w.log())
        self.assertFalse(any(self.is_alive(p) for p in self.note("pids")))

    @long_form
    def test_sigterm_with_a_server_that_refuses_releases(self):
        w = self.janitor(self.script("clean", self.HANG), types="car")
        self.eventually("it is held", lambda: self.note("pids"))
        self.proxy.only, self.proxy.script = "/release", ["403"] * 1000
        began = time.monotonic()
        self.assertEqual(w.stop(), 0)
        self.assertTrue(10 < time.monotonic() - began < 25)
        self.assertIn("car-1 is left as it is: a reaper must see to it", w.log())
        self.assertEqual(self.owned(), ["car-1"])

    def test_a_kill_of_the_janitor_ends_what_it_runs(self):
        w = self.janitor(self.script("clean", "sleep 1000 & echo $$ $! >> pids; wait\n"), types="car")
        pids = self.eventually("it runs", lambda: self.note("pids"))[0].split()
        w.process.kill()
        self.eventually("it is ended", lambda: not any(self.is_alive(p) for p in pids))
        # What it held is a reaper's, and the next janitor's.
        self.assertEqual(self.owned("Janitor"), ["car-1"])
        self.d.call("POST", "/reset", type="car", state="cleaning", dest="dirty", expire="0s")
        self.janitor(self.script("clean", "true\n"), types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))

    def test_a_lost_lease_ends_the_cleaning_and_is_not_released(self):
        w = self.janitor(self.script("clean", self.HANG), "--poll-period", "1h", types="car")
        pid = self.eventually("it runs", lambda: self.note("pids"))[0]
        self.d.call("POST", "/reset", type="car", state="cleaning", dest="dirty", expire="0s")
        self.assertEqual(self.d.acquire(state="dirty", dest="cleaning", owner="Janitor").status, 200)
        self.d.call("POST", "/update", name="car-1", owner="Janitor", state="cleaning")
        # The same owner has it again: a heartbeat cannot tell. Another owner can.
        self.assertEqual(self.d.release("car-1", "dirty", "Janitor").status, 200)
        self.assertEqual(self.d.acquire(state="dirty", dest="busy", owner="ann").status, 200)
        self.eventually("the cleaning is ended", lambda: not self.is_alive(pid))
        self.eventually("it is logged", lambda: "the lease was lost" in w.log())
        self.assertEqual(self.proxy.targets("/release"), [])
        self.assertEqual(self.owned("ann"), ["car-1"])


    def test_a_lost_lease_that_is_acquired_again_is_not_released_by_the_first_cleaning(self):
        path = self.script("clean", 'trap "" TERM\necho $$ >> pids\nwhile ! test -e go.$$; do sleep 0.05; done\n')
        w = self.janitor(path, "--grace", "1h", types="car")
        first = self.eventually("it runs", lambda: self.note("pids"))[0]
        self.assertEqual(self.d.release("car-1", "dirty", "Janitor").status, 200)
        self.assertEqual(self.d.acquire(state="dirty", dest="busy", owner="ann").status, 200)
        self.eventually("the loss is seen", lambda: "car-1 is lost" in w.log())
        self.assertEqual(self.d.release("car-1", "dirty").status, 200)
        second = self.eventually("it runs again", lambda: self.note("pids")[1:])[0]
        self.file("go." + first, "")
        self.eventually("the first one has ended", lambda: "the lease was lost" in w.log())
        time.sleep(0.2)
        self.assertEqual(self.owned("Janitor"), ["car-1"])
        self.assertEqual(self.proxy.targets("/release"), [])
        self.file("go." + second, "")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertEqual(w.stop(), 0)

    def test_what_is_acquired_again_before_a_heartbeat_could_tell(self):
        """Somebody resets what is being cleaned: the janitor is given it anew, and its first lease has ended."""
        path = self.script("clean", 'trap "" TERM\necho $$ >> pids\nwhile ! test -e go; do sleep 0.05; done\n')
        w = self.janitor(path, "--update-frequency", "1h", types="car")
        first = self.eventually("it runs", lambda: self.note("pids"))[0]
        self.assertEqual(self.d.call("POST", "/reset", type="car", state="cleaning", dest="dirty", expire="0s").status, 200)
        second = self.eventually("it runs again", lambda: self.note("pids")[1:])[0]
        self.eventually("the first one is ended", lambda: not self.is_alive(first) and "the lease was lost" in w.log())
        self.assertTrue(self.is_alive(second))
        self.assertEqual(self.owned("Janitor"), ["car-1"])
        self.file("go", "")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertEqual(w.stop(), 0)
        self.assertEqual(len(self.proxy.targets("/release")), 1)

    def test_what_is_acquired_again_while_its_release_is_refused(self):
        path = self.script("clean", 'echo $$ >> pids\ntest -e first || { touch first; exit 0; }\n'
                                    'while ! test -e go; do sleep 0.05; done\n')
        self.proxy.only, self.proxy.script = "/release", ["403"]
        w = self.janitor(path, "--update-frequency", "1h", types="car")
        self.eventually("the release is refused", lambda: "is not released" in w.log())
        self.assertEqual(self.d.call("POST", "/reset", type="car", state="cleaning", dest="dirty", expire="0s").status, 200)
        self.eventually("it runs again", lambda: self.note("pids")[1:])
        time.sleep(1.5)  # the refused one would be tried again after a second
        self.assertEqual(self.owned("Janitor"), ["car-1"])
        self.file("go", "")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.assertEqual(w.stop(), 0)


class Faults(JanitorTest):
    """What the server does."""

    def test_another_type_than_asked_for(self):
        """What was not asked for is not cleaned: the program would be told the wrong thing."""
        self.proxy.only, self.proxy.script = "/acquire", ['say:{"type":"gcp-project","name":"p-1","state":"cleaning",'
                                                          '"owner":"Janitor","lastupdate":"2026-01-01T00:00:00Z"}']
        w = self.janitor(self.script("clean", 'echo "$1" >> ran\n'), types="car")
        self.eventually("it goes on", lambda: self.in_state("car-1"))
        self.assertEqual(self.note("ran"), ["--car=car-1"])
        self.assertIn("asked for type car, and was given p-1 of type gcp-project", w.log())
        self.assertEqual(w.stop(), 0)

    def test_the_original_server(self):
        self.proxy.is_original = True
        w = self.janitor(self.script("clean", "true\n"))
        self.proxy.only, self.proxy.script = "/release", ["lose", "500!", "close"]
        self.all_free()
        self.assertEqual(w.stop(), 0)
        self.assertEqual(self.owned(), [])

    def check_faults(self, path, *faults):
        """Each fault at a request of the path: the car is cleaned all the same, and is nobody's at last."""
        w = self.janitor(self.script("clean", "sleep 0.3; echo \"$1\" >> ran\n"), types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        for fault in faults:
            with self.subTest(path=path, fault=fault):
                before = len(self.note("ran"))
                self.proxy.only, self.proxy.script = path, [fault]
                self.assertEqual(self.d.acquire().status, 200)
                self.assertEqual(self.d.release("car-1", "dirty").status, 200)
                self.eventually("it is clean", lambda: len(self.note("ran")) > before and self.in_state("car-1"))
                self.eventually("the fault was there", lambda: not self.proxy.script)
        self.assertEqual(w.stop(), 0)
        self.assertEqual(self.owned(), [])

    # Each once. Nothing in a reply is what success looks like to a release.

    @slow
    def test_faults_of_acquire(self):
        self.check_faults("/acquire", "lose", "half", "html", "500")

    @slow
    def test_faults_of_update(self):
        self.check_faults("/update", "refuse", "garbage", "empty", "slow:0.5")

    @slow
    def test_faults_of_release(self):
        self.check_faults("/release", "close", "cut", "redirect", "502!")

    ALL = ("refuse", "close", "lose", "half", "cut", "garbage", "html", "redirect", "500", "502!", "503!",
           "401", "404", "404!", "slow:0.5", "hang")

    @long_form
    def test_all_faults_of_acquire(self):
        self.check_faults("/acquire", "empty", *self.ALL)

    @long_form
    def test_all_faults_of_update(self):
        self.check_faults("/update", "empty", *self.ALL)

    @long_form
    def test_all_faults_of_release(self):
        self.check_faults("/release", *self.ALL)

    @slow
    def test_a_server_that_hangs(self):
        self.check_faults("/release", "hang")

    def test_a_password_that_is_not_accepted(self):
        """Refused for a while: the lease is kept, and given back when it is accepted."""
        w = self.janitor(self.script("clean", "true\n"), types="car")
        self.eventually("it is free", lambda: self.in_state("car-1"))
        self.proxy.only, self.proxy.script = "/release", ["403", "403"]
        self.assertEqual(self.d.acquire().status, 200)
        self.assertEqual(self.d.release("car-1", "dirty").status, 200)
        self.eventually("it is free", lambda: not self.proxy.script and self.in_state("car-1"))
        self.assertIn("car-1 is not released as free: ", w.log())
        self.assertEqual(w.stop(), 0)

    def test_a_server_that_comes_late_and_goes(self):
        self.proxy.down = True
        w = self.janitor(self.script("clean", "sleep 0.5\n"))
        time.sleep(0.5)
        self.proxy.down = False
        self.eventually("some are held", lambda: self.owned("Janitor"))
        self.proxy.down = True
        time.sleep(1)
        self.proxy.down = False
        self.all_free()
        self.assertEqual(w.stop(), 0)


class CommandLine(JanitorTest):
    def test_what_is_wrong(self):
        self.check_usage(((), "--resource-type or --resource-type-from-config must be set"),
                         (("--resource-type=car", "--pool-size=0"), "--pool-size"),
                         (("--resource-type=car-",), "ends with a dash"),
                         (("--resource-type=car", "--update-frequency=1"), "missing unit"),
                         (("--resource-type=car", "--metrics-port=65536"), "is no port"),
                         (("--nothing",), "there is no such flag"),
                         (("--resource-type=car", "--janitor-path=/bin/true", "--boskos-url=gopher://x"), "URL"))
        for flags in (("--resource-type=car", "--janitor-path=/none/at/all"),
                      ("--resource-type-from-config=/none/at/all", "--janitor-path=/bin/true")):
            self.assertRegex(self.once(*flags, code=1).stderr, "^[^\n]*No such file[^\n]*\n$")

    def test_help(self):
        self.check_help("--janitor-path", "--resource-type", "--resource-type-from-config", "--pool-size",
                        "--update-frequency", "--poll-period", "--time-limit", "--grace", "--metrics-port", "--owner",
                        "--boskos-url", "--password-file")


if __name__ == "__main__":
    main()
