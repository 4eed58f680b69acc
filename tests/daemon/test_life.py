"""The life of the daemon as its surroundings see it: the line at the start, ports, readiness, signals, log lines."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

import boskosd


class Start(boskosd.DaemonTest):

    def test_line(self):
        d = self.daemon().start()
        line = self.line_at_the_start(d)
        self.assertEqual(d.log().count("boskosd is ready"), 1, "one line at the start was expected")
        for field in (r"version=\d", f"data_dir={d.data_dir}", "seq=0", "snapshot=0", "tail=0", r'recovery="?\d'):
            self.assertRegex(line, field, "the line at the start was expected to say it")
        for _ in range(5):
            d.acquire()
        seq = d.seq()
        self.assertEqual(d.kill(), -signal.SIGKILL)
        d.start()
        line = self.line_at_the_start(d)
        for field in (rf"\bseq={seq}\b", r"\bsnapshot=0\b", rf"\btail={seq}\b", r"\bresources=6\b"):
            self.assertRegex(line, field, "after a kill the whole log is the tail")
        seq = d.seq()
        self.assertEqual(d.stop(), 0)
        d.start()
        line = self.line_at_the_start(d)
        for field in (rf"\bseq={seq}\b", rf"\bsnapshot={seq}\b", r"\btail=0\b"):
            self.assertRegex(line, field, "after an orderly end the snapshot is all of it")

    def test_in_memory(self):
        d = self.daemon(flags=["--in_memory"]).start()
        self.assertIn("in_memory", self.line_at_the_start(d))
        self.assertEqual(d.acquire().status, 200)
        self.assertEqual(d.stop(), 0)
        d.start()
        self.assertEqual({r["owner"] for r in d.resources().values()}, {""}, "in memory all was to be forgotten")


class Ports(boskosd.DaemonTest):

    def taken_port(self, number=0):
        """A port that somebody listens on, on all addresses; None when this one cannot be had."""
        s = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
        self.addCleanup(s.close)
        if s.family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            s.bind(("", number))
        except OSError:
            return None
        s.listen()
        return s.getsockname()[1]

    def test_taken_api_port(self):
        port = self.taken_port()
        d = self.daemon(flags=["--port", str(port)]).launch()
        self.check_refused(d, 1, str(port))
        self.assertFalse(os.path.exists(d.data_dir), "nothing was expected to be made before the port is had")

    def test_taken_given_side_ports(self):
        for flag in ("--health-port", "--metrics-port"):
            with self.subTest(flag=flag):
                port = self.taken_port()
                d = self.daemon(flags=[flag, str(port)]).launch()
                self.check_refused(d, 1, str(port))

    def test_taken_default_side_ports(self):
        # Somebody may have them already: that serves as well.
        for port in (8081, 9090):
            self.taken_port(port)
        api = boskosd.free_ports(1)[0]
        config = os.path.join(self.folder, "config.yaml")
        d = self.daemon(usual=False, flags=["--config", config, "--in_memory", "--port", str(api)]).launch()
        self.eventually("the line at the start comes", lambda: "boskosd is ready" in d.log() or not d.is_running())
        self.assertTrue(d.is_running(), f"a taken default port was expected to be no reason to end:\n{d.log()}")
        d.port = api
        self.assertEqual(d.acquire().status, 200)
        for port in (8081, 9090):
            lines = [line for line in d.log_lines() if f" {port} " in line]
            self.assertEqual(len(lines), 1, f"one line about port {port} was expected:\n{d.log()}")
            self.assertIn("level=warning", lines[0])

    def test_side_ports_off(self):
        d = self.daemon(flags=["--health-port", "0", "--metrics-port", "0"]).launch()
        self.line_at_the_start(d)
        self.assertEqual(d.acquire().status, 200)
        self.assertEqual(d.probe("/healthz"), 0, "nobody was expected on a port that is off")

    def test_address(self):
        d = self.daemon(flags=["--address", "127.0.0.1"]).start()
        self.assertEqual(d.acquire().status, 200)
        with self.assertRaises(OSError, msg="only 127.0.0.1 was expected to be listened on"):
            socket.create_connection(("127.0.0.2", d.port), timeout=boskosd.PATIENCE)

    def test_wrong_address(self):
        d = self.daemon(flags=["--address", "no.such.address.invalid"]).launch()
        self.check_refused(d, 1, "no.such.address.invalid")

    def test_all_addresses(self):
        d = self.daemon().start()
        for address in ("127.0.0.2", "::1"):
            try:
                probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                with probe:
                    probe.bind((address, 0))
            except OSError:
                continue  # this machine does not have it
            with self.subTest(address=address):
                socket.create_connection((address, d.port), timeout=boskosd.PATIENCE).close()


class Readiness(boskosd.DaemonTest):

    def test_before_and_after(self):
        # Many names make the reading of the config long enough to be seen.
        names = ", ".join(f"n{i}" for i in range(20000))
        d = self.daemon(config=f"resources:\n- type: car\n  names: [{names}]\n").launch()
        seen = []
        while not seen or seen[-1][1] != 200:
            self.assertTrue(d.is_running(), d.log())
            # The first before the second: what is seen ready must be healthy afterwards, too.
            pair = (d.probe("/healthz"), d.probe("/healthz/ready"))
            if pair != (0, 0) and (not seen or pair != seen[-1]):
                seen.append(pair)
        # It may begin to listen between the two probes of a pair.
        seen = [pair for pair in seen if pair[0] != 0]
        self.assertEqual(seen[-1], (200, 200), f"at the end both were expected to be 200, not {seen}")
        self.assertEqual({pair[0] for pair in seen}, {200}, f"/healthz was expected to be 200 from the start: {seen}")
        self.assertIn((200, 503), seen, "before recovery and config are done, ready was expected to be 503")
        self.assertEqual(seen.index((200, 503)), 0)
        self.assertEqual(d.acquire().status, 200, "what is ready was expected to serve")

    def test_body(self):
        d = self.daemon().start()
        for path in ("/healthz", "/healthz/ready"):
            reply = d.call("GET", path, port=d.health)
            self.assertEqual((reply.status, reply.body), (200, b"OK"))


class End(boskosd.DaemonTest):

    def check_nothing_unanswered(self, d, load, first_seq):
        """Every command of a client that is in the log was answered: their numbers have no gaps."""
        d.flags = []
        d.start()
        last = d.seq() - 1  # without `started`
        expected = set(range(first_seq, last + 1))
        missing = sorted(expected - set(load.seqs))
        self.assertEqual(missing, [], f"these commands were logged, but not answered; {len(load.seqs)} were")
        self.assertEqual(len(load.seqs), len(set(load.seqs)), "two replies with one sequence number")
        self.assertEqual(max(load.seqs), last, "all that was answered was expected to be in the log")
        self.assertEqual(set(load.statuses) - {200, 404}, set(), f"only 200 and 404 were expected: {load.statuses}")

    def test_term_under_load(self):
        d = self.daemon().start()
        first_seq = d.seq() + 1
        load = boskosd.Load(d, 24)
        time.sleep(0.7)
        code = d.stop()
        load.join()
        self.assertEqual(code, 0, f"SIGTERM was expected to end with 0:\n{d.log()}")
        self.assertGreater(len(load.seqs), 24, "hardly any load")
        self.assertEqual(d.snapshots(), [max(load.seqs)], "a snapshot of the very end was expected")
        self.check_nothing_unanswered(d, load, first_seq)

    def test_term_twice(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(second=second):
                d = self.daemon(data_dir=os.path.join(self.folder, second.name)).start()
                first_seq = d.seq() + 1
                load = boskosd.Load(d, 8)
                time.sleep(0.3)
                d.signal(signal.SIGTERM)
                d.signal(second)
                code = d.wait()
                load.join()
                self.assertEqual(code, 0, "a second signal was expected to change nothing")
                self.assertEqual(d.snapshots(), [max(load.seqs)])
                self.check_nothing_unanswered(d, load, first_seq)
                d.end()

    def test_interrupt(self):
        d = self.daemon().start()
        d.acquire()
        seq = d.seq()
        d.signal(signal.SIGINT)
        self.assertEqual(d.wait(), 0, "SIGINT was expected to be as SIGTERM")
        self.assertEqual(d.snapshots(), [seq])

    def test_term_before_ready(self):
        d = self.daemon().start()
        d.acquire()
        before = d.resources()
        self.assertEqual(d.stop(), 0)
        for wait in (0.0, 0.002, 0.01, 0.05, 0.1):
            d.launch()
            time.sleep(wait)
            d.signal(signal.SIGTERM)
            self.assertIn(d.wait(), (0, -signal.SIGTERM), "it was expected to end of SIGTERM")
        d.start()
        self.assertEqual(d.resources(), before, "nothing was expected to be changed by such starts")

    def test_half_a_request(self):
        """A request whose head is there when SIGTERM comes is in flight: its reply is waited for."""
        d = self.daemon().start()
        name = d.acquire().json["name"]
        c = boskosd.Connection(d.port)
        idle = boskosd.Connection(d.port)
        self.addCleanup(c.close)
        self.addCleanup(idle.close)
        body = b'{"k": "v"}'
        head = (f"POST /update?name={name}&owner=ann&state=busy HTTP/1.1\r\nHost: x\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        c.socket.sendall(head + body[:4])
        time.sleep(0.2)
        d.signal(signal.SIGTERM)
        self.assertEqual(idle.socket.recv(1), b"", "an idle connection was expected to be closed")
        self.eventually("nobody new is taken in", lambda: not self.connects(d.port))
        c.socket.sendall(body[4:])
        self.assertEqual(c.reply().status, 200, "what was in flight was expected to be answered")
        self.assertEqual(d.wait(), 0)
        d.start()
        self.assertEqual(d.resources()[name]["userdata"], {"k": "v"}, "what was answered was expected to be kept")

    @staticmethod
    def connects(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=boskosd.PATIENCE).close()
        except OSError:
            return False
        return True

    def test_not_ready_any_more(self):
        d = self.daemon().start()
        c = boskosd.Connection(d.port)
        self.addCleanup(c.close)
        c.socket.sendall(b"POST /update?name=car-1&owner=ann&state=busy HTTP/1.1\r\n"
                         b"Host: x\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.2)
        d.signal(signal.SIGTERM)
        self.eventually("it says that it is not ready", lambda: d.probe("/healthz/ready") == 503)
        c.socket.sendall(b"{}")
        self.assertEqual(c.reply().status, 401)
        self.assertEqual(d.wait(), 0)

    def test_ends_by_itself_without_work(self):
        d = self.daemon().start()
        seq = d.seq()
        self.assertEqual(d.stop(), 0)
        d.start()
        self.assertEqual(d.stop(), 0)
        self.assertEqual(d.snapshots(), [seq, seq + 1], "an end right after a start has a snapshot, too")


class Log(boskosd.DaemonTest):

    SECRETS = ["userdata-key-6f1", "userdata-value-6f1", "cGFzczp3b3JkLTZmMQ", "secret-cookie-6f1", "word-6f1"]

    def work(self, d):
        """Every kind of call, with secrets in the userdata and in the headers, good and bad."""
        headers = ["Authorization: Basic cGFzczp3b3JkLTZmMQ==", "Cookie: secret-cookie-6f1"]
        secret = {"userdata-key-6f1": "userdata-value-6f1"}
        name = d.acquire().json["name"]
        self.assertEqual(d.update(name, secret, headers=headers).status, 200)
        self.assertEqual(d.update(name, secret, owner="bob", headers=headers).status, 401)
        self.assertEqual(d.update("none", secret, headers=headers).status, 404)
        self.assertEqual(d.update(name, ["userdata-value-6f1"], headers=headers).status, 400)
        self.assertEqual(d.update(name, {"userdata-key-6f1": 1}, headers=headers).status, 400)
        for text in (b'{"userdata-key-6f1": "userdata-value-6f1', b'{"userdata-key-6f1" "userdata-value-6f1"}'):
            reply = d.call("POST", "/update", text, headers, name=name, owner="ann", state="busy")
            self.assertEqual(reply.status, 400)
        self.assertEqual(d.update(name, {"userdata-key-6f1": "x" * 300000}, headers=headers).status, 413)
        self.assertEqual(d.call("POST", "/acquire", headers=headers).status, 400)
        self.assertEqual(d.call("GET", "/acquire", headers=headers).status, 405)
        self.assertEqual(d.call("GET", "/v1/resources", headers=headers).status, 200)
        reply = d.call("POST", "/reset", headers=headers, type="car", state="busy", dest="free", expire="x")
        self.assertEqual(reply.status, 400)
        with boskosd.Connection(d.port) as c:
            c.socket.sendall(b"POST /x HTTP/1.1\r\nAuthorization: Basic cGFzczp3b3JkLTZmMQ==\r\nHost : x\r\n\r\n")
            self.assertEqual(c.reply().status, 400)
        boskosd.put_file(d.config_path, "resources: [\n")
        self.eventually("a bad config is said", lambda: "not valid" in d.log())

    def test_no_secrets(self):
        for form in ("text", "json"):
            with self.subTest(form=form):
                d = self.daemon(data_dir=os.path.join(self.folder, form),
                                flags=["--log-level", "trace", "--log-format", form]).start()
                self.work(d)
                self.assertEqual(d.stop(), 0)
                first = d.log()
                boskosd.put_file(d.config_path, boskosd.CONFIG)
                d.start()  # reads the userdata from the snapshot, the next one from the log
                d.kill()
                second = d.log()
                d.start()
                d.stop()
                for secret in self.SECRETS:
                    self.assertNotIn(secret, first + second + d.log(), "it was expected to stay out of the log")

    def test_json(self):
        d = self.daemon(flags=["--log-level", "trace", "--log-format", "json", "--namespace", 'quote"and\\']).start()
        self.work(d)
        d.signal(signal.SIGHUP)
        self.eventually("SIGHUP is said", lambda: "SIGHUP" in d.log())
        self.assertEqual(d.stop(), 0)
        lines = d.log_lines()
        self.assertGreater(len(lines), 5)
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                self.fail(f"each line was expected to be JSON: {line!r}")
            self.assertIn(event.get("level"), ("fatal", "error", "warning", "info", "debug", "trace"), line)
            self.assertIsInstance(event.get("msg"), str, line)
            self.assertRegex(event.get("time", ""), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z", line)

    def test_json_of_a_fatal_end(self):
        d = self.daemon(flags=["--log-format", "json"], data_dir=os.path.join(self.folder, "a", "b")).launch()
        line = self.check_refused(d, 1, "--data-dir")
        self.assertEqual(json.loads(line)["level"], "fatal")

    def test_levels(self):
        d = self.daemon(flags=["--log-level", "error", "--namespace", "x"]).start()
        boskosd.put_file(d.config_path, "resources: []\n")
        self.eventually("an error is said", lambda: "empty config" in d.log())
        self.assertEqual(d.stop(), 0)
        for line in d.log_lines():
            self.assertNotRegex(line, r"level=(info|warning|debug|trace)", "at level error only errors were expected")

    def test_closed_stderr(self):
        """A log that nobody reads any more must not end the daemon."""
        d = self.daemon()
        d.port, d.health, d.metrics = boskosd.free_ports(3)
        reader, writer = os.pipe()
        d.log_path = os.devnull
        d.process = subprocess.Popen(d.command(), stderr=writer, stdout=writer, cwd=self.folder)
        os.close(writer)
        os.close(reader)
        self.assertTrue(d.wait_ready(), "it was expected to start without a reader of its log")
        d.signal(signal.SIGHUP)
        self.assertEqual(d.acquire().status, 200)
        self.assertEqual(d.stop(), 0)


class Waiting(boskosd.DaemonTest):

    def test_queue_survives(self):
        """Who waits keeps the place over a kill; who came later does not get before."""
        d = self.daemon(config="resources:\n- type: car\n  names: [car-1]\n").start()
        self.assertEqual(d.acquire(owner="ann").status, 200)
        self.assertEqual(d.acquire(owner="bob", request_id="b").status, 404)
        self.assertEqual(d.acquire(owner="cyd", request_id="c").status, 404)
        d.kill()
        d.start()
        self.assertEqual(d.release("car-1", owner="ann").status, 200, "the lease was expected to be kept")
        self.assertEqual(d.acquire(owner="cyd", request_id="c").status, 404, "bob came first")
        self.assertEqual(d.acquire(owner="dan").status, 404, "those who wait come first")
        self.assertEqual(d.acquire(owner="bob", request_id="b").status, 200, "bob's place was expected to be kept")

    def test_many_clients(self):
        """More clients than resources at once: each resource has one owner at a time, nobody gets a wrong answer."""
        d = self.daemon().start()
        loads = [boskosd.Load(d, 16, kind, each=60) for kind in ("car", "van")]
        for load in loads:
            load.join()
            self.assertEqual(load.unanswered, 0)
            self.assertEqual(set(load.statuses) - {200, 404}, set(), load.statuses)
        self.assertEqual(threading.active_count(), 1)


if __name__ == "__main__":
    boskosd.main()
