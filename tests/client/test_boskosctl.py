#!/usr/bin/env python3
"""boskosctl as scripts use it, against a real boskosd, through a proxy that loses and spoils."""

import concurrent.futures
import json
import os
import signal
import subprocess
import time

from program_test import *  # noqa: F403

HELP_COMMANDS = ("acquire", "release", "metrics", "heartbeat", "update", "reset", "list", "get", "wait", "run",
                 "config", "completion")


class CtlTest(ClientTest):
    CONFIG = boskosd.CONFIG + """\
- type: cluster
  state: free
  names: [cluster-1]
"""

    def command(self, *words, owner="ann", url=None):
        general = ["--server-url", url or self.proxy.url] + (["--owner-name", owner] if owner else [])
        at = 1 if words else 0
        return [os.environ["BOSKOSCTL"], *words[:at], *general, *words[at:]]

    def ctl(self, *words, **more):
        return subprocess.run(self.command(*words, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE * 3)

    def good(self, *words, **more):
        done = self.ctl(*words, **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        return done.stdout

    def bad(self, text, *words, code=1, **more):
        done = self.ctl(*words, **more)
        self.assertEqual(done.returncode, code, done)
        self.assertIn(text, done.stderr)
        return done

    def start(self, *words, **more):
        p = subprocess.Popen(self.command(*words, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.wait(), p.stdout.close(), p.stderr.close()))
        return p

    LEASE = ("--type", "car", "--state", "free", "--target-state", "busy")

    def run_words(self, *command, more=()):
        return ("run", *self.LEASE, *more, "--", *command)


class AsTheOriginal(CtlTest):
    """Flags, output and exit codes of the original program."""

    def test_acquire_release(self):
        printed = self.good("acquire", *self.LEASE)
        self.assertRegex(printed, r'^{"type":"car","name":"car-1","state":"busy","owner":"ann",'
                                  r'"lastupdate":"[-0-9]+T[:0-9]+Z","userdata":{}}\n$')
        self.assertEqual(self.good("release", "--name=car-1", "--target-state=dirty"), 'released resource "car-1"\n')
        self.assertEqual(self.d.resources()["car-1"]["state"], "dirty")

    def test_metrics(self):
        self.assertEqual(self.good("metrics", "--type=car"),
                         '{"type":"car","current":{"free":4},"owner":{"":4}}\n')

    def test_refusals(self):
        self.bad("failed to acquire a resource: resources not found", "acquire", "--type=plane", *self.LEASE[2:])
        self.bad('failed to release resource "car-1": status 401 Unauthorized, statusCode 401 releasing car-1',
                 "release", "--name=car-1", "--target-state=dirty")
        self.bad('failed to get metrics for resource "plane": status 404 Not Found, status code 404', "metrics",
                 "--type=plane")

    def test_missing_and_wrong_flags(self):
        for words, missing in (("acquire", '"state", "target-state", "type"'), ("release", '"name", "target-state"'),
                               ("metrics", '"type"'), ("heartbeat", '"resource"')):
            done = self.bad(f"Error: required flag(s) {missing} not set", words)
            self.assertEqual(done.stdout, "")
        done = subprocess.run([os.environ["BOSKOSCTL"], "metrics"], stderr=subprocess.PIPE, text=True)
        self.assertIn('required flag(s) "owner-name", "server-url", "type" not set', done.stderr)
        self.assertEqual(done.returncode, 1)
        self.bad("there is no such flag", "acquire", "--bogus")
        self.bad("unknown flag: --expire", "acquire", "--expire=1h")
        self.bad('unknown command "bogus"', "bogus")
        self.bad("time: invalid duration", "acquire", *self.LEASE, "--timeout", "soon")
        self.bad("together", "metrics", "--type=car", "--username", "ann")

    @slow
    def test_acquire_with_a_timeout(self):
        for _ in range(4):
            self.d.acquire(owner="bob")
        p = self.start("acquire", *self.LEASE, "--timeout", "1m")
        self.eventually("it waits in the queue", lambda: self.d.call("GET", "/v1/queues").json["queues"])
        self.d.release("car-2", owner="bob")
        self.assertEqual(json.loads(p.communicate(timeout=PATIENCE)[0])["name"], "car-2")
        began = time.monotonic()
        self.bad("resources not found", "acquire", *self.LEASE, "--timeout", "300ms")
        self.assertLess(time.monotonic() - began, 30)

    def test_acquire_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self.proxy.seen.clear()
            p = self.start("acquire", "--type=car", "--state=none", "--target-state=busy", "--timeout=1h")
            self.eventually("it waits", lambda: self.proxy.targets("/acquire"))
            p.send_signal(number)
            self.assertIn("cancelled", p.communicate(timeout=PATIENCE)[1])
            self.assertEqual(p.returncode, 1)

    def test_heartbeat(self):
        resource = self.good("acquire", *self.LEASE)
        p = self.start("heartbeat", "--resource", resource, "--period=50ms")
        self.eventually("it beats", lambda: len(self.proxy.targets("/update")) >= 3)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(set(lines[:-1]), {'heartbeat sent for resource "car-1"'})
        self.assertEqual(lines[-1], 'received interrupt, stopping heartbeats for resource "car-1"')
        self.assertEqual(self.owned(), ["car-1"], "who ends a heartbeat keeps the lease")

    def test_heartbeat_to_its_timeout(self):
        resource = self.good("acquire", *self.LEASE)
        done = self.bad("timeout of 250ms is over", "heartbeat", "--resource", resource, "--period=100ms",
                        "--timeout=250ms")
        self.assertEqual(done.stdout, 'heartbeat sent for resource "car-1"\n' * 2 +
                         'reached timeout, stopping heartbeats for resource "car-1"\n')

    def test_heartbeat_that_fails(self):
        resource = self.good("acquire", *self.LEASE)
        self.d.release("car-1")
        done = self.bad('failed to send heartbeat for resource "car-1": status 401 Unauthorized, status code 401 '
                        "updating car-1", "heartbeat", "--resource", resource, "--period=10ms", "--retries=2")
        self.assertEqual(len(done.stderr.splitlines()), 3)
        self.bad("failed to parse resource", "heartbeat", "--resource", "{}")

    def test_heartbeat_of_a_resource_put_together_by_hand(self):
        """Name and state are all that a heartbeat needs, and all that the original program asks for."""
        self.good("acquire", *self.LEASE)
        p = self.start("heartbeat", "--resource", '{"name":"car-1","state":"busy"}', "--period=50ms")
        self.eventually("it beats", lambda: len(self.proxy.targets("/update")) >= 2)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err), (0, ""))
        self.assertIn('heartbeat sent for resource "car-1"\n', out)
        for json_text in ('{"name":"car-1"}', '{"state":"busy"}', '{"name":"","state":"busy"}', '["car-1","busy"]',
                          '{"name":1,"state":"busy"}', '{"name":"car-\\u00001","state":"busy"}', "", "car-1"):
            self.bad("failed to parse resource", "heartbeat", "--resource", json_text)


