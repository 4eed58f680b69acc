#!/usr/bin/env python3
"""boskos-mason against a real boskosd: its cycle, and what builders, the server and signals do to it."""

import shutil
import time

from worker_test import *  # noqa: F403

CONFIG = """\
resources:
- type: account
  state: free
  names: [acc-1, acc-2, acc-3]
- type: cluster
  state: dirty
  min-count: 1
  max-count: 1
  needs: {account: 2}
  config: {type: Creator, content: "zone: b"}
"""

# Writes what it was told to a file, and says what is to be stored.
BUILDER = r"""cat > told.$$; mv told.$$ told; echo building >&2
printf '%s\n' '{"ip": "10.0.0.1", "note": "a\nb"}'
"""


class MasonTest(WorkerTest):
    PROGRAM = "BOSKOS_MASON"
    CONFIG = CONFIG

    def setUp(self):
        super().setUp()
        self.configure(self.CONFIG)

    def configure(self, text):
        self.config = self.file("mason.yaml", text)

    def mason(self, text, *flags):
        return self.start("--config", self.config, "--builder", "Creator=" + self.script("builder", text), "--period",
                          "200ms", "--heartbeat-period", "100ms", "--metrics-port", "0", "--grace", "500ms", *flags)

    def all_states(self):
        return [r["state"] for r in self.d.resources().values()]

    def cluster(self, type="cluster"):
        return next(r for r in self.d.resources().values() if r["type"] == type)

    def is_made(self, type="cluster", count=2):
        """It is free, and all that it was made of is in the state that is its name; nothing else is out of place."""
        c = self.cluster(type)
        if c["state"] != "free" or c["owner"]:
            return False
        names = [x[2:].strip("'") for x in c["userdata"].get("leasedResources", "").splitlines()]
        self.assertEqual(len(names), count, c)
        self.assertTrue(self.in_state(*names, state=c["name"]), self.d.resources())
        return True

    def free_dirty(self):
        """As a janitor would."""
        while (r := self.d.acquire("account", "dirty")).status == 200:
            self.d.release(r.json["name"], "free")

    def check_all_back(self):
        """Nothing is owned, nothing is left leased or belongs to anything."""
        self.assertEqual(self.owned(), [])
        self.assertLessEqual(set(self.all_states()), {"free", "dirty"})


