#!/usr/bin/env python3
"""What is the same for all programs: the credentials they send, and the helpers built into boskosd beside them."""

import base64
import threading
import time

from worker_test import *  # noqa: F403

CONFIG = """\
resources:
- type: car
  state: dirty
  names: [car-1, car-2, car-3, car-4]
- type: part
  state: free
  names: [part-1, part-2]
- type: cluster
  state: dirty
  min-count: 1
  max-count: 1
  needs: {part: 1}
  config: {type: Creator, content: x}
"""


class Credentials(WorkerTest):
    """Every request of every program has them, and a file that changes counts from the next request on."""

    CONFIG = CONFIG

    def setUp(self):
        super().setUp()
        self.password, self.token = self.file("password", " first\n"), self.file("token", "first\n")

    def check(self, program, paths, *flags, ends=True, url_flag="--boskos-url", code=0, before=()):
        """Runs it with each kind of credentials, until it has sent requests to all the paths."""
        for kind in ("basic", "bearer", "none"):
            with self.subTest(program=program, kind=kind):
                self.proxy.seen.clear()
                given = {"basic": ("--username=ann", f"--password-file={self.password}"),
                         "bearer": (f"--token-file={self.token}",), "none": ()}[kind]
                words = [os.environ[program], *before, url_flag, self.proxy.url, *given, *flags]
                self.starts = getattr(self, "starts", 0) + 1
                p = Program(words, self.folder, os.path.join(self.folder, f"program-{self.starts}.log"))
                self.addCleanup(p.end)
                for secret in ("first",) if ends else ("first", "second"):
                    boskosd.put_file(self.password, secret)
                    boskosd.put_file(self.token, f"  {secret}\n")
                    wanted = {"basic": "Basic " + base64.b64encode(f"ann:{secret}".encode()).decode(),
                              "bearer": "Bearer " + secret, "none": None}[kind]
                    if not ends:
                        self.eventually("it sends them", lambda: self.sent() and self.sent()[-1][1] == wanted)
                        self.proxy.seen.clear()
                        self.eventually("it goes on", lambda: self.proxy.seen)
                    else:
                        self.assertEqual(p.process.wait(PATIENCE), code, p.log())
                    self.eventually("all calls were made", lambda: paths <= {t for t, _ in self.sent()})
                    self.assertEqual({a for _, a in self.sent()}, {wanted}, p.log())
                if not ends:
                    self.assertEqual(p.stop(), 0)
                boskosd.put_file(self.password, "first")
                boskosd.put_file(self.token, "first")
        done = subprocess.run([os.environ[program], *before, url_flag, self.proxy.url, "--username=ann", *flags],
                              stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("together", done.stderr)

    def sent(self):
        with self.proxy.lock:
            return [(target.split("?")[0], headers.get("authorization")) for _, target, headers, _ in self.proxy.seen]

    def test_reaper(self):
        self.check("BOSKOS_REAPER", {"/reset"}, "--resource-type=car", "--expire=1h", "--period=50ms", ends=False)

    def test_cleaner(self):
        self.check("BOSKOS_CLEANER", {"/v1/resources"}, "--resource-type=car", "--period=50ms", ends=False)

    def test_metrics(self):
        self.check("BOSKOS_METRICS", {"/metric"}, "--resource-type=car", "--period=50ms", "--port=0", "--metrics-port=" +
                   str(boskosd.free_ports(1)[0]), ends=False)

    def test_janitor(self):
        """It cleans the same ones again and again: acquire, heartbeats, release."""
        self.check("BOSKOS_JANITOR", {"/acquire", "/update", "/release"}, "--resource-type=car", "--poll-period=50ms",
                   "--update-frequency=20ms", "--metrics-port=0", "--janitor-path",
                   self.script("clean", "sleep 0.2; exit 1\n"), ends=False)

    def test_mason(self):
        """It makes the same one again and again, of what it gives back as dirty."""
        path = self.file("mason.yaml", CONFIG)
        end = threading.Event()

        def free_parts():
            while not end.wait(0.02):
                while (r := self.d.acquire("part", "dirty")).status == 200:
                    self.d.release(r.json["name"], "free")
        thread = threading.Thread(target=free_parts)
        thread.start()
        try:
            self.check("BOSKOS_MASON", {"/acquire", "/update", "/release"}, "--config=" + path,
                       "--builder=Creator=" + self.script("build", "cat > /dev/null; sleep 0.2; exit 1\n"),
                       "--period=50ms", "--heartbeat-period=20ms", "--metrics-port=0", ends=False)
        finally:
            end.set()
            thread.join()

    def test_checkconfig(self):
        self.check("BOSKOS_CHECKCONFIG", {"/v1/resources"}, self.d.config_path, url_flag="--against")

    def test_boskosctl(self):
        self.check("BOSKOSCTL", {"/acquire", "/update", "/release"}, "--owner-name=ann", "--type=car", "--state=dirty",
                   "--target-state=busy", "--period=20ms", "--", "sleep", "0.3", before=("run",), url_flag="--server-url")
        self.check("BOSKOSCTL", {"/v1/resources"}, before=("list",), url_flag="--server-url")


HELPERS = """\
boskosd:
  reaper: {expire: 1s, period: 1s}
  cleaner: {enabled: true}
"""


class BuiltIn(WorkerTest):
    """The helpers of boskosd and the programs that do the same, at the same time."""

    CONFIG = HELPERS + """\
resources:
- type: car
  state: free
  names: [%s]
- type: cluster
  state: free
  min-count: 6
  max-count: 6
""" % ", ".join(f"car-{i}" for i in range(40))

    def program(self, variable, *flags):
        self.starts = getattr(self, "starts", 0) + 1
        p = Program([os.environ[variable], "--boskos-url", self.proxy.url, *flags], self.folder,
                    os.path.join(self.folder, f"program-{self.starts}.log"))
        self.addCleanup(p.end)
        return p

    @slow
    def test_both_reapers(self):
        """What is kept alive is left to its owner, what is not is taken once, and not from who has it next."""
        kept, stale = [f"car-{i}" for i in range(10)], [f"car-{i}" for i in range(10, 40)]
        take = {"state": "free", "dest": "busy"}
        self.assertEqual(self.d.call("POST", "/acquirebystate", owner="ann", names=",".join(kept), **take).status, 200)
        self.assertEqual(self.d.call("POST", "/acquirebystate", owner="bob", names=",".join(stale), **take).status, 200)
        programs = [self.program("BOSKOS_REAPER", "--resource-type=car", "--expire=1s", "--period=20ms") for _ in range(2)]
        next_owner, end = set(), time.monotonic() + PATIENCE
        since = time.monotonic()
        while len(next_owner) < len(stale) or time.monotonic() < since + 3:
            self.assertLess(time.monotonic(), end)
            for name in kept + sorted(next_owner):
                owner = "ann" if name in kept else "eve"
                self.assertEqual(self.d.call("POST", "/update", name=name, owner=owner, state="busy").status, 200, name)
            while (r := self.d.acquire("car", "dirty", "busy", "eve")).status == 200:
                self.assertNotIn(r.json["name"], next_owner, "taken from who had it next")
                next_owner.add(r.json["name"])
                since = time.monotonic()
            time.sleep(0.1)
        self.assertEqual((self.owned("ann"), self.owned("eve"), self.owned("bob")), (sorted(kept), sorted(stale), []))
        for p in programs:
            self.assertEqual(p.stop(), 0)
            self.assertNotIn("failed", p.log())

    def doom(self, cars):
        """A cluster that is to be deleted, and what was leased for it. None while there is none to have."""
        if (r := self.d.acquire("cluster", owner="mason")).status != 200:
            return None
        name = r.json["name"]
        self.d.call("POST", "/acquirebystate", state="free", dest="leased", owner="mason", names=",".join(cars))
        for n in cars:
            self.assertEqual(self.d.release(n, dest=name, owner="mason").status, 200)
        self.d.update(name, {"leasedResources": "".join(f"- {n}\n" for n in cars)}, owner="mason", state="busy")
        self.assertEqual(self.d.release(name, dest="toBeDeleted", owner="mason").status, 200)
        return name

    @long_form
    def test_both_cleaners(self):
        """Until both have cleaned some: all of them end, with all that was leased for them, and nothing else is touched.

        The one of boskosd comes every 15 s.
        """
        path = self.file("cleaner.yaml", self.CONFIG)
        programs = [self.program("BOSKOS_CLEANER", "--config", path, "--period=300ms") for _ in range(2)]
        doomed, end = [], time.monotonic() + PATIENCE
        while not self.d.figure("boskosd_cleaned_total"):
            self.assertLess(time.monotonic(), end, "the built-in one has cleaned none")
            free = [n for n, r in self.d.resources().items() if r["state"] == "free" and n.startswith("car-")]
            if len(free) >= 3 and (name := self.doom(free[:3])):
                doomed.append(name)
            while (r := self.d.acquire("car", "dirty", owner="janitor")).status == 200:
                self.d.release(r.json["name"], owner="janitor")
            time.sleep(0.05)
        self.eventually("all are gone", lambda: not set(doomed) & set(self.d.resources()))
        self.eventually("nothing is held", lambda: not self.owned())
        for p in programs:
            self.assertEqual(p.stop(), 0)
        self.assertTrue(any("as tombstone" in p.log() for p in programs))
        self.assertGreater(len(doomed), 10)
        self.assertLessEqual({r["state"] for r in self.d.resources().values()}, {"dirty", "free"})
        self.assertEqual(self.d.figure("boskosd_cleaner_bad_lists_total"), 0)


if __name__ == "__main__":
    main()