class Ours(CtlTest):
    def test_help(self):
        for words in ((), ("--help",), ("help",)):
            self.assertIn("Usage: boskosctl COMMAND", self.plain(*words))
        for command in HELP_COMMANDS:
            text = self.plain(command, "--help")
            self.assertIn("Examples\n", text, command)
            self.assertEqual(text, self.plain("help", command))
        self.assertRegex(self.plain("--version"), r"^boskosctl \d+\.\d+\.\d+\n$")

    def plain(self, *words):
        return subprocess.run([os.environ["BOSKOSCTL"], *words], stdout=subprocess.PIPE, text=True, check=True,
                              timeout=PATIENCE).stdout

    def test_completion(self):
        checks = {"bash": ["bash", "-c", 'source /dev/stdin; COMP_WORDS=(boskosctl acquire --t); COMP_CWORD=2; '
                                         '_boskosctl; echo "${COMPREPLY[@]}"']}
        for shell in ("bash", "zsh", "fish"):
            text = self.plain("completion", shell)
            for command in HELP_COMMANDS:
                self.assertIn(command, text)
            if shell in checks:
                done = subprocess.run(checks[shell], input=text, stdout=subprocess.PIPE, text=True, check=True)
                self.assertEqual(set(done.stdout.split()), {"--type", "--target-state", "--timeout", "--token-file"})
        self.assertEqual(subprocess.run([os.environ["BOSKOSCTL"], "completion", "tcsh"],
                                        stderr=subprocess.PIPE).returncode, 1)

    def test_outputs(self):
        self.assertEqual(self.good("acquire", *self.LEASE, "-o", "name"), "car-1\n")
        table = self.good("list", "--type", "car,van", "--owner", "ann", owner=None).splitlines()
        self.assertEqual(table[0].split(), ["NAME", "TYPE", "STATE", "OWNER", "UPDATED"])
        self.assertEqual(table[1].split()[:4], ["car-1", "car", "busy", "ann"])
        self.assertEqual(self.good("list", "--owner=", "--type=car", "-o", "name", owner=None),
                         "car-2\ncar-3\ncar-4\n")
        self.assertEqual({r["name"]: r for r in json.loads(self.good("list", "-o=json", owner=None))},
                         self.d.resources())
        self.assertEqual(json.loads(self.good("get", "car-1", owner=None)), self.d.resources()["car-1"])
        self.bad("There is no resource of that name.", "get", "car-9", owner=None)
        self.bad("none of json, table, name", "list", "-o", "yaml", owner=None)

    def test_update_and_reset(self):
        self.good("acquire", *self.LEASE)
        self.good("update", "--name=car-1", "--state=busy", "--userdata", "a=b=c", "--userdata=zone=<x>")
        self.assertEqual(self.d.resources()["car-1"]["userdata"], {"a": "b=c", "zone": "<x>"})
        self.assertIn('"zone":"\\u003cx\\u003e"', self.good("get", "car-1"))
        self.bad("status 409 Conflict, status code 409 updating car-1", "update", "--name=car-1", "--state=free")
        self.assertEqual(self.good("reset", "--type=car", "--state=busy", "--expire=0s", "--target-state=dirty",
                                   owner=None), '{"car-1":"ann"}\n')

    @slow
    def test_wait(self):
        p = self.start("wait", "--type=car", "--state=ready", "--count=2", owner=None)
        time.sleep(0.3)
        self.assertIsNone(p.poll())
        for name in ("car-1", "car-2"):
            self.d.call("POST", "/acquirebystate", state="free", dest="x", owner="bob", names=name)
            self.d.release(name, dest="ready", owner="bob")
        self.assertEqual(p.wait(PATIENCE), 0)
        self.good("wait", "--name=car-1", "--state=ready", owner=None)
        self.bad("it is not so yet", "wait", "--name=car-9", "--state=ready", "--timeout=100ms", owner=None)
        self.bad("needs --type or --name", "wait", "--state=ready", owner=None)

    def test_a_full_stdout_keeps_no_lease(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run(self.command("acquire", *self.LEASE), stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write to stdout", done.stderr)
        self.assertEqual(self.owned(), [])


class WithLeased(CtlTest):
    """Mason's client: a cluster with what was leased for it."""

    CLUSTER = ("--type=cluster", "--state=free", "--target-state=busy", "--with-leased")
    PARTS = ("car-2", "car-3")
    WHOLE = ["car-2", "car-3", "cluster-1"]

    def setUp(self):
        super().setUp()
        self.d.acquire(type="cluster", owner="mason")
        self.d.update("cluster-1", {"leasedResources": "[car-2, car-3]"}, owner="mason")
        self.lease_parts()
        self.d.release("cluster-1", owner="mason")

    def lease_parts(self, state="free"):
        for n in self.PARTS:
            self.d.call("POST", "/acquirebystate", state=state, dest="leased", owner="mason", names=n)
            self.assertEqual(self.d.release(n, dest="cluster-1", owner="mason").status, 200)

    def acquire(self):
        printed = self.good("acquire", *self.CLUSTER)
        self.assertEqual(self.owned("ann"), self.WHOLE)
        return printed

    def release(self, **more):
        return self.ctl("release", "--name=cluster-1", "--target-state=free", "--with-leased", **more)

    def times(self):
        return [self.d.resources()[n]["lastupdate"] for n in self.WHOLE]

    def states(self):
        return {n: self.d.resources()[n]["state"] for n in self.WHOLE}

    def take_away(self, name):
        """A reaper takes it, and bob gets it."""
        self.d.release(name, dest="lost")
        self.d.call("POST", "/acquirebystate", state="lost", dest="busy", owner="bob", names=name)

    def test_acquire_run_release(self):
        self.acquire()
        done = self.release()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, 'released resource "cluster-1"\n', ""))
        self.assertEqual((self.owned(), set(self.states().values())), ([], {"free"}))
        self.lease_parts()
        done = self.good("run", *self.CLUSTER, "--", "sh", "-c", "echo $BOSKOS_RESOURCE_NAME: $BOSKOS_LEASED_RESOURCES")
        self.assertEqual(done, "cluster-1: car-2 car-3\n")
        self.assertEqual(self.owned(), [])

    def test_heartbeat(self):
        printed, before = self.acquire(), self.times()
        p = self.start("heartbeat", "--resource", printed, "--period=50ms", "--with-leased")
        self.eventually("all are kept alive", lambda: all(a > b for a, b in zip(self.times(), before)))
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(lines[:3], [f'heartbeat sent for resource "{n}"' for n in ("cluster-1", *self.PARTS)])
        self.assertEqual(lines[-1], 'received interrupt, stopping heartbeats for resource "cluster-1"')
        self.assertEqual({body for _, target, _, body in self.proxy.seen if target.startswith("/update")}, {b""},
                         "userdata was sent")
        self.assertEqual(self.owned("ann"), self.WHOLE)

    def test_heartbeat_without_it_leaves_the_parts(self):
        printed, before = self.acquire(), self.times()
        self.ctl("heartbeat", "--resource", printed, "--period=20ms", "--timeout=200ms")
        self.assertEqual([a > b for a, b in zip(self.times(), before)], [False, False, True])

    def test_heartbeat_ends_when_a_part_is_lost(self):
        printed = self.acquire()
        self.take_away("car-3")
        before = self.times()
        done = self.bad('failed to send heartbeat for resource "car-3": status 401', "heartbeat", "--resource", printed,
                        "--period=20ms", "--retries=2", "--with-leased")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 4, done)
        self.assertTrue(all('"car-3"' in line for line in lines), done)
        self.assertIn('nothing keeps the lease of "cluster-1" and of what belongs to it alive now', lines[-1])
        self.assertEqual(done.stdout.count('"car-2"'), 3, "the others are kept alive meanwhile")
        self.assertEqual([a > b for a, b in zip(self.times(), before)], [True, False, True])
        self.assertEqual(self.d.resources()["car-3"]["owner"], "bob")

    def test_heartbeat_of_what_has_no_parts(self):
        self.good("acquire", *self.LEASE)
        for userdata in ("", ',"userdata":null', ',"userdata":{}', ',"userdata":{"leasedResources":""}'):
            done = self.bad("timeout of 100ms", "heartbeat", "--resource", '{"name":"car-1","state":"busy"%s}' % userdata,
                            "--period=40ms", "--timeout=100ms", "--with-leased")
            self.assertEqual(set(done.stdout.splitlines()[:-1]), {'heartbeat sent for resource "car-1"'})
        for userdata in ("[]", '"x"', '{"leasedResources":["car-2"]}', '{"leasedResources":"{a: b}"}'):
            self.bad("leasedResources is no list of names", "heartbeat", "--resource",
                     '{"name":"car-1","state":"busy","userdata":%s}' % userdata, "--with-leased")

    def test_update(self):
        self.acquire()
        before = self.times()
        self.assertEqual(self.good("update", "--name=cluster-1", "--state=busy", "--userdata=a=b", "--with-leased"),
                         'updated resource "cluster-1"\n')
        self.assertTrue(all(a > b for a, b in zip(self.times(), before)))
        self.assertEqual([self.d.resources()[n]["userdata"].get("a") for n in self.WHOLE], [None, None, "b"])
        self.take_away("car-2")
        before = self.times()
        done = self.bad('failed to update resource "car-2": status 401', "update", "--name=cluster-1", "--state=busy",
                        "--with-leased")
        self.assertEqual((len(done.stderr.splitlines()), done.stdout), (1, ""))
        self.assertEqual([a > b for a, b in zip(self.times(), before)], [False, True, True])

    def test_release_after_the_whole_is_gone(self):
        self.acquire()
        self.d.release("cluster-1", dest="dirty")
        done = self.release()
        self.assertEqual((done.returncode, done.stdout, len(done.stderr.splitlines())), (1, "", 1), done)
        self.assertIn('failed to release resource "cluster-1": status 401', done.stderr)
        self.assertEqual(self.states(), {"car-2": "free", "car-3": "free", "cluster-1": "dirty"})
        self.assertEqual(self.owned(), [])

    def test_release_when_a_part_is_gone(self):
        self.acquire()
        self.take_away("car-2")
        done = self.release()
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done)
        self.assertIn('failed to release resource "car-2": status 401', done.stderr)
        self.assertEqual(self.owned(), ["car-2"])
        self.assertEqual(self.states(), {"car-2": "busy", "car-3": "free", "cluster-1": "free"})

    def test_release_when_the_names_are_not_known(self):
        """Nothing is given back, for then nobody would know what belongs to it."""
        self.acquire()
        self.d.update("cluster-1", {"leasedResources": "{a: b}"})
        done = self.release()
        self.assertEqual((done.returncode, done.stderr), (
            1, 'failed to look up what belongs to resource "cluster-1": leasedResources is no list of names\n'))
        self.proxy.is_original = True
        done = self.release()
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done)
        self.assertIn("is not boskosd", done.stderr)
        self.assertEqual(self.owned("ann"), self.WHOLE)