class Cycle(MasonTest):
    def test_it_is_built_and_stored_and_freed(self):
        w = self.mason(BUILDER)
        self.eventually("it is made", self.is_made)
        c = self.cluster()
        self.assertEqual(c["userdata"], {"ip": "10.0.0.1", "note": "a\nb", "leasedResources": "- 'acc-1'\n- 'acc-2'\n"})
        told = json.loads("\n".join(self.note("told")))
        self.assertEqual(told["config"], {"type": "Creator", "content": "zone: b"})
        self.assertEqual([(r["name"], r["type"], r["state"], r["owner"]) for r in told["leased"]],
                         [(n, "account", "leased", "mason") for n in ("acc-1", "acc-2")])
        self.assertEqual((told["resource"]["name"], told["resource"]["state"], told["resource"]["userdata"]),
                         (c["name"], "cleaning", {}))
        self.assertEqual(w.stop(), 0)
        self.assertTrue(self.is_made())
        self.assertIn("building", w.log())

    def test_the_names_are_stored_before_it_builds_and_parts_are_there_before_it_is_free(self):
        self.mason("touch begun; while ! test -e go; do sleep 0.05; done; cat > /dev/null\n")
        self.eventually("it builds", lambda: os.path.exists(os.path.join(self.folder, "begun")))
        c = self.cluster()
        self.assertEqual((c["state"], c["owner"]), ("cleaning", "mason"))
        self.assertEqual(c["userdata"], {"leasedResources": "- 'acc-1'\n- 'acc-2'\n"})
        first = self.d.resources()["acc-1"]["lastupdate"]
        self.eventually("all are kept alive", lambda: self.d.resources()["acc-1"]["lastupdate"] > first)
        self.script("go", "")
        self.eventually("it is made", self.is_made)
        released = [t.split("name=")[1].split("&")[0] for t in self.proxy.targets("/release")]
        self.assertEqual(released, ["acc-1", "acc-2", c["name"]])

    def test_what_it_was_made_of_goes_back_first(self):
        self.mason(BUILDER)
        self.eventually("it is made", self.is_made)
        name = self.cluster()["name"]
        # As a client does it that knows its leased resources, and one that does not.
        self.assertEqual(self.d.acquire("cluster").status, 200)
        self.assertEqual(self.d.release(name, "dirty").status, 200)
        # acc-3 is the only one left: it waits until the others are cleaned.
        self.eventually("the old ones are dirty", lambda: self.in_state("acc-1", "acc-2", state="dirty"))
        self.assertEqual(self.d.acquire("account", "dirty").status, 200)
        self.assertEqual(self.d.release("acc-1", "free").status, 200)
        self.eventually("it is made", self.is_made)
        self.assertEqual(self.cluster()["userdata"]["leasedResources"], "- 'acc-3'\n- 'acc-1'\n")
        self.assertTrue(self.in_state("acc-2", state="dirty"))

    def test_one_part_that_is_gone_does_not_lose_the_other(self):
        w = self.mason(BUILDER)
        self.eventually("it is made", self.is_made)
        name = self.cluster()["name"]
        self.assertEqual(self.d.acquire("account", name).status, 200)
        self.assertEqual(self.d.acquire("cluster").status, 200)
        self.assertEqual(self.d.release(name, "dirty").status, 200)
        self.eventually("the other one is dirty", lambda: self.in_state("acc-2", state="dirty"))
        self.assertIn("acc-1 does not belong to it any more", w.log())
        self.assertEqual(self.owned("ann"), ["acc-1"])

    def test_names_that_are_no_list(self):
        name = self.cluster()["name"]
        self.d.acquire("cluster", "dirty")
        self.d.update(name, {"leasedResources": "{a: b}", "ip": "1"})
        self.d.release(name, "dirty")
        self.mason("exit 0\n")
        self.eventually("it is made", self.is_made)
        self.assertEqual(self.cluster()["userdata"]["ip"], "1")

    def test_it_keeps_what_it_has_while_it_waits(self):
        for _ in range(2):
            self.d.acquire("account")
        self.mason(BUILDER)
        self.eventually("it has one", lambda: self.d.resources()["acc-3"]["owner"] == "mason")
        time.sleep(0.5)
        self.assertEqual(self.d.resources()["acc-3"]["owner"], "mason")
        self.d.release("acc-1")
        self.eventually("it is made", self.is_made)
        self.assertEqual(self.cluster()["userdata"]["leasedResources"], "- 'acc-3'\n- 'acc-1'\n")

    def test_a_kill_before_it_is_free_leaves_all_that_belongs_to_it(self):
        """Its parts are in the state that is its name, and the next mason finds them there."""
        name = self.cluster()["name"]
        self.proxy.only, self.proxy.script = ("/release", "name=" + name), ["hang"] * 10
        w = self.mason(BUILDER)
        self.eventually("all but one is released", lambda: len(self.proxy.targets("/release")) == 3)
        w.end()
        self.proxy.script = []
        self.assertTrue(self.in_state("acc-1", "acc-2", state=name))
        self.assertEqual((self.cluster()["state"], self.owned()), ("cleaning", [name]))
        self.d.call("POST", "/reset", type="cluster", state="cleaning", dest="dirty", expire="0s")
        self.mason(BUILDER)
        self.eventually("the old ones are dirty", lambda: self.in_state("acc-1", "acc-2", state="dirty"))
        self.free_dirty()
        self.eventually("it is made", self.is_made)

    def test_the_config_is_followed(self):
        self.configure(CONFIG.replace("Creator", "Other"))
        w = self.mason(BUILDER)
        time.sleep(0.5)
        self.assertEqual(self.cluster()["state"], "dirty")
        self.configure("resources: [")
        self.eventually("it is said", lambda: "mason.yaml" in w.log())
        self.configure(CONFIG)
        self.eventually("it is made", self.is_made)

    def test_a_builder_that_nothing_asks_for_is_said(self):
        w = self.mason(BUILDER, "--builder", "Creatorr=/bin/true")
        self.eventually("it is made", self.is_made)
        self.assertEqual(w.log().count("has nothing to do"), 1)
        self.assertIn("--builder Creatorr=/bin/true has nothing to do", w.log())

    def test_the_page(self):
        port = boskosd.free_ports(1)[0]
        self.mason(BUILDER, "--metrics-port", str(port))
        key = 'boskos_mason_jobs_total{type="cluster",result="made"}'
        self.eventually("it is counted", lambda: self.page(port).get(key) == 1)
        self.assertEqual(self.page(port)['boskos_mason_jobs{stage="build"}'], 0)
        self.check_page_port("--config", self.config, "--builder=Creator=/bin/true")


