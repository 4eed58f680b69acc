#!/usr/bin/env python3
"""The Python package boskos against a real boskosd, through a proxy that loses, delays and spoils."""

import json
import logging
import os
import sys
import threading
import time

from client_test import *  # noqa: F403

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "python"))

import boskos  # noqa: E402
from boskos import transport  # noqa: E402


logging.getLogger("boskos").addHandler(logging.NullHandler())


class PythonTest(ClientTest):
    CONFIG = boskosd.CONFIG + """\
- type: cluster
  state: free
  names: [cluster-1]
"""

    def make(self, **options):
        usual = {"owner": "ann", "backoff": 0.01, "backoff_most": 0.04, "poll": 0.03, "settle_timeout": 0}
        c = boskos.Client(options.pop("url", self.proxy.url), **{**usual, **options})
        self.addCleanup(c.close)
        return c


class Calls(PythonTest):
    def test_a_lease(self):
        c = self.make()
        r = c.acquire("car", "free", "busy")
        self.assertEqual((r.name, r.owner, r.state, r.type), ("car-1", "ann", "busy", "car"))
        c.update("car-1", userdata={"zone": "b"})
        self.assertEqual(c.get("car-1").userdata, {"zone": "b"})
        self.assertEqual([x.name for x in c.held()], ["car-1"])
        self.assertEqual(c.metric("car"), boskos.Metric("car", {"busy": 1, "free": 3}, {"": 3, "ann": 1}))
        self.assertEqual([x.name for x in c.list(owners=[""], types=["van"])], ["van-1", "van-2"])
        c.release("car-1", "dirty")
        self.assertEqual(c.held(), [])
        self.assertEqual(self.d.resources()["car-1"]["state"], "dirty")
        c.acquire("car", "free", "busy")
        self.assertEqual(c.reset("car", "busy", -1, "dirty"), {"car-2": "ann"})

    def test_the_requests_are_those_of_the_go_client(self):
        c = self.make(owner="ann+b c/%é")
        c.acquire("car", "free", "busy", request_id="id&1")
        c.update("car-1", "busy", {"k": "v"})
        c.release("car-1", "free")
        owner = "ann%2Bb+c%2F%25%C3%A9"
        self.assertEqual([(m, t, b) for m, t, h, b in self.proxy.seen], [
            ("POST", f"/acquire?dest=busy&owner={owner}&request_id=id%261&state=free&type=car", b""),
            ("POST", f"/update?name=car-1&owner={owner}&state=busy", b'{"k": "v"}'),
            ("POST", f"/release?dest=free&name=car-1&owner={owner}", b"")])

    def test_refusals(self):
        c = self.make()
        for kind, call in ((boskos.NotAvailable, lambda: c.acquire("car", "none", "busy")),
                           (boskos.NoType, lambda: c.acquire("plane", "free", "busy")),
                           (boskos.OwnerMismatch, lambda: c.release("car-1", "free")),
                           (boskos.NotFound, lambda: c.release("car-9", "free")),
                           (boskos.NotFound, lambda: c.get("car-9")),
                           (boskos.NoType, lambda: c.metric("plane")),
                           (boskos.Refused, lambda: c.release("x" * 300, "free"))):
            with self.assertRaises(kind) as caught:
                call()
            self.assertEqual(type(caught.exception), kind)
            self.assertFalse(caught.exception.doubted)
            self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(len(self.proxy.targets("/release")), 3, "a refusal was repeated")

    def test_options(self):
        for more in ({"url": "boskos:1"}, {"url": "http://a/?b"}, {"username": "a"}, {"owner": ""}):
            self.assertRaises(ValueError, self.make, **more)
        path = os.path.join(self.folder, "password")
        boskosd.put_file(path, "one\n")
        c = self.make(username="ann", password_file=path)
        c.metric("car")
        boskosd.put_file(path, "two\n")
        c.metric("car")
        said = [h["authorization"] for _, _, h, _ in self.proxy.seen]
        self.assertEqual(said, ["Basic YW5uOm9uZQ==", "Basic YW5uOnR3bw=="])

    def test_wait(self):
        c = self.make()
        for _ in range(4):
            self.d.acquire(owner="bob")
        found = []
        t = threading.Thread(target=lambda: found.append(c.acquire("car", "free", "busy", wait=60)))
        t.start()
        self.eventually("it polls", lambda: len(self.proxy.targets("/acquire")) > 2)
        self.d.release("car-3", owner="bob")
        t.join(PATIENCE)
        self.assertEqual(found[0].name, "car-3")
        self.assertEqual(len(set(self.proxy.targets("/acquire"))), 1)
        self.assertRaises(boskos.NotAvailable, c.acquire, "car", "none", "busy", wait=0.2)
        cancel = threading.Event()
        threading.Timer(0.2, cancel.set).start()
        self.assertRaises(boskos.Cancelled, c.acquire, "car", "none", "busy", wait=None, cancel=cancel)

    def test_the_context_manager(self):
        c = self.make()
        with c.lease("car", "free", "busy", heartbeat=0.05) as lease:
            self.assertEqual(self.owned(), [lease.name])
            before = self.d.resources()[lease.name]["lastupdate"]
            self.eventually("it beats", lambda: self.d.resources()[lease.name]["lastupdate"] > before)
        self.assertEqual(self.d.resources()[lease.name]["state"], "dirty")
        with self.assertRaises(KeyError):
            with c.lease("car", "free", "busy", release="broken"):
                raise KeyError("x")
        self.assertEqual(self.owned(), [])
        self.assertIn("broken", {r["state"] for r in self.d.resources().values()})

    def test_a_lost_lease(self):
        c = self.make()
        told = []
        c.heartbeat(0.05, lambda r, e: told.append((r.name, type(e))))
        with c.lease("van", "free", "busy") as lease:
            self.d.call("POST", "/reset", type="van", state="busy", dest="dirty", expire="-1s")
            self.d.call("POST", "/acquirebystate", state="dirty", dest="busy", owner="bob", names=lease.name)
            self.assertTrue(lease.lost.wait(PATIENCE))
        self.eventually("it is told", lambda: told)
        self.assertEqual(told, [(lease.name, boskos.OwnerMismatch)])
        self.assertEqual(self.owned("bob"), [lease.name])

    def test_leased(self):
        for text, names in (("- a\n- b-1\n", ["a", "b-1"]), ("[a, 'b']", ["a", "b"]), ('["x.y"]', ["x.y"]), ("", []),
                            ("[]", [])):
            r = boskos.Resource("t", "n", "s", "o", "l", {"leasedResources": text})
            self.assertEqual(r.leased, names)
        for text in ("a", "{a: b}", "- a: b", "[[a]]", "- a\nb"):
            r = boskos.Resource("t", "n", "s", "o", "l", {"leasedResources": text})
            self.assertRaises(boskos.LeasedError, lambda: r.leased)
        self.d.acquire(type="cluster", owner="mason")
        self.d.update("cluster-1", {"leasedResources": "- car-2\n- car-3\n"}, owner="mason")
        self.d.call("POST", "/acquirebystate", state="free", dest="x", owner="mason", names="car-2,car-3")
        for n in ("car-2", "car-3"):
            self.d.release(n, dest="cluster-1", owner="mason")
        self.d.release("cluster-1", owner="mason")
        c = self.make()
        with c.lease("cluster", "free", "busy", with_leased=True) as lease:
            self.assertEqual(self.owned("ann"), ["car-2", "car-3", "cluster-1"])
            self.assertEqual([r.name for r in lease.leased], ["car-2", "car-3"])
        self.assertEqual(self.owned(), [])


