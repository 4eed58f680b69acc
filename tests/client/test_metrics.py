#!/usr/bin/env python3
"""boskos-metrics against a real boskosd, through a proxy that loses and spoils."""

import re
import socket
import threading
import time

from program_test import *  # noqa: F403

STATES = ("busy", "cleaning", "dirty", "free", "leased", "other", "toBeDeleted", "tombstone")


class Metrics(ProgramTest):
    PROGRAM = "BOSKOS_METRICS"

    def begin(self, *flags, **more):
        """Starts it on free ports."""
        self.port, self.metrics = boskosd.free_ports(2)
        p = self.start(f"--port={self.port}", f"--metrics-port={self.metrics}", *flags, **more)
        self.eventually("it is ready", lambda: "is ready" in p.log())
        return p

    def get(self, path, method="GET", port=None, body=b"", **parameters):
        with boskosd.Connection(port or self.port) as c:
            return c.request(method, boskosd.target(path, **parameters), body)

    def page(self):
        """The samples of the page for Prometheus by name and labels; nothing before the first round."""
        reply = self.get("/metrics", port=self.metrics)
        if reply.status == 503:
            return {}
        self.assertEqual(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        samples = {}
        for line in reply.text.splitlines():
            if line.startswith("#"):
                continue
            found = re.fullmatch(r'(\w+){((?:\w+="(?:[^"\\]|\\.)*",?)+)} (\d+)', line)
            self.assertTrue(found, line)
            key = (found[1], *sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2])))
            self.assertNotIn(key, samples)
            samples[key] = int(found[3])
        return samples

    def counts(self, type):
        return {dict(k[1:])["state"]: n for k, n in self.page().items()
                if k[0] == "boskos_resources" and dict(k[1:])["type"] == type}

    def is_up(self, type):
        return self.page().get(("boskos_metrics_up", ("type", type)))

    def test_command_line(self):
        self.check_help("--resource-type", "--resource-type-from-config", "--resource-state", "--port", "--metrics-port",
                        "--period", "--boskos-url")
        self.check_usage(((), "must be set"), (("--resource-type=car", "--port=x"), '"x" is no port'),
                         (("--resource-type=car", "--port=70000"), "is no port"),
                         (("--resource-type=car", "--port=0", "--metrics-port=0"), "are both 0"),
                         (("car",), "takes no words"))

    def test_a_taken_port(self):
        with socket.create_server(("", 0)) as taken:
            done = self.once("--resource-type=car", f"--port={taken.getsockname()[1]}", "--metrics-port=0", code=1)
        self.assertRegex(done.stderr, r"^boskos-metrics: cannot listen on port \d+: Address already in use\n$")

    def test_the_json_page(self):
        p = self.begin("-resource-type", "car", "-health-port=1", "--profile-memory-usage")
        self.d.acquire()
        reply = self.get("/", type="car")
        self.assertEqual((reply.status, reply.text),
                         (200, '{"type":"car","current":{"busy":1,"free":3},"owner":{"":3,"ann":1}}'))
        self.assertEqual(self.get("/any/path", type="van").json["type"], "van")
        for method in ("POST", "HEAD"):
            with boskosd.Connection(self.port) as c:
                c.send(method, "/?type=car", b"x" * 5000 if method == "POST" else b"")
                self.assertIn(b" 405 ", c.socket.recv(100))
        for parameters in ({}, {"type": ""}):
            reply = self.get("/", **parameters)
            self.assertEqual((reply.status, reply.text), (400, "type must be set in the request.\n"))
        self.assertEqual(self.get("/", type="plane").status, 404)
        self.assertEqual(p.stop(), 0)

    def test_the_page_for_prometheus(self):
        p = self.begin("--resource-type=car,van,plane", "--period=50ms")
        self.d.acquire(dest='odd "state"')
        self.d.acquire(dest="cleaning")
        want = {s: 0 for s in STATES} | {"free": 2, "cleaning": 1, "other": 1}
        self.eventually("it is counted", lambda: self.counts("car") == want)
        self.assertEqual(self.counts("van"), {s: 0 for s in STATES} | {"free": 2})
        self.assertEqual((self.counts("plane"), self.is_up("plane")), ({s: 0 for s in STATES}, 1))
        self.assertEqual(self.get("/", port=self.metrics).status, 404)
        self.assertEqual(self.get("/metrics", "POST", port=self.metrics).status, 405)
        self.assertEqual(p.log().count("failed to get metric for plane"), 1, "it is said in each round")
        self.assertEqual(p.stop(), 0)

    def test_states_of_choice(self):
        self.d.acquire(dest='a"b\\c')
        self.d.acquire(dest="other")
        self.begin("--resource-type=car", '--resource-state=free,a"b\\c,none', "--period=50ms")
        self.eventually("it is counted", lambda: self.counts("car"))
        self.assertEqual(self.counts("car"), {"free": 2, 'a\\"b\\\\c': 1, "none": 0, "other": 1})

    def test_types_of_a_config_that_changes(self):
        path = self.file("config", "resources: [{type: car, names: [a]}]\n")
        self.begin("--resource-type-from-config", path, "--period=50ms")
        self.eventually("there is car", lambda: self.counts("car"))
        self.file("config", "resources: [{type: van, names: [a]}]\n")
        self.eventually("there is van alone", lambda: self.counts("van") and not self.counts("car"))

    @slow
    def test_faults_for_good(self):
        p = self.begin("--resource-type=car", "--period=20ms")
        for action in FAULTS:
            with self.subTest(action=action):
                self.proxy.script = [action] * 1000
                self.eventually("no old count is shown", lambda: self.is_up("car") == 0 and not self.counts("car"))
                reply = self.get("/", type="car")
                self.assertEqual((reply.status, reply.text.count("\n")), (502, 1), reply)
                self.proxy.script = []
                self.eventually("it goes on", lambda: self.is_up("car") == 1 and self.counts("car")["free"] == 4)
        self.assertEqual(p.stop(), 0)
        self.assertIn("failed to get metric for car: ", p.log())

    def test_one_failing_type_does_not_stop_the_others(self):
        self.proxy.script = ["403"]
        self.begin("--resource-type=car,van")
        self.eventually("the round is over", self.page)
        self.assertEqual((self.is_up("car"), self.is_up("van")), (0, 1))
        self.assertEqual((self.counts("car"), self.counts("van")["free"]), ({}, 2))

    @slow
    def test_faults_that_pass(self):
        p = self.begin("--resource-type=car", "--period=1h")
        self.eventually("the round is over", self.page)
        for action in ("refuse", "close", "500", "lose", "half", "cut", "html", "delay:0.2"):
            self.proxy.script = [action]
            self.assertEqual(self.get("/", type="car").status, 200, action)
        self.assertEqual(p.stop(), 0)

    @slow
    def test_a_server_that_hangs(self):
        """The page for Prometheus answers meanwhile, and so does the end."""
        p = self.begin("--resource-type=car", "--period=1h")
        self.eventually("the round is over", self.page)
        self.proxy.script = ["hang"] * 20
        asked = []
        threads = [threading.Thread(target=lambda: asked.append(self.get("/", type="car").status)) for _ in range(12)]
        for t in threads:
            t.start()
        self.eventually("it asks", lambda: len(self.proxy.targets("/metric")) > 4)
        began = time.monotonic()
        self.assertEqual(self.counts("car")["free"], 4)
        self.assertLess(time.monotonic() - began, 2)
        self.proxy.script = []
        for t in threads:
            t.join(PATIENCE)
        self.assertEqual(len(asked), 12)
        self.proxy.script = ["hang"] * 20
        t = threading.Thread(target=self._ask_and_forget)
        t.start()
        self.eventually("it asks", lambda: len(self.proxy.script) < 20)
        began = time.monotonic()
        self.assertEqual(p.stop(), 0)
        self.assertLess(time.monotonic() - began, 4)
        t.join(PATIENCE)

    def _ask_and_forget(self):
        try:
            self.get("/", type="car")
        except OSError:
            pass


if __name__ == "__main__":
    main()