class Several(MasonTest):
    """Two types whose needs together are more than there is: they must not wait for each other for ever."""

    CONFIG = CONFIG.replace("acc-1, acc-2, acc-3", "acc-1, acc-2, acc-3, acc-4") + """\
- type: disk
  state: free
  names: [disk-1, disk-2]
- type: farm
  state: dirty
  min-count: 1
  max-count: 1
  needs: {account: 2, disk: 2}
  config: {type: Creator, content: ""}
"""

    def test_no_two_wait_for_each_other(self):
        self.d.acquire("account")  # now three accounts are left for four needs
        w = self.mason(BUILDER)
        self.eventually("one is made", lambda: (self.cluster()["state"] == "free") !=
                        (self.cluster("farm")["state"] == "free"))
        self.d.release("acc-1")
        self.eventually("the other one is made", lambda: self.is_made() and self.is_made("farm", 4))
        self.assertEqual(w.stop(), 0)


    def test_a_type_of_which_the_server_refuses_all_leaves_the_others(self):
        self.proxy.only, self.proxy.script = ("/acquire", "type=cluster"), ["500", "403"] * 1000
        w = self.mason(BUILDER)
        self.eventually("the farm is made", lambda: self.is_made("farm", 4))
        self.assertIn("type cluster: nothing acquired: ", w.log())
        self.proxy.script = []
        self.eventually("the cluster is made", self.is_made)

    def test_a_part_that_was_lost_and_is_another_ones_now(self):
        """The first one's builder takes its time to end; then what it lost must be left alone."""
        for _ in range(2):
            self.d.acquire("account")
        w = self.mason('case $(cat) in *"zone: b"*) trap "" TERM; echo $$ > pid; while ! test -e go; do sleep 0.05; done;; '
                       '*) touch farm; while ! test -e end; do sleep 0.05; done;; esac\n', "--grace", "1h")
        self.eventually("the cluster is being built", lambda: self.note("pid"))
        self.d.release("acc-2")
        self.eventually("the farm has one", lambda: self.d.resources()["acc-2"]["owner"] == "mason")
        self.assertEqual(self.d.release("acc-3", "dirty", "mason").status, 200)
        self.assertEqual(self.d.acquire("account", "dirty").json["name"], "acc-3")
        self.eventually("the loss is seen", lambda: "acc-3 is lost" in w.log())
        self.d.release("acc-3")
        self.eventually("the farm has it", lambda: os.path.exists(os.path.join(self.folder, "farm")))
        self.script("go", "")
        self.eventually("the cluster is given up", lambda: "not made" in w.log())
        self.assertEqual(self.d.resources()["acc-3"]["owner"], "mason")
        self.assertEqual([t for t in self.proxy.targets("/release") if "name=acc-3&" in t], [])
        self.script("end", "")
        self.eventually("the farm is made", lambda: self.is_made("farm", 4))


    def test_a_part_that_is_leased_again_before_a_heartbeat_could_tell(self):
        """Somebody takes away what a cluster is made of, and the mason leases it anew for the farm."""
        for _ in range(2):
            self.d.acquire("account")
        w = self.mason('case $(cat) in *"zone: b"*) touch cluster;; *) touch farm;; esac\n'
                       'while ! test -e go; do sleep 0.05; done\n', "--heartbeat-period", "1h", "--period", "50ms")
        self.eventually("the cluster is being built", lambda: os.path.exists(os.path.join(self.folder, "cluster")))
        self.d.release("acc-2")
        self.eventually("the farm has one", lambda: self.d.resources()["acc-2"]["owner"] == "mason")
        self.assertEqual(self.d.release("acc-3", "free", "mason").status, 200)
        self.eventually("the farm is being built", lambda: os.path.exists(os.path.join(self.folder, "farm")))
        self.eventually("the cluster is given up", lambda: "not made" in w.log())
        self.assertEqual(self.d.resources()["acc-3"]["owner"], "mason")
        self.assertEqual([t for t in self.proxy.targets("/release") if "name=acc-3&" in t], [])
        self.script("go", "")
        self.eventually("the farm is made", lambda: self.is_made("farm", 4))

    def test_a_whole_that_is_taken_again_before_a_heartbeat_could_tell(self):
        w = self.mason('case $(cat) in *"zone: b"*) echo $$ >> pids; while ! test -e go; do sleep 0.05; done;; esac\n',
                       "--heartbeat-period", "1h", "--period", "50ms")
        self.eventually("both are under way", lambda: self.note("pids") and self.is_made("farm", 4))
        name = self.cluster()["name"]
        done = self.d.call("POST", "/reset", type="cluster", state="cleaning", dest="dirty", expire="0s")
        self.assertEqual(done.status, 200)
        self.eventually("it is given up", lambda: "not made" in w.log())
        self.free_dirty()
        self.eventually("it is built anew", lambda: self.note("pids")[1:])
        self.assertEqual(self.d.resources()[name]["owner"], "mason")
        self.script("go", "")
        self.eventually("it is made", self.is_made)
        self.assertEqual(w.stop(), 0)
        self.assertEqual(len([t for t in self.proxy.targets("/release") if f"name={name}&" in t]), 1)


