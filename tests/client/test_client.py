#!/usr/bin/env python3
"""libboskos against a real boskosd, through a proxy that loses, delays and spoils."""

import base64
import os
import threading
import time

from client_test import *  # noqa: F403


class Calls(ClientTest):
    """Each call, when nothing goes wrong."""

    CONFIG = boskosd.CONFIG + """\
- type: cluster
  state: free
  names: [cluster-1]
"""

    def test_a_lease_from_acquire_to_release(self):
        c = self.client()
        r = self.check(c("acquire", "car", "free", "busy", 0), 0)
        self.assertEqual((r.json["name"], r.json["owner"], r.json["state"]), ("car-1", "ann", "busy"))
        self.check(c("update", "car-1", "busy", "zone", "b"), 0)
        self.assertEqual(self.d.resources()["car-1"]["userdata"], {"zone": "b"})
        self.check(c("update", "car-1", "", "zone", ""), 0)
        self.assertEqual(self.d.resources()["car-1"]["userdata"], {})
        self.assertEqual(len(c("held").json), 1)
        self.check(c("release", "car-1", "dirty"), 0)
        self.assertEqual(c("held").json, [])
        self.assertEqual(self.d.resources()["car-1"]["state"], "dirty")
        self.check_ended(c)

    def test_the_request_is_that_of_the_go_client(self):
        c = self.client(owner="ann+b c/%é")
        c("acquire", "car", "free", "busy", 0, "id&1")
        c("update", "car-1", "busy", "k", "v")
        c("release", "car-1", "free")
        c("reset", "car", "busy", 90 * 60 * 10**9, "dirty")
        seen = [(m, t, b) for m, t, h, b in self.proxy.seen]
        owner = "ann%2Bb+c%2F%25%C3%A9"
        self.assertEqual(seen, [
            ("POST", f"/acquire?dest=busy&owner={owner}&request_id=id%261&state=free&type=car", b""),
            ("POST", f"/update?name=car-1&owner={owner}&state=busy", b'{"k":"v"}'),
            ("POST", f"/release?dest=free&name=car-1&owner={owner}", b""),
            ("POST", "/reset?dest=dirty&expire=1h30m0s&state=busy&type=car", b"")])
        self.assertEqual(self.proxy.seen[1][2]["content-type"], "application/json")
        self.assertNotIn("content-type", self.proxy.seen[0][2])
        self.assertEqual(self.proxy.seen[0][2]["content-length"], "0")

    def test_refusals(self):
        c = self.client()
        self.check(c("acquire", "car", "nostate", "busy", 0), NONE, "no available resource car, try again later.")
        self.check(c("acquire", "plane", "free", "busy", 0), NO_TYPE, 'resource type "plane" does not exist')
        self.check(c("release", "car-1", "free"), OWNER, "owner mismatch request by ann")
        self.check(c("release", "car-9", "free"), NO_RESOURCE, "no available resource car-9")
        self.check(c("update", "car-9", "busy"), NO_RESOURCE)
        self.check(c("metric", "plane"), NO_TYPE)
        self.check(c("get", "car-9"), NO_RESOURCE, "There is no resource of that name.")
        self.check(c("bystate", "free", "busy", 0, "car-1", "car-9"), NONE)
        self.d.acquire(owner="ann")
        self.check(c("update", "car-1", "free"), STATE, "state mismatch")
        self.check(c("acquire", "", "free", "busy", 0), ARGUMENT)
        self.check(c("bystate", "free", "busy", 0, "a,b"), ARGUMENT)
        self.check(c("release", "x" * 300, "free"), REFUSED, "longer than 253 bytes")
        self.assertEqual(len(self.proxy.targets("/release")), 3, "a refusal was repeated")

    def test_metric_list_reset(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        self.assertEqual(c("metric", "car").text, '{"type":"car","current":{"busy":1,"free":3},"owner":{"":3,"ann":1}}')
        self.assertEqual([r["name"] for r in c("list").json], sorted(self.d.resources()))
        self.assertEqual([r["name"] for r in c("list", "ann").json], ["car-1"])
        self.assertEqual(c("get", "car-1").json, self.d.resources()["car-1"])
        self.assertEqual(self.check(c("reset", "car", "busy", -1, "dirty"), 0).text, "car-1=ann ")

    def test_a_list_in_parts(self):
        names = ", ".join(f"x-{i}" for i in range(1203))
        boskosd.put_file(self.d.config_path, self.CONFIG + f"- type: x\n  state: free\n  names: [{names}]\n")
        self.eventually("they are there", lambda: len(self.d.resources()) > 1200)
        c = self.client()
        self.assertEqual([r["name"] for r in c("list").json], sorted(self.d.resources()))
        self.assertEqual(len(self.proxy.targets("/v1/resources")), 3)

    def test_a_wait_ends_with_a_grant(self):
        c = self.client(poll=30)
        for _ in range(4):
            self.d.acquire(owner="bob")
        c.send("acquire", "car", "free", "busy", 30000)
        self.eventually("it polls", lambda: len(self.proxy.targets("/acquire")) > 3)
        self.d.release("car-3", owner="bob")
        self.assertEqual(self.check(c.answer(), 0).json["name"], "car-3")
        targets = self.proxy.targets("/acquire")
        self.assertEqual(len(set(targets)), 1, "each poll is the same request")
        self.assertIn("request_id=", targets[0])
        self.assertEqual(self.d.call("GET", "/v1/queues").json, {"queues": []})

    def test_a_wait_ends_with_its_time(self):
        c = self.client(poll=30)
        began = time.monotonic()
        self.check(c("acquire", "car", "none", "busy", 400), NONE)
        self.assertGreater(time.monotonic() - began, 0.3)
        self.check(c("bystate", "none", "busy", 100, "car-1"), NONE)

    def test_a_wait_ends_by_cancellation(self):
        c = self.client(poll=60000)
        began = time.monotonic()
        c.send("cancel", 200)
        self.check(c("acquire", "car", "none", "busy", -1), CANCELLED)
        self.assertLess(time.monotonic() - began, 20)
        self.check(c("release", "car-1", "free"), CANCELLED)
        self.check_ended(c)

    def test_a_key_of_ones_own(self):
        c = self.client()
        first = self.check(c("acquire", "car", "free", "busy", 0, "", "build/1"), 0)
        again = self.check(c("acquire", "car", "free", "busy", 0, "", "build/1"), 0)
        self.assertEqual(first.json["name"], again.json["name"])
        self.check(c("acquire", "car", "free", "other", 0, "", "build/1"), KEY, "other parameters")
        for bad in ("x" * 256, "a\x7fb", "a\rb: c"):
            self.check(c("acquire", "car", "free", "busy", 0, "", bad), ARGUMENT, "idempotency key")

    def test_release_all(self):
        c = self.client()
        for _ in range(3):
            c("acquire", "car", "free", "busy", 0)
        self.check(c("release_all", "dirty"), 0)
        self.assertEqual(self.owned(), [])
        self.check(c("release_all", "dirty"), 0)

    def test_with_leased(self):
        self.leased("car-2", "car-3")
        c = self.client()
        r = self.check(c("leased", "cluster", "free", "busy", 0), 0)
        self.assertEqual(r.json["name"], "cluster-1")
        self.assertEqual(self.owned("ann"), ["car-2", "car-3", "cluster-1"])
        self.check(c("release", "cluster-1", "dirty"), 0)
        self.assertEqual(self.owned(), [])
        self.assertEqual({self.d.resources()[n]["state"] for n in ("car-2", "car-3", "cluster-1")}, {"dirty"})

    def leased(self, *names):
        """What mason leaves: a free cluster with its resources."""
        self.d.acquire(type="cluster", owner="mason")
        self.d.update("cluster-1", {"leasedResources": "".join(f"- {n}\n" for n in names)}, owner="mason")
        for n in names:
            if n in self.d.resources():
                self.d.call("POST", "/acquirebystate", state="free", dest="leased", owner="mason", names=n)
                self.d.release(n, dest="cluster-1", owner="mason")
        self.d.release("cluster-1", owner="mason")

    def test_with_leased_that_are_not_there(self):
        self.leased("car-2", "car-99")
        c = self.client()
        self.check(c("leased", "cluster", "free", "busy", 0), NONE)
        self.assertEqual(self.owned(), [])
        self.assertEqual(self.d.resources()["cluster-1"]["state"], "dirty")
        self.assertEqual(self.d.resources()["car-2"]["state"], "cluster-1", "what it leases is left to the cleaner")

    def test_with_leased_that_is_no_list(self):
        self.d.acquire(type="cluster", owner="mason")
        self.d.update("cluster-1", {"leasedResources": "{a: b}"}, owner="mason")
        self.d.release("cluster-1", owner="mason")
        c = self.client()
        self.check(c("leased", "cluster", "free", "busy", 0), LEASED, "cluster-1")
        self.assertEqual(self.owned(), [])

    def test_with_leased_and_a_lost_reply(self):
        self.leased("car-2", "car-3")
        for action in ("lose", "502!", "cut"):
            self.proxy.only, self.proxy.script = "/acquirebystate", [action]
            c = self.client()
            self.check(c("leased", "cluster", "free", "busy", 0), 0)
            self.assertEqual(self.owned("ann"), ["car-2", "car-3", "cluster-1"], action)
            self.check(c("release", "cluster-1", "cluster-1"), 0)
            self.assertEqual(self.owned(), [])
            self.d.call("POST", "/acquirebystate", state="cluster-1", dest="busy", owner="x", names="cluster-1")
            self.d.release("cluster-1", owner="x")


class Options(ClientTest):
    def check_wrong(self, text, **options):
        c = self.client(**options)
        self.assertIn(c.made.code, (ARGUMENT, SYSTEM))
        self.assertIn(text, c.made.text)

    def test_what_makes_no_sense(self):
        for url in ("", "boskos:8080", "ftp://boskos", "http://boskos/?a=b", "http://boskos/#a", "http://"):
            self.check_wrong("URL", url=url)
        self.check_wrong("together", username="ann")
        self.check_wrong("together", password_file="/dev/null")
        self.check_wrong("No such file", username="ann", password_file="/nonexistent")
        self.check_wrong("No such file", token_file="/nonexistent")
        self.check_wrong("exclude", username="ann", password_file="/dev/null", token_file="/dev/null")
        self.check_wrong("above zero", attempts=0)

    def test_a_path_in_the_url(self):
        c = self.client(url=self.proxy.url + "/boskos/")
        c("metric", "car")
        self.assertEqual(self.proxy.seen[0][1], "/boskos/metric?type=car")

    def test_the_password_is_read_anew(self):
        path = os.path.join(self.folder, "password")
        boskosd.put_file(path, "first\n")
        c = self.client(username="ann", password_file=path)
        self.assertTrue([line for line in c.logs if "without TLS" in line])
        c("metric", "car")
        boskosd.put_file(path, "  second one\n\n")
        c("metric", "car")
        os.unlink(path)
        self.check(c("metric", "car"), 0)
        said = [base64.b64decode(h["authorization"].split(" ")[1]).decode() for _, _, h, _ in self.proxy.seen]
        self.assertEqual(said, ["ann:first", "ann:second one", "ann:second one"])
        self.assertEqual(len([line for line in c.logs if "what it held before is used" in line]), 1)
        self.assertFalse([line for line in c.logs if "second" in line])

    def test_a_token(self):
        path = os.path.join(self.folder, "token")
        boskosd.put_file(path, "abc\n")
        self.client(token_file=path)("metric", "car")
        self.assertEqual(self.proxy.seen[0][2]["authorization"], "Bearer abc")


class Faults(ClientTest):
    """A server that is down, slow or broken."""

    TRANSIENT = ("refuse", "close", "half", "garbage", "html", "empty", "500", "502", "504", "503:0", "429", "404", "409")

    @slow
    def test_each_fault_once_and_then_an_answer(self):
        for action in self.TRANSIENT + ("lose", "cut", "500!", "502!", "503!"):
            for words in (("acquire", "car", "free", "busy", 0), ("update", "car-1", "busy"), ("metric", "car"),
                          ("reset", "car", "busy", 3600 * 10**9, "dirty"), ("get", "car-1"),
                          ("release", "car-1", "free")):
                if action == "empty" and words[0] in ("update", "release"):
                    continue  # that is what success looks like to who does not know the server yet
                if action in ("empty", "404") and words[0] == "get":
                    continue  # what the original server says below /v1/
                with self.subTest(action=action, call=words[0]):
                    if words[0] == "acquire":
                        self.d.call("POST", "/reset", type="car", state="busy", dest="free", expire="-1s")
                        self.d.call("POST", "/acquirebystate", state="free", dest="free", owner="hide",
                                    names="car-2,car-3,car-4")
                    self.proxy.script = [action]
                    c = self.client()
                    self.check(c(*words), 0)
                    self.assertEqual(self.proxy.script, [])
                    if words[0] == "acquire":
                        self.assertEqual(self.owned("ann"), ["car-1"])
                    self.check_ended(c)
                    self.assertFalse([line for line in c.logs if line.startswith("error")], c.logs)

    @slow
    def test_each_fault_for_good(self):
        codes = {"refuse": (LOST, CONNECT), "close": LOST, "half": LOST, "garbage": REPLY, "html": REPLY, "500": SERVER,
                 "503:0": SERVER, "429": SERVER, "redirect": REDIRECT, "hang": TIMEOUT, "404": (REPLY, UNSUPPORTED),
                 "409": REPLY, "401": AUTH}
        for action, code in codes.items():
            for words in (("acquire", "car", "free", "busy", 0), ("update", "car-1", "busy"), ("metric", "car"),
                          ("release", "car-1", "free"), ("bystate", "free", "busy", 0, "car-1"), ("list",)):
                if action == "half" and words[0] in ("update", "release"):
                    continue  # their good replies have no body
                with self.subTest(action=action, call=words[0]):
                    self.proxy.script = [action] * 1000
                    self.proxy.seen.clear()
                    c = self.client(request_timeout=100 if action == "hang" else 20000, attempts=3)
                    answer = self.check(c(*words), code)
                    self.assertTrue(answer.text)
                    if action == "redirect":
                        self.assertIn("elsewhere.example", answer.text)
                        self.assertEqual(len(self.proxy.seen), 1)
                    self.proxy.script = []
                    self.check_ended(c)

    def test_nobody_there(self):
        port = boskosd.refusing_port(self)
        c = self.client(url=f"http://127.0.0.1:{port}", attempts=3)
        answer = self.check(c("metric", "car"), CONNECT, str(port))
        self.assertFalse(answer.is_doubted)
        self.assertEqual(len([line for line in c.logs if "again in" in line]), 2)
        self.check(self.client(url="http://no.such.host.invalid", attempts=1)("metric", "car"), CONNECT)

    def test_a_wait_outlasts_a_server_that_is_down(self):
        c = self.client(attempts=2)
        self.proxy.down = True
        c.send("acquire", "car", "free", "busy", 60000)
        time.sleep(0.5)
        self.proxy.down = False
        self.check(c.answer(), 0)

    def test_a_server_that_asks_for_patience(self):
        self.proxy.script = ["503:1"]
        began = time.monotonic()
        self.check(self.client(backoff_most=5000)("metric", "car"), 0)
        self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_the_call_has_an_end(self):
        self.proxy.script = ["hang"] * 100
        began = time.monotonic()
        self.check(self.client(call_timeout=300)("metric", "car"), TIMEOUT)
        self.assertLess(time.monotonic() - began, 20)

    def test_cancelled_in_the_middle(self):
        self.proxy.script = ["hang"] * 100
        c = self.client()
        c.send("cancel", 200)
        began = time.monotonic()
        self.check(c("metric", "car"), CANCELLED)
        self.assertLess(time.monotonic() - began, 15)
        self.check_ended(c)

    def test_a_proxy_that_wants_a_password(self):
        self.proxy.script = ["403"]
        self.check(self.client()("metric", "car"), AUTH)


class LostReplies(ClientTest):
    """No lease is leaked, and none is released twice."""

    def test_acquire_repeats_with_its_key(self):
        self.proxy.script = ["lose", "lose", "502!"]
        c = self.client()
        self.check(c("acquire", "car", "free", "busy", 0), 0)
        self.assertEqual(len(self.owned()), 1)
        keys = {h["idempotency-key"] for _, _, h, _ in self.proxy.seen}
        self.assertEqual((len(self.proxy.seen), len(keys)), (4, 1))
        self.check(c("acquire", "car", "free", "busy", 0), 0)
        self.assertEqual(len(self.owned()), 2, "another acquire is another lease")

    def test_acquire_given_up_is_taken_back(self):
        for action in ("lose", "cut", "502!", "503!", "404!", "slow:1"):
            with self.subTest(action=action):
                self.proxy.only, self.proxy.script = "/acquire", [action] * 3
                c = self.client(attempts=3, request_timeout=200, settle_timeout=30000)
                answer = c("acquire", "car", "free", "busy", 0)
                self.assertIn(answer.code, (LOST, REPLY, SERVER, TIMEOUT))
                self.assertTrue(answer.is_doubted)
                self.check(c("settle", 30000), 0)
                self.assertEqual(self.owned(), [])
                self.assertEqual({r["state"] for r in self.d.resources().values()}, {"free"})
                self.check_ended(c)

    def test_acquire_cancelled_is_taken_back(self):
        self.proxy.only, self.proxy.script = "/acquire", ["slow:2"]
        c = self.client(settle_timeout=30000)
        c.send("cancel", 500)
        answer = self.check(c("acquire", "car", "free", "busy", 60000), CANCELLED)
        self.assertTrue(answer.is_doubted)
        self.check_ended(c)
        self.assertEqual(self.owned(), [])

    def test_acquire_by_state_given_up_is_taken_back(self):
        for action in ("lose", "cut", "502!", "503!", "404!", "slow:1"):
            with self.subTest(action=action):
                self.proxy.only, self.proxy.script = "/acquirebystate", [action]
                c = self.client(attempts=1, request_timeout=200, settle_timeout=30000)
                answer = c("bystate", "free", "busy", 0, "car-1", "car-2")
                self.assertIn(answer.code, (LOST, REPLY, SERVER, TIMEOUT))
                self.assertTrue(answer.is_doubted)
                self.eventually("it was done", lambda: self.owned() or "car-1 was acquired" in "".join(c.logs))
                self.check(c("settle", 30000), 0)
                self.assertEqual(self.owned(), [])
                self.assertEqual({r["state"] for r in self.d.resources().values()}, {"free"})
                self.check_ended(c)

    def test_what_acquire_by_state_did_not_take_is_left(self):
        c = self.client(attempts=1)
        self.check(c("bystate", "free", "busy", 0, "car-1"), 0)
        self.d.call("POST", "/acquirebystate", state="free", dest="busy", owner="bob", names="car-2")
        self.proxy.only, self.proxy.script = "/acquirebystate", ["close"]
        self.assertTrue(c("bystate", "free", "busy", 0, "car-1", "car-2", "car-3").is_doubted)
        self.check(c("settle", 30000), 0)
        self.assertEqual((self.owned("ann"), self.owned("bob")), (["car-1"], ["car-2"]))
        self.assertEqual(self.proxy.targets("/release"), [])

    def test_what_is_given_back_by_hand_is_not_again(self):
        c = self.client(attempts=1)
        self.proxy.only, self.proxy.script = "/acquirebystate", ["lose"]
        self.assertTrue(c("bystate", "free", "busy", 0, "car-1").is_doubted)
        self.check(c("release", "car-1", "dirty"), 0)
        self.check(c("bystate", "dirty", "busy", 0, "car-1"), 0)
        self.check(c("settle", 30000), 0)
        time.sleep(0.6)
        self.assertEqual(self.owned("ann"), ["car-1"])

    def test_a_retry_of_ones_own_is_not_given_back(self):
        """The first one never came, and the second one's reply is on its way when it is looked whether it did."""
        c = self.client(attempts=1)
        self.proxy.only, self.proxy.script = "/acquirebystate", ["close", "slow:1.5"]
        self.assertTrue(c("bystate", "free", "busy", 0, "car-1").is_doubted)
        self.check(c("bystate", "free", "busy", 0, "car-1"), 0)
        self.check(c("settle", 30000), 0)
        self.assertEqual(self.owned("ann"), ["car-1"])
        self.assertEqual(self.proxy.targets("/release"), [])

    def test_a_release_while_it_is_looked(self):
        c = self.client(attempts=1)
        self.proxy.only, self.proxy.script = "/acquirebystate", ["lose"]
        self.assertTrue(c("bystate", "free", "busy", 0, "car-1").is_doubted)
        self.proxy.only, self.proxy.script = "/v1/status", ["slow:1"]
        self.eventually("it is looked", lambda: self.proxy.targets("/v1/status"))
        self.check(c("release", "car-1", "dirty"), 0)
        self.check(c("bystate", "dirty", "busy", 0, "car-1"), 0)
        self.check(c("settle", 30000), 0)
        self.assertEqual(self.owned("ann"), ["car-1"])
        self.assertEqual(len(self.proxy.targets("/release")), 1)

    def test_a_look_that_fails_settles_nothing(self):
        for action in ("500", "404", "empty"):
            with self.subTest(action=action):
                c = self.client(attempts=2, settle_timeout=30000)
                self.check(c("bystate", "free", "busy", 0, "van-1"), 0)
                self.proxy.only, self.proxy.script = "/acquirebystate", ["lose"]
                self.check(c("bystate", "free", "busy", 0, "car-1"), 0)  # looked at, and there
                self.check(c("release_all", "free"), 0)
                self.proxy.only, self.proxy.script = None, ["lose", "pass", action]
                self.assertTrue(c("bystate", "free", "busy", 0, "car-1").is_doubted)
                self.check(c("settle", 30000), 0)
                self.assertEqual(self.owned(), [])
                self.check_ended(c)

    def test_acquire_by_state_cancelled_is_taken_back(self):
        self.proxy.only, self.proxy.script = "/acquirebystate", ["slow:2"]
        c = self.client(settle_timeout=30000)
        c.send("cancel", 500)
        self.assertTrue(self.check(c("bystate", "free", "busy", 60000, "car-1"), CANCELLED).is_doubted)
        self.check_ended(c)
        self.assertEqual(self.owned(), [])

    def test_what_cannot_be_settled_is_said(self):
        self.proxy.script = ["lose"] * 1000
        c = self.client(attempts=1, settle_timeout=200)
        self.assertTrue(c("acquire", "car", "free", "busy", 0).is_doubted)
        self.check(c("settle", 100), TIMEOUT)
        self.check_ended(c)
        self.assertTrue([line for line in c.logs if line.startswith("error") and "left in doubt" in line], c.logs)

    def test_release_is_not_repeated_when_it_was_done(self):
        for action in ("lose", "502!", "503!", "404!"):
            c = self.client()
            name = c("acquire", "car", "free", "busy", 0).json["name"]
            self.proxy.only, self.proxy.script = "/release", [action]
            self.proxy.seen.clear()
            self.check(c("release", name, "dirty"), 0)
            self.assertEqual(len(self.proxy.targets("/release")), 1, action)
            self.assertEqual(self.d.resources()[name]["state"], "dirty")

    def test_release_is_repeated_when_it_was_not_done(self):
        for action in ("close", "502", "503:0", "404", "409", "empty"):
            c = self.client()
            name = c("acquire", "car", "free", "busy", 0).json["name"]
            self.proxy.only, self.proxy.script = "/release", [action]
            self.check(c("release", name, "dirty"), 0)
            self.assertEqual(self.d.resources()[name]["state"], "dirty")
            self.d.call("POST", "/acquirebystate", state="dirty", dest="busy", owner="bob", names=name)
            self.d.release(name, dest="free", owner="bob")

    def test_release_does_not_hit_the_next_one_of_the_same_owner(self):
        c = self.client(attempts=1)
        name = c("acquire", "van", "free", "busy", 0).json["name"]
        self.proxy.only, self.proxy.script = "/release", ["lose"]
        self.assertTrue(c("release", name, "free").is_doubted)
        self.proxy.only = None
        time.sleep(0.1)  # what happens within moments of the release cannot be told apart
        self.d.call("POST", "/acquirebystate", state="free", dest="busy", owner="ann", names=name)
        c("settle", 10000)
        self.assertEqual(self.owned(), [name], "another's lease was released")
        self.assertEqual(len(self.proxy.targets("/release")), 1)

    def test_a_look_that_others_answer_is_none(self):
        """Who has met boskosd is not told by an ingress that the server has nothing below /v1/."""
        for action in ("empty", "404", "html", "say:{}"):
            with self.subTest(action=action):
                c = self.client(attempts=1)
                name = c("acquire", "van", "free", "busy", 0).json["name"]
                self.proxy.seen.clear()
                self.proxy.only, self.proxy.script = "/release", ["lose"]
                self.assertTrue(c("release", name, "free").is_doubted)
                time.sleep(0.1)
                self.d.call("POST", "/acquirebystate", state="free", dest="busy", owner="ann", names=name)
                self.proxy.only, self.proxy.script = f"/v1/resources/{name}", [action]
                c("settle", 10000)
                self.assertEqual(self.owned(), [name], "another's lease was released")
                self.assertEqual(len(self.proxy.targets("/release")), 1)
                self.d.release(name, dest="free", owner="ann")

    def test_release_goes_on_in_the_background(self):
        c = self.client(attempts=2)
        name = c("acquire", "car", "free", "busy", 0).json["name"]
        self.proxy.down = True
        self.assertTrue(c("release", name, "free").is_doubted)
        self.assertEqual(c("held").json, [])
        self.proxy.down = False
        self.eventually("it is released", lambda: self.owned() == [])
        self.check(c("settle", 10000), 0)
        self.check_ended(c)


class Original(ClientTest):
    """The original server, as it looks from here: nothing below /v1/, no keys, no sequence numbers."""

    def setUp(self):
        super().setUp()
        self.proxy.is_original = True

    @slow
    def test_what_it_cannot(self):
        c = self.client()
        self.check(c("list"), UNSUPPORTED, "is not boskosd")
        self.check(c("get", "car-1"), UNSUPPORTED)
        self.assertEqual(len(self.proxy.seen), 2, "nothing is repeated")

    def test_release_is_repeated_unseen(self):
        for action in ("lose", "close", "502!", "502"):
            c = self.client()
            name = self.check(c("acquire", "car", "free", "busy", 0), 0).json["name"]
            self.proxy.only, self.proxy.script = "/release", [action]
            self.check(c("release", name, "free"), 0)
            self.assertEqual(self.owned(), [], action)
        self.check(c("release", name, "free"), OWNER)

    def test_a_lost_acquire_is_said(self):
        """The lease is lost with the reply; what can be done is to say so, and not to take more in vain."""
        c = self.client(settle_timeout=1000)
        self.proxy.script = ["lose"]
        for _ in range(3):
            self.d.acquire(owner="bob")
        self.assertTrue(self.check(c("acquire", "car", "free", "busy", 0), NONE).is_doubted)
        self.check(c("settle", 5000), 0)
        self.assertEqual(len(self.proxy.targets("/acquire")), 2)
        self.check_ended(c)


class Heartbeats(ClientTest):
    def updated(self, name):
        return self.d.resources()[name]["lastupdate"]

    def test_all_that_is_held(self):
        c = self.client()
        c("heartbeat", 100)
        names = [c("acquire", "car", "free", "busy", 0).json["name"] for _ in range(3)]
        before = {n: self.updated(n) for n in names}
        self.eventually("each was updated", lambda: all(self.updated(n) > before[n] for n in names))
        self.check(c("release_all", "free"), 0)
        count = len(self.proxy.targets("/update"))
        time.sleep(0.4)
        self.assertEqual(len(self.proxy.targets("/update")), count, "a heartbeat came after the release")
        self.assertEqual(c.lost, [])
        self.check_ended(c)

    def test_a_lost_lease_is_told_once(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        c("acquire", "van", "free", "busy", 0)
        c("heartbeat", 50)
        self.d.call("POST", "/reset", type="car", state="busy", dest="dirty", expire="-1s")
        self.eventually("it is told", lambda: c.lost)
        time.sleep(0.3)
        self.assertEqual([line.split(" ")[0] for line in c.lost], ["car-1"])
        self.assertEqual([r["name"] for r in c("held").json], ["van-1"])

    def test_a_late_refusal_does_not_lose_what_was_acquired_again(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        self.proxy.only, self.proxy.script = "/update", ["slow:1"]
        self.d.call("POST", "/reset", type="car", state="busy", dest="dirty", expire="-1s")
        c("heartbeat", 50)
        self.eventually("it is refused", lambda: self.proxy.targets("/update"))
        time.sleep(0.2)  # the refusal is on its way
        self.check(c("acquire", "car", "dirty", "busy", 0), 0)
        self.eventually("the next one comes", lambda: self.proxy.targets("/update")[1:])
        self.assertEqual(c.lost, [])
        self.assertEqual([r["name"] for r in c("held").json], ["car-1"])

    def test_a_server_that_is_down_loses_nothing(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        c("heartbeat", 50)
        self.proxy.down = True
        time.sleep(0.5)
        self.proxy.down = False
        before = self.updated("car-1")
        self.eventually("it beats again", lambda: self.updated("car-1") > before)
        self.assertEqual(c.lost, [])

    def test_spoilt_replies_lose_nothing(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        self.proxy.only = "/update"
        self.proxy.script = list(Faults.TRANSIENT) + ["redirect", "lose", "403", "401"]
        c("heartbeat", 20)
        self.eventually("the script is played", lambda: not self.proxy.script)
        before = self.updated("car-1")
        self.eventually("it beats again", lambda: self.updated("car-1") > before)
        self.assertEqual(c.lost, [])

    def test_a_release_waits_for_one_under_way(self):
        """Else the heartbeat could come behind it, and hide whether it was done."""
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        self.proxy.only, self.proxy.script = "/update", ["slow:1"]
        c("heartbeat", 20)
        self.eventually("one is under way", lambda: self.proxy.targets("/update"))
        began = time.monotonic()
        self.check(c("release", "car-1", "free"), 0)
        self.assertGreater(time.monotonic() - began, 0.5)

    def test_end_in_the_middle_of_one(self):
        c = self.client()
        c("acquire", "car", "free", "busy", 0)
        self.proxy.script = ["hang"] * 100
        c("heartbeat", 10)
        time.sleep(0.3)
        began = time.monotonic()
        self.check_ended(c)
        self.assertLess(time.monotonic() - began, 15)


class ManyThreads(ClientTest):
    @slow
    def test_clients_at_once_through_a_bad_network(self):
        """Eight clients take and give back while the network loses every third reply: nothing is left, nobody has
        what another has."""
        clients = [self.client(owner=f"o{i}", settle_timeout=20000, attempts=8) for i in range(8)]
        self.proxy.script = ["pass", "lose", "pass", "502!", "pass", "close", "pass", "500"] * 60
        faults = []

        def work(c, owner):
            for _ in range(12):
                a = c("acquire", "car", "free", "busy", 60000)
                if a.code != 0 or a.json["owner"] != owner:
                    faults.append(a)
                    continue
                b = c("release", a.json["name"], "free")
                if b.code != 0 and not b.is_doubted:
                    faults.append(b)

        threads = [threading.Thread(target=work, args=(c, f"o{i}")) for i, c in enumerate(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE * 4)
        for c in clients:
            self.check_ended(c)
        self.assertEqual(faults, [])
        self.assertEqual(self.owned(), [])


if __name__ == "__main__":
    main()
