#!/usr/bin/env python3
"""The Python package boskos against a real boskosd, through a proxy that loses, delays and spoils."""

import logging
import os
import sys
import threading
import time

from client_test import *  # noqa: F403

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "python"))

import boskos  # noqa: E402


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
        for action in ("lose", "cut", "502!", "slow:1"):
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
        c = self.make()
        c.acquire("car", "free", "busy")
        self.proxy.only, self.proxy.script = "/release", ["lose"]
        c.release("car-1", "free")
        self.assertEqual(len(self.proxy.targets("/release")), 1)

    def test_heartbeats_outlast_faults(self):
        c = self.make()
        c.acquire("car", "free", "busy")
        self.proxy.only, self.proxy.script = "/update", list(self.PASSING) + ["redirect", "403"]
        lost = []
        c.heartbeat(0.02, lambda r, e: lost.append(e))
        self.eventually("the script is played", lambda: not self.proxy.script)
        before = self.d.resources()["car-1"]["lastupdate"]
        self.eventually("it beats again", lambda: self.d.resources()["car-1"]["lastupdate"] > before)
        self.assertEqual(lost, [])

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


if __name__ == "__main__":
    main()