class Crowd(proxy.Proxy):
    """Counts how many requests of a kind are there at once, each of which it keeps a while."""

    def __init__(self, server, kinds):
        self.kinds, self.now, self.most = kinds, {k: 0 for k in kinds}, {k: 0 for k in kinds}
        super().__init__(server)

    def _act(self, s, action, head, body):
        target = head.split(b" ")[1].decode()
        kind = next((k for k, fits in self.kinds.items() if fits(target)), None)
        if kind is None:
            return super()._act(s, action, head, body)
        with self.lock:
            self.now[kind] += 1
            self.most[kind] = max(self.most[kind], self.now[kind])
        time.sleep(0.2)
        with self.lock:
            self.now[kind] -= 1  # before the reply, upon which the next one comes
        return super()._act(s, action, head, body)


class Pools(MasonTest):
    TYPES = 6
    CONFIG = "resources:\n" + "".join(
        f"- {{type: account-{i}, state: free, names: [acc-{i}]}}\n"
        f"- {{type: cluster-{i}, state: dirty, min-count: 1, max-count: 1, needs: {{account-{i}: 1}}, "
        f"config: {{type: Creator, content: x}}}}\n" for i in range(TYPES))

    def test_never_more_at_once_than_each_has(self):
        """The fulfillers lease, the cleaners build, the syncers release: each of a type of its own, so that none waits."""
        crowd = Crowd(("127.0.0.1", self.d.port), {
            "fulfil": lambda t: t.startswith("/acquire?") and "state=free" in t,
            "sync": lambda t: t.startswith("/release?")})
        self.addCleanup(crowd.close)
        flags = ("--fulfiller-count", "2", "--cleaner-count", "3", "--syncer-count", "2", "--heartbeat-period", "1h")
        build = self.script("builder", "cat > /dev/null; touch run-$$; ls | grep -c ^run- >> counts; sleep 0.5; rm run-$$\n")
        w = self.start("--config", self.config, "--builder", "Creator=" + build, "--period", "200ms", "--metrics-port", "0",
                       *flags, url=crowd.url)
        self.eventually("all are made", lambda: all(self.is_made(f"cluster-{i}", 1) for i in range(self.TYPES)))
        self.assertEqual(w.stop(), 0)
        counts = [int(n) for n in self.note("counts")]
        self.assertEqual(len(counts), self.TYPES)
        self.assertLessEqual(max(counts), 3)
        self.assertGreater(max(counts), 1)
        self.assertEqual(crowd.most, {"fulfil": 2, "sync": 2})


