"""A client whose reply was lost repeats its acquire with the same Idempotency-Key: it has one lease, whatever happened.

The environment variable BOSKOS_SEED repeats a run's choices; the moments of the kills are never the same.
"""

import os
import random
import sys
import threading
import time

import boskosd

CLIENTS = 12
KILLS = 4
TURNS = 5  # leases that each client takes, one after the other, in each daemon's life
CONFIG = "resources:\n- type: car\n  names: [%s]\n" % ", ".join(f"car-{n}" for n in range(3 * CLIENTS))


def key(text):
    return [f"Idempotency-Key: {text}"]


def acquire(d, owner, text, dest="busy"):
    return d.call("POST", "/acquire", headers=key(text), type="car", state="free", dest=dest, owner=owner)


def held(d, owner):
    reply = d.call("GET", "/v1/resources", owner=owner)
    assert reply.status == 200, reply
    return [r["name"] for r in reply.json["resources"]]


class LostReply(boskosd.DaemonTest):

    def send_and_leave(self, d, owner, text):
        """Asks, and closes before the reply is there; returns when the command is on record."""
        before = d.seq()
        with boskosd.Connection(d.port) as c:
            c.send("POST", boskosd.target("/acquire", type="car", state="free", dest="busy", owner=owner),
                   headers=key(text))
        self.eventually("the acquire is on record", lambda: d.seq() > before)

    def test_kept_by_log_and_snapshot(self):
        d = self.daemon(config=CONFIG).start()
        self.send_and_leave(d, "ann", "job/1")
        d.kill()
        d.start()
        name = held(d, "ann")
        self.assertEqual(len(name), 1, "what was on record before the kill was expected to be kept")
        first = acquire(d, "ann", "job/1")
        self.assertEqual((first.status, first.json["name"]), (200, name[0]))
        self.assertGreater(first.seq, 0, "a repeat is a command on record")
        self.assertEqual(d.stop(), 0)
        self.assertTrue(d.snapshots(), "an ordered end was expected to leave a snapshot")
        d.start()
        self.assertEqual([f for f in os.listdir(d.journal) if f.endswith(".bad")], [], "the snapshot was not taken")
        again = acquire(d, "ann", "job/1")
        self.assertEqual(again.json, first.json, "nothing was expected to change")
        self.assertEqual(held(d, "ann"), name)
        self.assertEqual(acquire(d, "ann", "job/1", dest="leased").status, 409)
        # The lease ends, and the key is free; over a kill too.
        self.assertEqual(d.release(name[0], owner="ann").status, 200)
        d.kill()
        d.start()
        self.assertEqual(held(d, "ann"), [])
        self.assertEqual(acquire(d, "ann", "job/1", dest="leased").status, 200)


class Client(threading.Thread):
    """Takes leases and gives them back, asking again until it is answered; never may it have two."""

    def __init__(self, daemon, number):
        super().__init__()
        self.daemon_, self.owner = daemon, f"client-{number}"
        self.wanted = self.taken = self.repeated = 0
        self.fault = None
        self.end = time.monotonic() + boskosd.PATIENCE * 3

    def ask(self, call):
        """Asks until a reply comes, however often the daemon dies; returns it and how often it was asked."""
        times = 0
        while time.monotonic() < self.end:
            times += 1
            try:
                return call(), times
            except OSError:
                time.sleep(0.01)
        raise AssertionError("no reply came")

    def turn(self):
        text = f"turn {self.taken}"
        reply, times = self.ask(lambda: acquire(self.daemon_, self.owner, text))
        assert reply.status == 200, reply
        self.repeated += times > 1
        names, _ = self.ask(lambda: held(self.daemon_, self.owner))
        assert names == [reply.json["name"]], f"{self.owner} was given {reply.json['name']} and has {names}"
        done, times = self.ask(lambda: self.daemon_.release(names[0], owner=self.owner))
        assert done.status == 200 or (times > 1 and done.status == 401), done
        self.taken += 1

    def run(self):
        try:
            while self.taken < self.wanted:
                self.turn()
        except Exception as e:  # pylint: disable=broad-except
            self.fault = f"{self.owner}: {e}"


class Kills(boskosd.DaemonTest):

    def test_one_lease_each(self):
        seed = int(os.environ.get("BOSKOS_SEED", 0)) or random.randrange(1, 1 << 32)
        chance = random.Random(seed)
        d = self.daemon(config=CONFIG).start()
        repeated = 0
        for kill in range(KILLS):
            clients = [Client(d, f"{kill}-{n}") for n in range(CLIENTS)]
            for c in clients:
                c.wanted = TURNS
                c.start()
            time.sleep(chance.uniform(0, 0.05))
            d.kill()
            d.start()
            for c in clients:
                c.join()
                self.assertIsNone(c.fault, f"BOSKOS_SEED={seed}")
            repeated += sum(c.repeated for c in clients)
        self.assertEqual([r["name"] for r in d.resources().values() if r["owner"]], [])
        print(f"seed {seed}: {KILLS} kills, {KILLS * CLIENTS * TURNS} leases, {repeated} acquires repeated",
              file=sys.stderr, flush=True)


if __name__ == "__main__":
    boskosd.main()