class Faults(PythonTest):
    SAID = ("404", "401", "409")  # by what is not the server
    PASSING = ("refuse", "close", "half", "garbage", "html", "500", "502", "503:0", "429", "lose", "cut", "502!")

    def test_each_fault_once(self):
        for action in self.PASSING:
            for call in ("acquire", "update", "metric", "release"):
                with self.subTest(action=action, call=call):
                    c = self.make()
                    if call == "acquire":
                        self.d.call("POST", "/reset", type="car", state="busy", dest="free", expire="-1s")
                    self.proxy.script = [action]
                    {"acquire": lambda: c.acquire("car", "free", "busy"), "metric": lambda: c.metric("car"),
                     "update": lambda: c.update(self.owned()[0], "busy"),
                     "release": lambda: c.release(self.owned()[0], "free")}[call]()
                    self.assertEqual(self.proxy.script, [])
                    self.assertEqual(len(self.owned()), 0 if call == "release" else 1)

    @slow
    def test_each_fault_for_good(self):
        for action, kind in (("refuse", (boskos.LostReply, boskos.ConnectError)), ("close", boskos.LostReply),
                             ("half", boskos.LostReply), ("garbage", boskos.BadReply), ("html", boskos.BadReply),
                             ("500", boskos.ServerError), ("redirect", boskos.Redirected), ("hang", boskos.Timeout)):
            with self.subTest(action=action):
                self.proxy.script = [action] * 100
                c = self.make(request_timeout=0.1 if action == "hang" else 20, attempts=3)
                with self.assertRaises(kind):
                    c.metric("car")
                with self.assertRaises(kind):
                    c.acquire("car", "free", "busy")
                self.proxy.script = []
                c.close()
        port = boskosd.refusing_port(self)
        self.assertRaises(boskos.ConnectError, self.make(url=f"http://127.0.0.1:{port}").metric, "car")

    def test_acquire_given_up_is_taken_back(self):
        for action in ("lose", "cut", "502!", "503!", "slow:1"):
            with self.subTest(action=action):
                self.proxy.only, self.proxy.script = "/acquire", [action] * 2
                c = self.make(attempts=2, request_timeout=0.3)
                with self.assertRaises(boskos.BoskosError) as caught:
                    c.acquire("car", "free", "busy")
                self.assertTrue(caught.exception.doubted)
                self.assertTrue(c.settle(30))
                self.assertEqual(self.owned(), [])

    def test_release_goes_on_in_the_background(self):
        c = self.make(attempts=2)
        c.acquire("car", "free", "busy")
        self.proxy.down = True
        with self.assertRaises(boskos.BoskosError) as caught:
            c.release("car-1", "free")
        self.assertTrue(caught.exception.doubted)
        self.proxy.down = False
        self.eventually("it is released", lambda: self.owned() == [])

    def test_release_is_not_repeated_when_it_was_done(self):
        for i, action in enumerate(("lose", "502!", "503!")):
            with self.subTest(action=action):
                c = self.make()
                name = c.acquire("car", "free", "busy").name
                self.proxy.only, self.proxy.script = "/release", [action]
                c.release(name, "dirty")
                self.assertEqual(len(self.proxy.targets("/release")), i + 1)
                self.assertEqual(self.owned(), [])

    def test_heartbeats_outlast_faults(self):
        c = self.make()
        c.acquire("car", "free", "busy")
        self.proxy.only, self.proxy.script = "/update", list(self.PASSING) + ["redirect", "403", "empty", *self.SAID]
        lost = []
        c.heartbeat(0.02, lambda r, e: lost.append(e))
        self.eventually("the script is played", lambda: not self.proxy.script)
        before = self.d.resources()["car-1"]["lastupdate"]
        self.eventually("it beats again", lambda: self.d.resources()["car-1"]["lastupdate"] > before)
        self.assertEqual(lost, [])
        self.assertEqual([r.name for r in c.held()], ["car-1"])

    def test_a_late_refusal_does_not_lose_what_was_acquired_again(self):
        c = self.make()
        c.acquire("car", "free", "busy")
        self.proxy.only, self.proxy.script = "/update", ["slow:1"]
        self.d.call("POST", "/reset", type="car", state="busy", dest="dirty", expire="-1s")
        lost = []
        c.heartbeat(0.05, lambda r, e: lost.append(e))
        self.eventually("it is refused", lambda: self.proxy.targets("/update"))
        time.sleep(0.2)  # the refusal is on its way
        c.acquire("car", "dirty", "busy")
        self.eventually("the next one comes", lambda: self.proxy.targets("/update")[1:])
        self.assertEqual(lost, [])
        self.assertEqual([r.name for r in c.held()], ["car-1"])