class Builders(MasonTest):
    """What builders do."""

    def check_failed(self, text, *words, flags=()):
        w = self.mason(text, "--period", "400ms", *flags)
        self.eventually("it is said", lambda: all(x in w.log() for x in ("not made", *words)))
        self.assertEqual(w.stop(), 0)
        self.check_all_back()
        self.assertEqual(self.cluster()["state"], "dirty")
        accounts = [s for s, _ in self.states("acc-1", "acc-2", "acc-3")]
        self.assertGreaterEqual(accounts.count("dirty"), 2, accounts)
        self.free_dirty()

    def test_each_way_to_fail(self):
        for text, *words in [("echo sorry >&2; exit 3", "exit code 3", "sorry"), ("kill -9 $$", "killed by signal 9"),
                             ("echo no json", "no JSON object"), ("echo '[]'", "no JSON object"),
                             ("echo '{\"a\": 1}'", "no string"), ("echo '{\"a\": \"1\"'", "no JSON object"),
                             ("echo '{\"leasedResources\": \"\"}'", "the mason's"),
                             ("head -c 1000000 /dev/zero | tr '\\0' x", "too much output")]:
            with self.subTest(text):
                self.check_failed(text + "\n", *words)

    def test_one_that_hangs_is_killed_with_its_children(self):
        self.check_failed('trap "" TERM; sleep 1000 & echo $! $$ > pids; sleep 1000; wait\n', "its time was up",
                          flags=["--time-limit", "300ms"])
        self.check_killed(self.note("pids")[0])

    def test_nothing_to_store_and_input_that_is_not_read(self):
        self.configure(CONFIG.replace("zone: b", "x" * 500000))
        self.mason("exit 0\n")
        self.eventually("it is made", self.is_made)

    def test_much_input_and_much_output(self):
        self.configure(CONFIG.replace("zone: b", "x" * 500000))
        self.mason("printf '{\"size\": \"%s\", \"more\": \"' $(wc -c); head -c 100000 /dev/zero | tr '\\0' y; echo '\"}'\n")
        self.eventually("it is made", self.is_made)
        self.assertGreater(int(self.cluster()["userdata"]["size"]), 500000)
        self.assertEqual(self.cluster()["userdata"]["more"], "y" * 100000)


