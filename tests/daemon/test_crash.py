"""kill -9 under load: what was acknowledged is there after the restart, and nothing was given to two.

16 clients acquire (with and without request ids), update with userdata, release and acquire by state, and note what was
acknowledged and what was in flight. Then the daemon is killed, started again on the same folder, and its resources are
held against the notes. Each round is one more generation of the same folder.

usage: test_crash.py [--rounds N] [--seed S]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import boskosd
from boskosd import target

CLIENTS = 16
HELD_MAX = 3
PARTS = [f"part-{i:02}" for i in range(12)]  # acquired by state, up to three at once
TYPES = {"car": "free", "pod": "free"}  # to be acquired: one with names, one that is dynamic


def config(extras):
    """The config of a round: what the clients use, and names that come and go."""
    cars = ", ".join(f"car-{i:02}" for i in range(20))
    return (f"resources:\n- type: car\n  state: free\n  names: [{cars}]\n"
            f"- type: part\n  state: ready\n  names: [{', '.join(PARTS)}]\n"
            f"- type: extra\n  state: free\n  names: [{', '.join(extras)}]\n"
            "- type: pod\n  state: free\n  min-count: 4\n  max-count: 10\n")


class Fault(Exception):
    """A promise that was broken; the text says which."""


class Event:
    """Something acknowledged: of the resource `name`, at `seq`, `owner` got it or gave it ("") with `state`."""

    def __init__(self, seq, name, owner, state, by):
        self.seq, self.name, self.owner, self.state, self.by = seq, name, owner, state, by

    def __repr__(self):
        return f"{self.by} at seq {self.seq}: {self.name} -> {self.owner or 'nobody'}, {self.state}"


class Client:
    """One client. What it holds outlives its connections, as a real job does."""

    def __init__(self, number, random_seed):
        self.owner = f"client-{number:02}"
        self.random = random.Random(random_seed)
        self.held = {}  # name -> state
        self.userdata = {}  # name -> the last value acknowledged under the key self.owner
        self.events = []  # of this generation
        self.seqs = []
        self.pending = None  # what was sent and not answered: (kind, argument, ...)
        self.request_id = None
        self.counter = 0
        self.fault = None

    def run(self, port, gate):
        """Works until the connection breaks, which is the kill, or until the gate is closed."""
        self.events, self.seqs, self.pending, self.fault = [], [], None, None
        try:
            with boskosd.Connection(port) as connection:
                while gate.is_set():
                    self.step(connection)
        except OSError:
            pass
        except Fault as fault:
            self.fault = fault

    def ask(self, connection, pending, path, body=b""):
        self.pending = pending
        reply = connection.request("POST", path, body)
        self.pending = None
        if reply.seq == 0:
            raise Fault(f"{self.owner}: a reply without a sequence number to {path}: {reply}")
        if reply.status >= 500:
            raise Fault(f"{self.owner}: nothing was full, yet {path} got {reply}")
        self.seqs.append(reply.seq)
        return reply

    def step(self, connection):
        choice = self.random.random()
        if self.held and (len(self.held) >= HELD_MAX or choice < 0.30):
            self.release(connection)
        elif self.held and choice < 0.60:
            self.update(connection)
        elif choice < 0.70:
            self.acquire_parts(connection)
        else:
            self.acquire(connection)

    def gain(self, seq, name, state):
        if name in self.held:
            raise Fault(f"{self.owner} was given {name} at seq {seq}, which it holds already")
        self.held[name] = state
        self.events.append(Event(seq, name, self.owner, state, self.owner))

    def acquire(self, connection):
        kind = self.random.choice(sorted(TYPES))
        parameters = {"type": kind, "state": TYPES[kind], "dest": "busy", "owner": self.owner}
        if self.random.random() < 0.5:
            self.counter += 1
            self.request_id = self.request_id or f"{self.owner}-{self.counter}"
            parameters["request_id"] = self.request_id
        reply = self.ask(connection, ("acquire", kind, "busy"), target("/acquire", **parameters))
        if reply.status == 404:
            return
        if reply.status != 200:
            raise Fault(f"{self.owner}: acquire was expected to answer 200 or 404, not {reply}")
        if "request_id" in parameters:
            self.request_id = None
        self.gain(reply.seq, reply.json["name"], "busy")

    def acquire_parts(self, connection):
        names = self.random.sample(PARTS, self.random.randint(1, 3))
        path = target("/acquirebystate", state="ready", dest="used", owner=self.owner, names=",".join(names))
        reply = self.ask(connection, ("parts", tuple(names), "used"), path)
        if reply.status == 404:
            return
        if reply.status != 200:
            raise Fault(f"{self.owner}: acquirebystate was expected to answer 200 or 404, not {reply}")
        if sorted(r["name"] for r in reply.json) != sorted(names):
            raise Fault(f"{self.owner}: all of {names} were expected, not {reply}")
        for name in names:
            self.gain(reply.seq, name, "used")

    def release(self, connection):
        name = self.random.choice(sorted(self.held))
        dest = "ready" if name in PARTS else "free"
        path = target("/release", name=name, dest=dest, owner=self.owner)
        reply = self.ask(connection, ("release", name, dest), path)
        if reply.status != 200:
            raise Fault(f"{self.owner} holds {name}, but its release got {reply}")
        del self.held[name]
        self.events.append(Event(reply.seq, name, "", dest, self.owner))

    def update(self, connection):
        name = self.random.choice(sorted(self.held))
        self.counter += 1
        value = f"value {self.counter}"
        path = target("/update", name=name, owner=self.owner, state=self.held[name])
        body = b'{"%s": "%s"}' % (self.owner.encode(), value.encode())
        reply = self.ask(connection, ("update", name, value), path, body)
        if reply.status != 200:
            raise Fault(f"{self.owner} holds {name}, but its update got {reply}")
        self.userdata[name] = value


# ---- what must be there ---------------------------------------------------------


class Notes:
    """What is known of each resource, from generation to generation."""

    def __init__(self):
        self.known = {}  # name -> (owner, state), as the last restart showed it
        self.last_seq = 0  # the highest one acknowledged ever

    def check_order(self, clients):
        """In the order of the log no resource may go from one owner to another without a release between."""
        seen = {}
        for c in clients:
            for seq in c.seqs:
                if seq in seen:
                    raise Fault(f"{c.owner} and {seen[seq]} were both answered with seq {seq}")
                if seq <= self.last_seq:
                    raise Fault(f"seq {seq} was given to {c.owner}, but the generation before was at {self.last_seq}")
                seen[seq] = c.owner
        now = dict(self.known)
        # A release that was not answered may have come before somebody else's acquire.
        releasing = {(c.pending[1], c.owner) for c in clients if c.pending and c.pending[0] == "release"}
        for event in sorted((e for c in clients for e in c.events), key=lambda e: e.seq):
            owner, _ = now.get(event.name, ("", ""))
            if event.owner and owner and (event.name, owner) not in releasing:
                raise Fault(f"{event.name} was given to two: {owner} had it when {event}")
            if not event.owner and owner != event.by:
                raise Fault(f"{event}, but {owner or 'nobody'} had it")
            now[event.name] = (event.owner, event.state)
        if seen:
            self.last_seq = max(seen)
        return now

    def check(self, clients, now, resources, seq):
        """Holds the resources after the restart against `now`, what was acknowledged, and what was in flight."""
        if seq < self.last_seq:
            raise Fault(f"seq {self.last_seq} was acknowledged, but the log ends at {seq}")
        by_owner = {}
        for name, r in resources.items():
            if r["owner"]:
                by_owner.setdefault(r["owner"], {})[name] = r["state"]
        released = {}  # name -> state, by releases in flight that did happen
        for c in clients:
            self.check_client(c, by_owner.pop(c.owner, {}), resources, released)
        if by_owner:
            raise Fault(f"resources belong to owners that are none: {by_owner}")
        for name, (owner, state) in now.items():
            r = resources.get(name)
            if r is None:
                raise Fault(f"{name}, {state} of {owner or 'nobody'}, is gone")
            if not owner and not r["owner"] and r["state"] != state and released.get(name) != r["state"]:
                raise Fault(f"{name} was released as {state}, but is {r['state']}")
        self.known = {n: (r["owner"], r["state"]) for n, r in resources.items()}
        self.last_seq = max(self.last_seq, seq)

    def check_client(self, c, owned, resources, released):
        kind, what, state = c.pending or (None, None, None)
        for name in sorted(c.held):
            if name in owned:
                if owned[name] != c.held[name]:
                    raise Fault(f"{c.owner} holds {name} as {c.held[name]}, but it is {owned[name]}")
            elif kind == "release" and what == name:
                del c.held[name]  # it happened, and was not answered any more
                released[name] = state
            else:
                raise Fault(f"{c.owner} was given {name}, but after the restart it has "
                            f"{resources.get(name)}; in flight: {c.pending}")
        gained = {n: s for n, s in owned.items() if n not in c.held}
        self.check_gained(c, kind, what, state, gained, resources)
        c.held.update(gained)
        self.check_userdata(c, kind, what, state, resources)

    @staticmethod
    def check_gained(c, kind, what, state, gained, resources):
        if not gained:
            return
        right = all(s == state for s in gained.values())
        if kind == "acquire":
            right = right and len(gained) == 1 and all(resources[n]["type"] == what for n in gained)
        elif kind == "parts":
            right = right and set(gained) == set(what)  # all or nothing
        else:
            right = False
        if not right:
            raise Fault(f"{c.owner} owns {gained} that it was never given or has released; in flight: {c.pending}")

    @staticmethod
    def check_userdata(c, kind, what, value, resources):
        for name, r in resources.items():
            found = r["userdata"].get(c.owner)
            expected = c.userdata.get(name)
            if found == expected:
                continue
            if kind == "update" and what == name and found == value:
                c.userdata[name] = value
                continue
            raise Fault(f"the userdata of {c.owner} on {name} is {found!r}, acknowledged was {expected!r}; "
                        f"in flight: {c.pending}")


# ---- the rounds -------------------------------------------------------------------


class Rounds:
    """The generations of one folder."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.daemon = boskosd.Daemon(folder, config=config(["extra-0"]))
        self.clients = [Client(i, self.random.getrandbits(64)) for i in range(CLIENTS)]
        self.notes = Notes()
        self.extras = ["extra-0"]
        self.replies = self.kills = self.snapshots = 0

    def new_config(self):
        self.extras = sorted(f"extra-{i}" for i in self.random.sample(range(20), self.random.randint(1, 6)))
        boskosd.put_file(self.daemon.config_path, config(self.extras))

    def kill_at_the_start(self):
        """Kills it somewhere between its first instruction and some time after it is ready."""
        self.daemon.launch()
        time.sleep(self.random.uniform(0.001, 0.4))
        if "Address already in use" not in self.daemon.log():  # somebody else was given that port meanwhile
            self.kill()

    def kill(self):
        if self.daemon.process.poll() is not None:
            raise Fault(f"the daemon was expected to run until it was killed:\n{self.daemon.log()}")
        self.daemon.kill()
        self.kills += 1
        if "Sanitizer" in self.daemon.log():
            raise Fault(f"a sanitizer found something:\n{self.daemon.log()}")

    def work(self):
        """Load, and the kill in the midst of it."""
        gate = threading.Event()
        gate.set()
        threads = [threading.Thread(target=c.run, args=(self.daemon.port, gate)) for c in self.clients]
        for t in threads:
            t.start()
        try:
            way = self.random.choice(["plain", "plain", "early", "reload"])
            time.sleep(self.random.uniform(0.02, 0.3) if way == "early" else self.random.uniform(0.8, 2.4))
            if way == "reload":
                self.new_config()
                # Read twice, 100 ms apart, then applied: kill it before, in it, and after.
                time.sleep(self.random.uniform(0.0, 0.3))
            self.kill()
        finally:
            gate.clear()
            for t in threads:
                t.join()
        for c in self.clients:
            if c.fault:
                raise c.fault
        self.replies += sum(len(c.seqs) for c in self.clients)
        return way

    def round(self, number):
        d = self.daemon
        d.flags = ["--request-ttl", "500ms"]
        if self.random.random() < 0.5:
            d.flags += ["--snapshot-every", "500"]
        d.start()
        self.verify({} if number == 0 else None)
        way = self.work()
        self.snapshots = max(self.snapshots, len(d.snapshots()))
        for _ in range(self.random.choice([0, 0, 1, 2])):
            self.kill_at_the_start()
        return way, d.flags

    def verify(self, first=None):
        """The state of the daemon, just started, against the notes."""
        d = self.daemon
        resources = d.resources()
        if first is None:
            now = self.notes.check_order(self.clients)
            self.notes.check(self.clients, now, resources, d.seq())
        else:
            self.notes.known = {n: (r["owner"], r["state"]) for n, r in resources.items()}
            self.notes.last_seq = d.seq()
        found = sorted(n for n, r in resources.items() if r["type"] == "extra")
        if found != self.extras:
            raise Fault(f"the config names {self.extras}, but there are {found}")
        for figure in ("boskosd_result_mismatches_total", "boskosd_digest_mismatches_total"):
            if d.figure(figure) != 0:
                raise Fault(f"{figure} was expected to be 0:\n{d.log()}")
        if "damaged" in d.log() or "ALARM" in d.log():
            raise Fault(f"a kill was expected to damage nothing:\n{d.log()}")
        # Nothing that belongs to the notes: the names of the config that come and go.
        self.notes.known = {n: k for n, k in self.notes.known.items() if not n.startswith("extra-")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if not os.access(boskosd.PROGRAM, os.X_OK):
        sys.exit("BOSKOSD must name the daemon to test")
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="boskosd-crash-")
    rounds = Rounds(folder, seed)
    try:
        for number in range(arguments.rounds):
            before = rounds.replies
            way, flags = rounds.round(number)
            print(f"round {number + 1}: {rounds.replies - before} replies, kill: {way}, flags: {' '.join(flags)}",
                  flush=True)
        rounds.daemon.flags = []
        rounds.daemon.start()
        rounds.verify()
        if rounds.daemon.stop() != 0:
            raise Fault(f"the daemon was expected to end with 0:\n{rounds.daemon.log()}")
    except (Fault, AssertionError) as fault:
        print(f"FAILED with --seed {seed}: {fault}\nthe folder is kept: {folder}", flush=True)
        return 1
    finally:
        rounds.daemon.end()
    print(f"{rounds.kills} kills, {rounds.replies} acknowledged commands, up to {rounds.snapshots} snapshots: "
          "nothing lost, nothing doubled")
    if rounds.replies < arguments.rounds * CLIENTS:
        print("FAILED: there was hardly any load, nothing was shown")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