class Strangers(PythonTest):
    """Something answers in the server's place."""

    SAID = ("404", "401", "409", "empty")

    def test_acquire_is_repeated(self):
        for known in (True, False):
            with self.subTest(known=known):
                c = self.make()
                if known:
                    c.acquire("van", "free", "busy")
                # Who does not know boskosd yet takes a 401 for what it most often is.
                said = [a for a in self.SAID if known or a != "401"]
                self.proxy.only, self.proxy.script = "/acquire", list(said)
                c.acquire("car", "free", "busy")
                self.assertEqual(self.proxy.script, [])
        self.proxy.script = ["401"]
        self.assertRaises(boskos.AuthError, self.make().acquire, "car", "free", "busy")

    def test_acquire_given_up_is_taken_back(self):
        for action in self.SAID:
            with self.subTest(action=action):
                c = self.make(attempts=2)
                c.acquire("van", "free", "busy")
                self.proxy.only, self.proxy.script = "/acquire", ["lose", action]
                with self.assertRaises(boskos.BadReply) as caught:
                    c.acquire("car", "free", "busy")
                self.assertTrue(caught.exception.doubted and caught.exception.transient)
                self.assertTrue(c.settle(30))
                self.assertEqual(self.owned(), [c.held()[0].name])
                c.release_all("free")

    def test_release_goes_on_in_the_background(self):
        for i, action in enumerate(self.SAID):
            with self.subTest(action=action):
                c = self.make(attempts=1)
                name = c.acquire("car", "free", "busy").name
                self.proxy.only, self.proxy.script = "/release", [action]
                with self.assertRaises(boskos.BadReply) as caught:
                    c.release(name, "dirty")
                self.assertTrue(caught.exception.doubted)
                self.assertTrue(c.settle(30))
                self.assertEqual(self.owned(), [])
                self.assertEqual(self.d.resources()[name]["state"], "dirty")
                self.assertEqual(len(self.proxy.targets("/release")), 2 * (i + 1))

    def test_release_is_repeated(self):
        for action in self.SAID:
            with self.subTest(action=action):
                c = self.make()
                name = c.acquire("car", "free", "busy").name
                self.proxy.only, self.proxy.script = "/release", [action]
                c.release(name, "free")
                self.assertEqual(self.owned(), [])

    def test_it_is_not_released_unseen(self):
        for i, action in enumerate(("empty", "404", "401")):
            with self.subTest(action=action):
                c = self.make(attempts=3)
                name = c.acquire("car", "free", "busy").name
                self.proxy.script = ["lose"] + [action] * 100
                with self.assertRaises(boskos.BoskosError) as caught:
                    c.release(name, "given")
                self.assertTrue(caught.exception.doubted)
                self.assertEqual(self.d.acquire(state="given").json["name"], name)  # by another of this owner
                self.proxy.script = []
                self.assertTrue(c.settle(30))
                self.assertIn(name, self.owned("ann"))
                self.assertEqual(len(self.proxy.targets("/release")), i + 1)

    def test_reads(self):
        c = self.make(attempts=2)
        for action in ("empty", "404"):
            self.proxy.script = [action]
            self.assertRaises(boskos.Unsupported, c.get, "car-1")
        c.acquire("car", "free", "busy")
        for action in ("empty", "404", "say:{}", "say:[1]"):
            self.proxy.script = [action]
            self.assertEqual(c.get("car-1").owner, "ann")
            self.proxy.script = [action]
            self.assertEqual(len(c.list()), 7)
            self.proxy.script = [action] * 2
            with self.assertRaises(boskos.BadReply) as caught:
                c.get("car-1")
            self.assertFalse(caught.exception.doubted)
        self.assertRaises(boskos.NotFound, c.get, "car-9")

    def test_json_that_is_no_metric_and_no_reset(self):
        metric = {"type": "car", "current": {}, "owner": {}}
        odd = [{**metric, "type": 1}, {**metric, "current": []}, {**metric, "owner": {"ann": "1"}},
               {**metric, "current": {"busy": 1.5}}, {**metric, "owner": {"ann": True}}, {"current": {}, "owner": {}},
               {"type": "car", "owner": {}}, [], "x"]
        for value in odd:
            with self.subTest(value=value):
                self.proxy.script = ["say:" + json.dumps(value)] * 2
                self.assertRaises(boskos.BadReply, self.make(attempts=1).metric, "car")
                self.assertEqual(self.make().metric("car"), boskos.Metric("car", {"free": 4}, {"": 4}))
        for value in ({"car-1": 1}, {"car-1": None}, {"car-1": "ann", "car-2": {}}, ["car-1"]):
            with self.subTest(value=value):
                self.proxy.script = ["say:" + json.dumps(value)] * 2
                self.assertRaises(boskos.BadReply, self.make(attempts=1).reset, "car", "busy", 0, "free")
                self.assertEqual(self.make().reset("car", "busy", 0, "free"), {})

    def test_the_original_server(self):
        self.proxy.is_original = True
        c = self.make()
        self.d.acquire(type="van", owner="bob")
        for kind, call in ((boskos.NotAvailable, lambda: c.acquire("car", "none", "busy")),
                           (boskos.NoType, lambda: c.acquire("plane", "free", "busy")),
                           (boskos.NotAvailable, lambda: c.acquire_by_state("none", "busy", ["car-1"])),
                           (boskos.OwnerMismatch, lambda: c.release("van-1", "free")),
                           (boskos.OwnerMismatch, lambda: c.update("van-1", "busy")),
                           (boskos.NotFound, lambda: c.release("car-9", "free")),
                           (boskos.NotFound, lambda: c.update("car-9", "busy")),
                           (boskos.NoType, lambda: c.metric("plane")),
                           (boskos.Unsupported, lambda: c.get("car-1"))):
            with self.assertRaises(kind) as caught:
                call()
            self.assertEqual(type(caught.exception), kind)
            self.assertFalse(caught.exception.doubted)
        c.acquire("car", "free", "busy")
        with self.assertRaises(boskos.StateMismatch):
            c.update("car-1", "clean")
        self.proxy.only, self.proxy.script = "/release", ["lose", "404"]  # and then it is refused, as it was done
        c.release("car-1", "free")
        self.assertEqual(len([t for t in self.proxy.targets("/release") if "car-1" in t]), 3)
        self.assertEqual(self.owned(), ["van-1"])

    def test_the_words_of_a_refusal(self):
        t = transport.Transport("http://localhost", None, None, None, None, 1, 1)
        for body, kind in ((b'Acquire failed: resource type "car" does not exist\n', boskos.NoType),
                           (b"Acquire failed: no available resource car, try again later.\n", boskos.NotAvailable),
                           (b"This page does not exist.\n", boskos.BadReply)):
            with self.assertRaises(kind) as caught:
                t._judge("/acquire", transport.Reply(404, {}, body))
            self.assertEqual(type(caught.exception), kind)

    def test_a_503_that_says_not_done(self):
        t = transport.Transport("http://localhost", None, None, None, None, 1, 1)
        for body, headers, doubted in ((b"the server's disk is full.\n", {}, False),
                                       (b"the server is shutting down.\n", {}, False),
                                       (b"Acquire failed: the queue is full\n", {"boskos-seq": "7"}, False),
                                       (b"Acquire failed: the queue is full\n", {"boskos-seq": "x"}, True),
                                       (b"<html>the server is shutting down.</html>\n", {}, True), (b"", {}, True)):
            with self.subTest(body=body, headers=headers):
                with self.assertRaises(boskos.ServerError) as caught:
                    t._judge("/acquire", transport.Reply(503, headers, body))
                e = caught.exception
                self.assertEqual((e.doubted, getattr(e, "late", False)), (doubted, doubted))

    def test_a_key_that_has_another_lease(self):
        c = self.make()
        c.acquire("car", "free", "busy", key="k")
        self.assertRaises(boskos.KeyConflict, c.acquire, "van", "free", "busy", key="k")