class Ends(MasonTest):
    HANG = "echo $$ > pid; exec sleep 1000\n"

    def test_sigterm_gives_all_back(self):
        w = self.mason(self.HANG)
        pid = self.eventually("it builds", lambda: self.note("pid"))[0]
        self.assertEqual(w.stop(), 0)
        self.check_all_back()
        self.assertTrue(self.in_state("acc-1", "acc-2", self.cluster()["name"], state="dirty"))
        self.assertFalse(self.is_alive(pid))
        self.check_released(w, "acc-1", "acc-2", self.cluster()["name"])

    def test_sigterm_while_it_waits(self):
        for _ in range(2):
            self.d.acquire("account")
        w = self.mason(BUILDER)
        self.eventually("it keeps one alive", lambda: [t for t in self.proxy.targets("/update") if "name=acc-3&" in t])
        self.assertEqual(w.stop(), 0)
        self.assertEqual(self.owned(), ["acc-1", "acc-2"])
        self.assertTrue(self.in_state("acc-3", self.cluster()["name"], state="dirty"))

    def test_sigterm_with_a_server_that_is_down(self):
        w = self.mason(self.HANG)
        self.eventually("it builds", lambda: self.note("pid"))
        self.proxy.down = True
        began = time.monotonic()
        w.stop()
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn("is left in doubt", w.log())

    def test_a_kill_at_any_time_leaks_nothing(self):
        """What a killed one held is a reaper's, and the next one starts anew with all of it."""
        for delay in (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
            with self.subTest(delay):
                w = self.mason("cat > /dev/null; sleep 0.1\n")
                self.eventually("it is ready", lambda: "is ready" in w.log())
                time.sleep(delay)
                w.process.kill()
                w.process.wait()
                time.sleep(0.1)
                for type, state in (("account", "leased"), ("cluster", "cleaning")):
                    self.d.call("POST", "/reset", type=type, state=state, dest="dirty", expire="0s")
                self.assertEqual(self.owned(), [])
                if self.cluster()["state"] == "free":
                    self.assertTrue(self.is_made())
                    self.d.acquire("cluster")
                    self.d.release(self.cluster()["name"], "dirty")
                self.free_dirty()
        w = self.mason(BUILDER)
        end = time.monotonic() + PATIENCE
        while not self.is_made():
            self.assertLess(time.monotonic(), end)
            self.free_dirty()
            time.sleep(0.1)
        self.eventually("nothing else is out of place", lambda: self.free_dirty() or
                        sorted(self.all_states()) == sorted(["free", "free", *[self.cluster()["name"]] * 2]))

    def test_a_lost_part_ends_it_and_the_rest_goes_back(self):
        w = self.mason(self.HANG, "--period", "1h")
        pid = self.eventually("it builds", lambda: self.note("pid"))[0]
        self.assertEqual(self.d.release("acc-2", "dirty", "mason").status, 200)
        self.assertEqual(self.d.acquire("account", "dirty").json["name"], "acc-2")
        self.eventually("it is ended", lambda: not self.is_alive(pid) and "not made" in w.log())
        self.assertEqual(self.owned(), ["acc-2"])
        self.assertTrue(self.in_state("acc-1", self.cluster()["name"], state="dirty"))


class Faults(MasonTest):
    """What the server does: each fault of each call, then all is as it should be."""

    def cycle(self, w, path, fault):
        """The cluster is used and comes back, with the fault at the path on its way to be made anew."""
        name = self.cluster()["name"]
        self.proxy.only, self.proxy.script = path, [fault]
        self.assertEqual(self.d.acquire("cluster").status, 200)
        self.assertEqual(self.d.release(name, "dirty").status, 200)
        end = time.monotonic() + PATIENCE
        while self.proxy.script or not self.is_made() or self.owned():
            self.assertLess(time.monotonic(), end, (self.d.resources(), w.log()))
            self.free_dirty()
            time.sleep(0.02)

    def test_the_original_server(self):
        self.proxy.is_original = True
        w = self.mason(BUILDER)
        self.eventually("it is made", self.is_made)
        for path in ("/acquirebystate", "/release"):
            self.cycle(w, path, "lose")
        self.assertEqual(w.stop(), 0)

    def check_faults(self, path, *faults):
        w = self.mason("cat > /dev/null; echo '{\"a\": \"b\"}'\n")
        self.eventually("it is made", self.is_made)
        for fault in faults:
            with self.subTest(path=path, fault=fault):
                self.cycle(w, path, fault)
        self.assertEqual(w.stop(), 0)
        self.assertEqual(self.owned(), [])
        self.assertEqual(sorted(x for x in self.all_states() if x not in ("free", "dirty")),
                         [self.cluster()["name"]] * 2)

    # Each once. Nothing in a reply is what success looks like to a release and an update.

    @slow
    def test_faults_of_acquire(self):
        self.check_faults("/acquire", "lose", "half", "empty")

    @slow
    def test_faults_of_acquirebystate(self):
        self.check_faults("/acquirebystate", "cut", "html", "502!")

    @slow
    def test_faults_of_update(self):
        self.check_faults("/update", "refuse", "garbage", "redirect")

    @slow
    def test_faults_of_release(self):
        self.check_faults("/release", "close", "500", "lose")

    ALL = ("refuse", "close", "lose", "half", "cut", "garbage", "html", "redirect", "500", "502!", "503!",
           "401", "404", "404!", "hang")

    @long_form
    def test_all_faults_of_acquire(self):
        self.check_faults("/acquire", "empty", *self.ALL)

    @long_form
    def test_all_faults_of_acquirebystate(self):
        self.check_faults("/acquirebystate", "empty", *self.ALL)

    @long_form
    def test_all_faults_of_update(self):
        self.check_faults("/update", *self.ALL)

    @long_form
    def test_all_faults_of_release(self):
        self.check_faults("/release", *self.ALL)

    @slow
    def test_a_server_that_hangs(self):
        self.check_faults("/acquirebystate", "hang")

    def test_another_type_than_asked_for(self):
        """It is not built of, and not asked for without end. (Of boskosd, without a number, it would be no reply.)"""
        self.proxy.is_original = True
        self.proxy.only, self.proxy.script = ("/acquire", "type=account"), [
            'say:{"type":"cluster","name":"acc-3","state":"leased","owner":"mason","lastupdate":"2026-01-01T00:00:00Z"}'] * 3
        w = self.mason(BUILDER)
        self.eventually("it is made", self.is_made)
        self.assertIn("asked for type account, and was given acc-3 of type cluster", w.log())
        self.assertTrue(self.in_state("acc-3"))

    def test_a_server_that_comes_late_and_goes(self):
        self.proxy.down = True
        self.mason("cat > /dev/null; sleep 0.5\n")
        time.sleep(0.5)
        self.proxy.down = False
        self.eventually("some are held", lambda: len(self.owned("mason")) > 1)
        self.proxy.down = True
        time.sleep(1)
        self.proxy.down = False
        end = time.monotonic() + PATIENCE
        while not self.is_made():
            self.assertLess(time.monotonic(), end)
            self.free_dirty()
            time.sleep(0.05)


class Example(MasonTest):
    """deploy/examples/cluster: its config and its builder are what they say."""

    EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "examples", "cluster")
    with open(os.path.join(EXAMPLE, "boskos.yaml"), encoding="utf-8") as f:
        CONFIG = f.read()

    def test_it_builds_a_cluster(self):
        builder = shutil.copy(os.path.join(self.EXAMPLE, "builder.sh"), self.folder)
        w = self.start("--config", self.config, "--builder", "TwoMachines=" + builder, "--period", "200ms",
                        "--metrics-port", "0")
        self.eventually("it is made", lambda: self.is_made("machine-cluster"))
        self.assertEqual(self.cluster("machine-cluster")["userdata"]["members"], "machine-1 machine-2")
        self.assertEqual(self.cluster("machine-cluster")["userdata"]["network"], "10.1.0.0/24")
        self.assertEqual(w.stop(), 0)


class CommandLine(MasonTest):
    def test_what_is_wrong(self):
        some = "--config=" + self.config
        self.check_usage((("--builder=A=/bin/true",), "--config must be set"), ((some,), "--builder must be set"),
                         ((some, "--builder=A"), "not TYPE=PATH"),
                         ((some, "--builder=A=x", "--builder=A=y"), "there are two"),
                         ((some, "--builder=A=x", "--syncer-count=0"), "is not a number"), (("word",), "takes no words"))
        for flags in ((some, "--builder=A=/none/at/all"), ("--config=/none/at/all", "--builder=A=/bin/true")):
            self.assertRegex(self.once(*flags, code=1).stderr, "^[^\n]*No such file[^\n]*\n$")
        self.configure("resources: []\n")
        self.assertIn("empty config", self.once(some, "--builder=A=/bin/true", code=1).stderr)

    def test_help(self):
        self.check_help("--config", "--builder", "--cleaner-count", "--fulfiller-count", "--syncer-count", "--period",
                        "--heartbeat-period", "--time-limit", "--grace", "--metrics-port", "--owner", "--boskos-url",
                        "--password-file")


if __name__ == "__main__":
    main()