class Run(CtlTest):
    def check_free(self, state="dirty"):
        self.assertEqual(self.owned(), [])
        self.assertIn(state, {r["state"] for r in self.d.resources().values()})

    def test_exit_codes(self):
        for command, code in ((("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 137),
                              (("/nonexistent",), 127), (("/etc/passwd",), 126)):
            self.assertEqual(self.ctl(*self.run_words(*command, more=("--release-state=free",))).returncode, code)
            self.assertEqual(self.owned(), [])

    def test_started_by_who_ignores_the_end_of_children(self):
        words = ("env", "--ignore-signal=SIGCHLD", *self.command(*self.run_words("sh", "-c", "exit 7")))
        self.assertEqual(subprocess.run(words, timeout=PATIENCE).returncode, 7)
        self.check_free()

    def test_the_environment(self):
        out = self.good(*self.run_words("sh", "-c", 'echo "$BOSKOS_RESOURCE"; env | grep ^BOSKOS_RESOURCE_ | sort'))
        first, *rest = out.splitlines()
        self.assertEqual(json.loads(first)["name"], "car-1")
        self.assertEqual(rest, ["BOSKOS_RESOURCE_NAME=car-1", "BOSKOS_RESOURCE_OWNER=ann", "BOSKOS_RESOURCE_STATE=busy",
                                "BOSKOS_RESOURCE_TYPE=car"])
        self.check_free()

    def test_flags_of_the_command_are_its_own(self):
        self.assertEqual(self.good(*self.run_words("echo", "--type", "x", "--help", "--", "y")),
                         "--type x --help -- y\n")
        self.bad("needs a command", "run", *self.LEASE)

    def test_heartbeats_while_it_runs(self):
        self.good(*self.run_words("sleep", "0.6", more=("--period", "50ms")))
        self.assertGreater(len(self.proxy.targets("/update")), 3)
        self.check_free()

    def test_signals_are_passed_on(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            name = number.name[3:]
            p = self.start(*self.run_words(
                "sh", "-c", f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done",
                more=("--release-state=free",)))
            self.assertEqual(p.stdout.readline(), "ready\n")
            p.send_signal(number)
            self.assertEqual(p.communicate(timeout=PATIENCE)[0], f"got {name}\n")
            self.assertEqual(p.returncode, 9)
            self.assertEqual(self.owned(), [])

    def test_a_signal_that_kills_it(self):
        p = self.start(*self.run_words("sleep", "100"))
        self.eventually("it runs", lambda: self.owned())
        time.sleep(0.2)
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 128 + signal.SIGTERM)
        self.check_free()

    def test_a_signal_while_it_waits(self):
        p = self.start("run", "--type=car", "--state=none", "--target-state=busy", "--timeout=1h", "--", "true")
        self.eventually("it waits", lambda: self.d.call("GET", "/v1/queues").json["queues"])
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 128 + signal.SIGTERM)

    def test_nothing_to_have(self):
        self.bad("resources not found", "run", "--type=car", "--state=none", "--target-state=busy", "--", "true",
                 code=125)

    def test_a_lost_lease_ends_it(self):
        p = self.start(*self.run_words("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.05; done",
                                       more=("--period=50ms", "--grace=200ms")))
        pid = int(p.stdout.readline())
        self.d.call("POST", "/reset", type="car", state="busy", dest="dirty", expire="-1s")
        self.d.call("POST", "/acquirebystate", state="dirty", dest="busy", owner="bob", names="car-1")
        err = p.communicate(timeout=PATIENCE)[1]
        self.assertEqual(p.returncode, 125)
        self.assertIn("the lease of car-1 is lost", err)
        self.assertRaises(OSError, os.kill, pid, 0)
        self.assertEqual(self.owned("bob"), ["car-1"], "what is another's was released")

    def test_killed_itself(self):
        p = self.start(*self.run_words("sh", "-c", "echo $$; exec sleep 100"))
        pid = int(p.stdout.readline())
        p.kill()
        self.eventually("the command ends too", lambda: not self.is_alive(pid))

    def is_alive(self, pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_a_release_that_is_lost(self):
        self.proxy.only, self.proxy.script = "/release", ["lose"]
        self.good(*self.run_words("true"))
        self.check_free()
        self.assertEqual(len(self.proxy.targets("/release")), 1)


class Faults(CtlTest):
    def test_each_fault_for_good(self):
        """What is refused and not tried again: one clear line, never exit code 0, no lease left."""
        commands = {"acquire": ("acquire", *self.LEASE), "metrics": ("metrics", "--type=car"), "list": ("list",),
                    "get": ("get", "car-1"), "update": ("update", "--name=car-1", "--state=busy")}
        for action in ("redirect", "403", "400"):
            for name, words in commands.items():
                with self.subTest(action=action, command=name):
                    self.proxy.script = [action] * 100
                    done = self.ctl(*words)
                    self.assertEqual(done.returncode, 1)
                    self.assertEqual((len(done.stderr.splitlines()), done.stdout), (1, ""), done)
        self.proxy.script = []
        self.assertEqual(self.owned(), [])

    # What is tried again may pass, or not. Nothing in a reply is what success looks like to a release and an update, and
    # what the original server says below /v1/.
    PASSING = ("refuse", "close", "lose", "half", "cut", "garbage", "html", "500", "502!", "503:0")

    def check_passing(self, *faults):
        for action in faults:
            with self.subTest(action=action):
                self.proxy.only, self.proxy.script = "/acquire", [action]
                name = json.loads(self.good("acquire", *self.LEASE))["name"]
                self.assertEqual(self.owned(), [name])
                for path, words in (("/update", ("update", f"--name={name}", "--state=busy")),
                                    ("/metric", ("metrics", "--type=car")), ("/v1/resources", ("list",)),
                                    ("/release", ("release", f"--name={name}", "--target-state=free"))):
                    self.proxy.only, self.proxy.script = path, [action]
                    self.good(*words)
                    self.assertEqual(self.proxy.script, [])
                self.assertEqual(self.owned(), [])

    def check_run(self, *faults):
        """run: its command is run once, its lease given back once, whatever happens to any of its requests."""
        for action in faults:
            for path in ("/acquire", "/update", "/release"):
                with self.subTest(action=action, path=path):
                    self.proxy.only, self.proxy.script = path, [action]
                    words = self.run_words("sh", "-c", "echo once; sleep 0.3", more=("--period=50ms", "--release-state=free"))
                    self.assertEqual((self.ctl(*words).stdout, self.owned()), ("once\n", []))

    @slow
    def test_faults_that_pass(self):
        self.check_passing("close", "lose", "html", "500")

    @long_form
    def test_all_faults_that_pass(self):
        self.check_passing(*self.PASSING)

    @slow
    def test_run_under_faults(self):
        self.check_run("lose", "html")

    @long_form
    def test_run_under_all_faults(self):
        self.check_run(*self.PASSING)

    @slow
    def test_nobody_there(self):
        port = boskosd.refusing_port(self)
        done = self.bad("Couldn't connect", "metrics", "--type=car", url=f"http://127.0.0.1:{port}")
        self.assertEqual(len(done.stderr.splitlines()), 1)


class EveryFault(CtlTest):
    """Each command with all its requests, or those of one call, served in the same bad way, for good."""

    MANY = 400
    CONFIG = """\
resources:
- {type: lot, state: free, names: [%s]}
- {type: part, state: free, names: [%s]}
- {type: flock, state: free, names: [%s]}
- {type: herd, state: raw, names: [%s]}
""" % tuple(", ".join(name % i for i in range(400) for name in names)
            for names in (("lot-%d",), ("part-%d-a", "part-%d-b"), ("flock-%d",), ("herd-%d",)))

    ALL = (*FAULTS, "hang", "slow:5")
    FORWARDED = ("half", "cut", "slow:5")  # the server does it, and the client does not hear of it
    # An empty reply is what success looks like to a release and an update, in whole and in half.
    SILENT = ("empty", "half", "cut")

    LOT = ("--type=lot", "--state=free", "--target-state=busy")
    HERD = ("--type=herd", "--state=free", "--target-state=busy", "--with-leased")
    BEAT = ("heartbeat", "--resource={json}", "--period=20ms", "--timeout=1m", "--retries=0")
    RELEASE = ("release", "--name={name}", "--target-state=free")
    UPDATE = ("update", "--name={name}", "--state=busy")

    # The command, whose requests are spoilt (None: all), what there is before, faults that cannot be seen.
    TABLE = (
        (("acquire", *LOT), None, "nothing", ()),
        (("acquire", *LOT, "--timeout=200ms"), None, "nothing", ()),
        (("acquire", *HERD), None, "made", ()),
        (("acquire", *HERD), "/acquirebystate", "made", ()),
        (("run", *LOT, "--", "echo", "once"), None, "nothing", ()),
        (RELEASE, None, "lot", SILENT),
        ((*RELEASE, "--with-leased"), None, "flock", ()),
        ((*RELEASE, "--with-leased"), "/release", "flock", SILENT),
        (UPDATE, None, "lot", SILENT),
        ((*UPDATE, "--with-leased"), None, "flock", ()),
        ((*UPDATE, "--with-leased"), "/update", "flock", SILENT),
        (BEAT, None, "lot", SILENT),
        ((*BEAT, "--with-leased"), None, "flock", SILENT),
        (("wait", "--type=lot", "--state=free", "--timeout=300ms"), None, "nothing", ()),
        (("wait", "--name=lot-0", "--state=free", "--timeout=300ms"), None, "nothing", ()),
        (("reset", "--type=lot", "--state=busy", "--expire=1h", "--target-state=dirty"), None, "lot", ()),
        (("metrics", "--type=lot"), None, "nothing", ()),
        (("list",), None, "nothing", ()),
        (("get", "lot-0"), None, "nothing", ()),
    )

    def take(self, owner, *names, state="free", dest="busy"):
        reply = self.d.call("POST", "/acquirebystate", state=state, dest=dest, owner=owner, names=",".join(names))
        self.assertEqual(reply.status, 200, reply)

    def whole(self, owner, name, *parts, state="free"):
        self.take(owner, name, state=state)
        self.take(owner, *parts)
        self.assertEqual(self.d.update(name, {"leasedResources": f"[{', '.join(parts)}]"}, owner=owner).status, 200)

    def before(self, kind, owner, n):
        """What there is before: the name, and all names that the owner has."""
        parts = (f"part-{n}-a", f"part-{n}-b")
        if kind == "lot":
            self.take(owner, f"lot-{n}")
            return f"lot-{n}", {f"lot-{n}"}
        if kind == "flock":
            self.whole(owner, f"flock-{n}", *parts)
            return f"flock-{n}", {f"flock-{n}", *parts}
        if kind == "made":
            self.whole(owner, f"herd-{n}", *parts, state="raw")
            for part in parts:
                self.d.release(part, dest=f"herd-{n}", owner=owner)
            self.d.release(f"herd-{n}", owner=owner)
        return "", set()

    def check_case(self, n, words, path, kind, fault):
        owner = f"case-{n}"
        name, held = self.before(kind, owner, n)
        text = json.dumps({"name": name, "state": "busy",
                           "userdata": {"leasedResources": f"[part-{n}-a, part-{n}-b]"}})
        spoiler = proxy.Proxy(("127.0.0.1", self.d.port))
        try:
            spoiler.only, spoiler.script = path, [fault] * 10000
            words = [w.replace("{name}", name).replace("{json}", text) for w in words]
            done = self.ctl(words[0], "--request-timeout=300ms", *words[1:], owner=owner, url=spoiler.url)
        finally:
            spoiler.close()
        self.assertEqual((done.returncode, done.stdout), (125 if words[0] == "run" else 1, ""), done)
        first, *rest = done.stderr.splitlines()
        self.assertRegex(first, "^failed to .*: .", done)
        for line in rest:
            self.assertRegex(line, "^failed to .*: .|left in doubt|^no heartbeat reaches", done)
        owned = set(self.owned(owner))
        if held or path:
            self.assertLessEqual(owned, held, done)
            if fault not in self.FORWARDED:
                self.assertEqual(owned, held, done)
        elif owned:  # the server has been told all that a client can say
            self.assertIn(fault, self.FORWARDED, done)
            self.assertEqual(len(owned), 1, done)
            self.assertIn("is left in doubt: a reaper must see to it", done.stderr)

    def check_faults(self, *faults):
        cases = [(words, path, kind, fault) for words, path, kind, silent in self.TABLE for fault in faults
                 if fault not in silent]
        self.assertLess(len(cases), self.MANY)

        def run(n):
            try:
                self.check_case(n + 1, *cases[n])
            except Exception as e:
                return f"{cases[n]}: {e}"
            return None

        with concurrent.futures.ThreadPoolExecutor(12) as pool:  # they wait for time limits
            failures = [text for text in pool.map(run, range(len(cases))) if text]
        self.assertEqual(failures, [])

    @slow
    def test_some_faults(self):
        self.check_faults("html", "hang")

    @long_form
    def test_all_faults(self):
        self.check_faults(*self.ALL)


if __name__ == "__main__":
    main()