class Taken(PythonTest):
    """A call of acquire_by_state that is given up in doubt."""

    NAMES = ["car-1", "car-2"]

    def give_up(self, c, *actions, cancel=None):
        self.proxy.only, self.proxy.script = "/acquirebystate", list(actions)
        with self.assertRaises(boskos.BoskosError) as caught:
            c.acquire_by_state("free", "busy", self.NAMES, cancel=cancel)
        self.assertTrue(caught.exception.doubted)
        return caught.exception

    def test_it_goes_back(self):
        for action in ("lose", "cut", "half", "502!", "503!", "404!", "hang", "close", "502"):
            with self.subTest(action=action):
                c = self.make(attempts=1, request_timeout=0.2 if action == "hang" else 20)
                self.give_up(c, action)
                self.assertTrue(c.settle(30))
                self.assertEqual(self.owned(), [])
                self.assertEqual({r["state"] for r in self.d.resources().values()}, {"free"})

    def test_it_goes_back_after_a_cancellation(self):
        c, cancel = self.make(backoff=20, backoff_most=20), threading.Event()

        def cancel_later():
            self.eventually("it is asked", lambda: self.proxy.targets("/acquirebystate"))
            cancel.set()

        t = threading.Thread(target=cancel_later)
        t.start()
        self.assertIsInstance(self.give_up(c, "lose", cancel=cancel), boskos.Cancelled)
        t.join()
        self.assertTrue(c.settle(30))
        self.assertEqual(self.owned(), [])

    def test_a_look_that_fails_is_repeated(self):
        c = self.make(attempts=1)
        c.release(c.acquire("van", "free", "busy").name, "free")  # it knows boskosd now
        self.proxy.script = ["lose", "empty", "404", "401"]
        self.assertRaises(boskos.LostReply, c.acquire_by_state, "free", "busy", self.NAMES)
        self.assertTrue(c.settle(30))
        self.assertEqual((self.owned(), self.proxy.script), ([], []))

    def test_what_is_held_stays(self):
        c = self.make(attempts=1)
        c.acquire("car", "free", "busy")
        self.give_up(c, "lose")
        c.update("car-1")
        c.hold(boskos.Resource("car", "car-2", "busy", "ann", ""))
        self.d.call("POST", "/acquirebystate", state="free", dest="busy", owner="ann", names="car-2")
        self.assertTrue(c.settle(30))
        self.assertEqual(self.owned(), ["car-1", "car-2"])

    def test_a_release_by_hand_ends_the_doubt(self):
        c = self.make(attempts=1)
        self.give_up(c, "lose")
        for name in self.NAMES:
            c.release(name, "dirty")
        self.assertTrue(c.settle(0))
        self.assertEqual(self.owned(), [])
        self.assertEqual({self.d.resources()[n]["state"] for n in self.NAMES}, {"dirty"})

    def test_a_release_by_hand_ends_the_doubt_while_it_looks(self):
        c = self.make(attempts=1)
        self.proxy.script = ["lose", "slow:0.4"]
        self.assertRaises(boskos.LostReply, c.acquire_by_state, "free", "busy", self.NAMES)
        c.settle(0)
        self.eventually("it looks", lambda: self.proxy.targets("/v1/resources/car-1"))
        for name in self.NAMES:
            c.release(name, "given")
        for _ in self.NAMES:
            self.d.acquire(state="given")  # by another of this owner
        self.assertTrue(c.settle(30))
        self.assertEqual(self.owned("ann"), self.NAMES)

    def test_another_call_for_the_same_names_keeps_what_it_gets(self):
        c, found = self.make(attempts=1), []
        self.give_up(c, "close")
        self.proxy.script = ["slow:0.7"]
        t = threading.Thread(target=lambda: found.extend(c.acquire_by_state("free", "busy", self.NAMES)))
        t.start()
        self.eventually("they are taken", lambda: self.owned() == self.NAMES)
        c.settle(0.2)
        self.eventually("it looks meanwhile", lambda: self.proxy.targets("/v1/resources/car-1"))
        t.join(PATIENCE)
        self.assertEqual([r.name for r in found], self.NAMES)
        self.assertTrue(c.settle(30))
        self.assertEqual(self.owned(), self.NAMES)

    def test_at_the_original_server_it_is_said(self):
        self.proxy.is_original = True
        c = self.make(attempts=1)
        with self.assertLogs("boskos", "WARNING") as said:
            self.give_up(c, "lose")
            self.assertTrue(c.settle(30))
        self.assertEqual(len([r for r in said.records if "may have been acquired" in r.getMessage()]), 2)
        self.assertEqual(self.owned(), self.NAMES)

    def test_leased_ones_go_back_as_dirty_at_once(self):
        self.d.acquire(type="cluster", owner="mason")
        self.d.update("cluster-1", {"leasedResources": "- car-2\n- car-3\n"}, owner="mason")
        self.d.call("POST", "/acquirebystate", state="free", dest="x", owner="mason", names="car-2,car-3")
        for n, dest in (("car-2", "cluster-1"), ("car-3", "cluster-1"), ("cluster-1", "free")):
            self.d.release(n, dest=dest, owner="mason")
        c = self.make(attempts=1)
        self.proxy.only, self.proxy.script = "/acquirebystate", ["lose"]
        self.assertRaises(boskos.LostReply, c.acquire_leased, "cluster", "free", "busy")
        self.assertTrue(c.settle(0))
        self.assertEqual(self.owned(), [])
        self.assertEqual({self.d.resources()[n]["state"] for n in ("car-2", "car-3", "cluster-1")}, {"dirty"})


if __name__ == "__main__":
    main()
