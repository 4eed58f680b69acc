#!/usr/bin/env python3
"""Holds `boskos-replay who`, `held-by` and `why` against `log` and `show` of a random history.

usage: check_why.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER [--seed S] [--commands N] [--snapshot-every M] [--asked K]

Leases are made anew here from the effects that `log --json` lists; who and held-by must tell the same of random points,
and why of the leases that a release or an update met. For K random commands why is held against the state before and
after: each candidate's reason, the place in the queue, who is kept what, what reset and the reaper took and spared.
A seed repeats a run. Exit code 1 after the first difference.
"""

import json
import os
import random
import sys

import folder
from past import Asked, Wrong, arguments, duration, instant, make_folder, make_history

HERE = os.path.dirname(os.path.abspath(__file__))
BY_NAME = os.fsencode  # names sort by their bytes
MOST = 1024 * 1024  # bytes of userdata


def same(what, had, wanted):
    if had != wanted:
        raise Wrong(f"{what} is\n  {had}\nand should be\n  {wanted}")


class Lease:
    def __init__(self, owner, entry):
        self.owner, self.begin, self.heartbeats, self.end = owner, entry, [], None

    def printed(self, at):
        """since, since-before, heartbeats as printed at a point."""
        b = self.begin
        since = {"seq": b["seq"], "time": b["time"], "kind": b["kind"]}
        if "request_id" in b["params"]:
            since["request_id"] = b["params"]["request_id"]
        return {"since": since, "heartbeats": sum(seq <= at for seq in self.heartbeats)}

    def printed_end(self):
        if self.end is None:
            return None
        entry, state, heard = self.end
        return {"seq": entry["seq"], "time": entry["time"], "kind": entry["kind"], "state": state, "lastupdate": heard}


def without_waited(lease):
    if lease is not None and lease.get("since"):
        lease["since"].pop("waited", None)
    return lease


class Past(Asked):
    def __init__(self, program, top):
        super().__init__(program, top)
        self.log = self.ask("log")
        self.leases, self.removed = {}, {}  # by resource
        there = {}
        for entry in self.log if self.log[0]["seq"] == 1 else ():
            self.note(entry, there)

    def note(self, entry, there):
        if entry["kind"] == "update" and entry["status"] == 200:
            self.leases[entry["params"]["name"]][-1].heartbeats.append(entry["seq"])
        for e in entry["effects"]:
            name, old = e["resource"], there.get(e["resource"], {})
            new = {} if e["to"] is None else {**old, **e["to"]}
            there[name] = new
            leases = self.leases.setdefault(name, [])
            if old.get("owner", "") != new.get("owner", ""):
                if old.get("owner", "") != "":
                    leases[-1].end = (entry, new.get("state"), old["lastupdate"])
                if new.get("owner", "") != "":
                    leases.append(Lease(new["owner"], entry))
            if e["to"] is None:
                self.removed.setdefault(name, []).append(entry)

    def open_at(self, name, at):
        for lease in self.leases.get(name, ()):
            if lease.begin["seq"] <= at and (lease.end is None or lease.end[0]["seq"] > at):
                return lease
        return None

    def ended_by(self, name, at, owner=None):
        """The last lease, of the owner if one is named, that ended by then, as printed."""
        found = None
        for lease in self.leases.get(name, ()):
            if lease.end is not None and lease.end[0]["seq"] <= at and owner in (None, lease.owner):
                found = {"owner": lease.owner, **lease.printed(at), "end": lease.printed_end()}
        return found

    # ---- who, held-by ----

    def check_who(self, name, at):
        state = self.ask("show", "--at", str(at))[0]
        resource = next((r for r in state["resources"] if r["name"] == name), None)
        if resource is None:
            ended = self.run("who", name, "--at", str(at))
            same(f"who {name} --at {at}", (ended.code, f"there is no resource {name} at {at}" in ended.err.decode()),
                 (1, True))
            return
        last = {"seq": self.log[-1]["seq"], "time": self.log[-1]["time"]}
        wanted = {"seq": at, "time": state["time"], "resource": name, "type": resource["type"],
                  "state": resource["state"], "owner": resource["owner"], "lastupdate": resource["lastupdate"]}
        lease = self.open_at(name, at)
        if lease is not None:
            wanted["lease"] = {**lease.printed(at), "end": lease.printed_end()}
        else:
            wanted.update(lease=None, before=self.ended_by(name, at))
        had = self.ask("who", name, "--at", str(at))[0]
        waited = had["lease"] and had["lease"]["since"].get("waited")
        if waited:
            same("the wait", waited, self.ask("why", str(lease.begin["seq"]))[0]["waited"])
        without_waited(had["lease"])
        without_waited(had.get("before"))
        same(f"who {name} --at {at}", had, {**wanted, "last": last})
        same("the readable one", self.run("who", name, "--at", str(at)).code, 0)

    def check_held_by(self, owner, at):
        state = self.ask("show", "--at", str(at), "--owner", owner)[0]
        if not state["resources"]:
            same(f"held-by {owner} --at {at}", self.run("held-by", owner, "--at", str(at)).code, 1)
            return
        wanted = []
        for r in state["resources"]:
            lease = self.open_at(r["name"], at)
            wanted.append({"resource": r["name"], "type": r["type"], "state": r["state"],
                           "lastupdate": r["lastupdate"], **lease.printed(at), "end": lease.printed_end()})
        had = self.ask("held-by", owner, "--at", str(at))[0]
        for lease in had["leases"]:
            without_waited(lease)
        same(f"held-by {owner} --at {at}", had["leases"], wanted)
        same("the readable one", self.run("held-by", owner, "--at", str(at)).code, 0)

    # ---- why ----

    def check_why(self, seq):
        entry = self.log[seq - 1]
        had = self.ask("why", str(seq))[0]
        for key in ("seq", "time", "kind", "params", "status", "effects"):
            same(f"{key} of why {seq}", had.get(key), entry.get(key))
        before = self.ask("show", "--at", str(seq - 1))[0]
        after = self.ask("show", "--at", str(seq))[0]
        check = getattr(self, "check_" + entry["kind"], None)
        if check is not None:
            try:
                check(entry, had, before, after)
            except Wrong as e:
                raise Wrong(f"why {seq}: {e}") from None
        lines = self.run("why", str(seq)).out.decode("utf-8").splitlines()
        begins = f"command {seq}, {entry['time']}: {entry['kind']}"
        same(f"the readable why {seq}", (lines[0].startswith(begins), lines[1].startswith(had["outcome"])), (True, True))

    @staticmethod
    def live(state, now, kind, at):
        """The entries of a queue that are live, by rank; and those that are dead though still listed."""
        requests = [r for q in state["queues"] if (q["type"], q["state"]) == (kind, at) for r in q["requests"]]
        return ([r for r in requests if instant(r["expires"]) >= now], [r for r in requests if instant(r["expires"]) < now])

    def check_acquire(self, entry, had, before, after):
        if "lease" in had:
            self.check_by_key(entry, had, before)
            return
        p, now = entry["params"], instant(entry["time"])
        of_type = [r for r in before["resources"] if r["type"] == p["type"]]
        free = sorted((r for r in of_type if r["state"] == p["state"] and r["owner"] == ""),
                      key=lambda r: (instant(r["lastupdate"]), BY_NAME(r["name"])))
        live, dead = self.live(before, now, p["type"], p["state"])
        ids = [r["id"] for r in live]
        own = ids.index(p["request_id"]) if p.get("request_id") in ids else None
        ahead = own if own is not None else len(live)
        granted = free[ahead] if ahead < len(free) else None
        reason = "ok" if granted else "no-available" if of_type else "no-such-type"
        same("the outcome", (had["outcome"], had["reason"], had["resource"], had["available"], had["type-count"]),
             ("granted" if granted else "refused", reason, granted and granted["name"], len(free), len(of_type)))
        same("the status", entry["status"], 200 if granted else 404)
        if granted:
            same("what the client got", json.loads(entry["reply"])["name"], granted["name"])
            same("the wait", duration(had["waited"]), now - instant(live[own]["since"]) if own is not None else 0)
        self.check_candidates(had, p, of_type, free, ids[:ahead], granted)
        self.check_queue(entry, had, live, dead, own, ahead, after)

    @staticmethod
    def check_candidates(had, p, of_type, free, ids, granted):
        wanted = []
        for i, r in enumerate(free):
            passed = "granted" if r is granted else "kept" if i < len(ids) else "later"
            wanted.append((r["name"], passed, ids[i] if passed == "kept" else None))
        for r in of_type:
            if r["owner"] != "":
                wanted.append((r["name"], "owned", None))
            elif r["state"] != p["state"]:
                wanted.append((r["name"], "state", None))
        same("the candidates", [(c["resource"], c["passed"], c.get("for")) for c in had["candidates"]], wanted)

    def check_queue(self, entry, had, live, dead, own, ahead, after):
        queue, p = had["queue"], entry["params"]
        same("the queue", (queue["live"], [(r["id"], r["rank"], r["since"], r["expires"]) for r in queue["ahead"]]),
             (len(live), [(r["id"], i + 1, r["since"], r["expires"]) for i, r in enumerate(live[:ahead])]))
        missing = {r["id"] for r in dead} - {r["id"] for r in queue["dead"]}
        same("the dead ones that are not told", missing, set())
        listed, _ = self.live(after, instant(entry["time"]), p["type"], p["state"])
        ranks = [i + 1 for i, r in enumerate(listed) if r["id"] == p.get("request_id")]
        same("the rank after", queue["rank-after"], ranks[0] if ranks else None)
        same("the own entry", queue["own"] and queue["own"]["id"], live[own]["id"] if own is not None else None)
        if own is None:
            self.check_last(entry, queue)
            return
        polls = [e["seq"] for e in self.log[:entry["seq"] - 1]
                 if e["kind"] == "acquire" and instant(e["time"]) >= instant(live[own]["since"]) and
                 all(e["params"].get(k) == p[k] for k in ("type", "state", "request_id"))]
        same("the polls", (queue["own"]["polls"], queue["own"]["first"]), (len(polls), polls[0]))

    def check_last(self, entry, queue):
        """The last acquire of a request that is in no queue."""
        p, since = entry["params"], instant(entry["time"]) - 3600 * 10**9
        wanted = None
        for e in self.log[:entry["seq"] - 1]:
            if (e["kind"] == "acquire" and instant(e["time"]) >= since and "request_id" in p and
                    all(e["params"].get(k) == p[k] for k in ("type", "state", "request_id"))):
                wanted = {"seq": e["seq"], "time": e["time"], "status": e["status"]}
        same("its last acquire", queue["last"], wanted if queue["lost"] is None else None)

    def check_by_key(self, entry, had, before):
        p, name = entry["params"], had["lease"]["resource"]
        lease = self.open_at(name, entry["seq"] - 1)
        begun = lease.begin["params"]
        same("the key's lease", (begun["Idempotency-Key"], begun["owner"]), (p["Idempotency-Key"], p["owner"]))
        is_same = all(begun[k] == p[k] for k in ("type", "state", "dest"))
        same("the outcome", had["outcome"], "repeated" if is_same else "refused")
        same("the state asked for", had["lease"]["asked-state"], begun["state"])
        told = without_waited({k: had["lease"][k] for k in ("since", "heartbeats")})
        same("the lease", told, lease.printed(entry["seq"] - 1))

    def check_release(self, entry, had, before, after):
        p, at = entry["params"], entry["seq"] - 1
        found = next((r for r in before["resources"] if r["name"] == p["name"]), None)
        if found is None:
            removed = self.removed.get(p["name"], [])
            removed = [{k: e[k] for k in ("seq", "time", "kind")} for e in removed if e["seq"] <= at]
            same("what removed it", (had["resource"], had["removed"]), (None, removed[-1] if removed else None))
        else:
            wanted = {k: found[k] for k in ("type", "state", "owner", "lastupdate")}
            lease = self.open_at(p["name"], at)
            if lease is not None:
                wanted.update(lease.printed(at))
            same("the resource", without_waited(had["resource"]), wanted)
            if lease is None:
                same("the last lease", without_waited(had["last-lease"]), self.ended_by(p["name"], at))
        if found is None or found["owner"] != p["owner"]:
            same("the own lease", without_waited(had["own-lease"]), self.ended_by(p["name"], at, p["owner"]))
        else:
            same("no own lease", "own-lease" in had, False)

    def check_update(self, entry, had, before, after):
        self.check_release(entry, had, before, after)
        found = next((r for r in before["resources"] if r["name"] == entry["params"]["name"]), None)
        if found is None:
            return
        merged = {**found["userdata"], **entry["params"].get("userdata", {})}
        same("the userdata", had["userdata"], {"bytes-before": self.size(found["userdata"]),
                                               "bytes-after": self.size(merged), "bytes-most": MOST})

    @staticmethod
    def size(userdata):
        return sum(len(k.encode()) + len(v.encode()) for k, v in userdata.items() if v)

    @staticmethod
    def check_acquirebystate(entry, had, before, after):
        p, by_name = entry["params"], {r["name"]: r for r in before["resources"]}

        def reason(name):
            r = by_name.get(name)
            if name == "" or r is None:
                return "empty" if name == "" else "missing"
            return "owned" if r["owner"] else "good" if r["state"] == p["state"] else "state"
        wanted = [(name, reason(name)) for name in p["names"].split(",")]
        same("the names", [(n["name"], n["why"]) for n in had["names"]], wanted)
        same("the outcome", (had["outcome"], entry["status"]),
             ("granted", 200) if all(w == "good" for _, w in wanted) else ("refused", 404))
        taken = any(e["to"] and e["to"].get("owner") for e in entry["effects"])
        same("whether they are handed out", had["handed-out"], taken)

    @staticmethod
    def taken(entry, before):
        owners = {r["name"]: r["owner"] for r in before["resources"]}
        return [(e["resource"], owners[e["resource"]]) for e in entry["effects"]
                if owners.get(e["resource"]) and (e["to"] is None or e["to"].get("owner") == "")]

    def check_spared(self, entry, had, before, after, fits):
        same("what was taken", [(r["resource"], r["owner"]) for r in had["taken"]], self.taken(entry, before))
        now = instant(entry["time"])
        same("what was spared", [(r["resource"], r["owner"], duration(r["age"])) for r in had["spared"]],
             [(r["name"], r["owner"], now - instant(r["lastupdate"])) for r in after["resources"]
              if r["owner"] and fits(r)])

    def check_reset(self, entry, had, before, after):
        p = entry["params"]
        self.check_spared(entry, had, before, after, lambda r: (r["type"], r["state"]) == (p["type"], p["state"]))

    def check_reap(self, entry, had, before, after):
        reaper = ((before["config"] or {}).get("boskosd") or {}).get("reaper")
        states = (reaper or {}).get("states", [])
        self.check_spared(entry, had, before, after, lambda r: r["state"] in states)
        same("whether it is off", had["idle"] == "off", reaper is None)
        if had["idle"] is not None:
            same("what an idle one took", had["taken"], [])
            return
        for r in had["spared"]:  # by its own words it had to be
            if r["expire"] is not None and duration(r["age"]) - duration(r["slept"]) >= duration(r["expire"]):
                raise Wrong(f"{r} was spared")

    def check_expire(self, entry, had, before, after):
        now = instant(entry["time"])
        dead = {(q["type"], q["state"], r["id"]) for q in before["queues"] for r in q["requests"]
                if instant(r["expires"]) < now}
        same("what was swept before its time", [r for r in had["swept"] if instant(r["expires"]) >= now], [])
        same("what was not swept", dead - {(r["type"], r["state"], r["id"]) for r in had["swept"]}, set())

    @staticmethod
    def check_clean(entry, had, before, after):
        doomed = {r["name"] for r in before["resources"] if (r["state"], r["owner"]) == ("toBeDeleted", "")}
        name = entry["params"]["name"]
        is_done = name in doomed and any(e["resource"] == name for e in entry["effects"])
        same("whether it cleaned", (had["cleaned"], had["why"] is None), (is_done, is_done))

    @staticmethod
    def check_config(entry, had, before, after):
        entries = entry["params"]["config"].get("resources") or []
        names = {name: e["type"] for e in entries for name in e.get("names", ())}
        dynamic = {e["type"] for e in entries if "names" not in e}
        cycles = {c["type"] for c in after["dynamic"]}
        wanted = []
        for r in after["resources"]:
            name, kind = r["name"], r["type"]
            why = None
            if name in names:
                why = None if names[name] == kind else "retyped"
            elif kind not in cycles:
                why = "removed"
            elif kind not in dynamic:
                why = "fading"
            if why and r["owner"]:
                wanted.append((name, kind, r["owner"], why))
        same("what stays", [(s["resource"], s["type"], s["owner"], s["why"]) for s in had["staying"]], wanted)

        def counts(state):
            return {c["type"]: (c["min-count"], c["max-count"]) for c in state["dynamic"]}
        to = counts(after)
        for c in had["life-cycles"]:
            if c["to"] is not None:
                same("a life cycle", (c["to"]["min-count"], c["to"]["max-count"]), to.get(c["type"]))

    def check_started(self, entry, had, before, after):
        live = sum(instant(r["expires"]) >= instant(before["time"]) for q in before["queues"] for r in q["requests"])
        same("how many are renewed", had["renewed"], live)
        same("how many there are", sum(len(q["requests"]) for q in after["queues"]), live)

    check_clock = check_repaired = check_started

    def check_request(self, id):
        acquires = [e for e in self.log if e["kind"] == "acquire" and e["params"].get("request_id") == id]
        had = self.ask("why", "--request", id)[0]
        same(f"why --request {id}", (had["seq"], had["request"]),
             (acquires[-1]["seq"], {"id": id, "acquires": len(acquires),
                                    "first": {"seq": acquires[0]["seq"], "time": acquires[0]["time"]}}))


def jobs(numbers, past, asked):
    names = sorted(past.leases, key=BY_NAME)
    last = past.log[-1]["seq"]
    owners = sorted({lease.owner for leases in past.leases.values() for lease in leases})
    for kind in sorted({e["kind"] for e in past.log}):  # some of each kind
        seqs = [e["seq"] for e in past.log if e["kind"] == kind]
        for seq in numbers.sample(seqs, min(len(seqs), asked // 20)):
            yield past.check_why, seq
    for _ in range(asked):
        yield past.check_why, numbers.randint(1, last)
        yield past.check_who, numbers.choice(names), numbers.randint(0, last)
    for _ in range(asked // 4):
        yield past.check_held_by, numbers.choice(owners), numbers.randint(0, last)
    for id in sorted({e["params"]["request_id"] for e in past.log if "request_id" in e["params"]}):
        yield past.check_request, id


def run(job):
    try:
        job[0](*job[1:])
        return None
    except (Wrong, KeyError, IndexError, TypeError, ValueError) as e:
        return f"{job[0].__name__} {job[1:]}: {type(e).__name__}: {e}"


def check_trimmed(program, maker, top):
    """Where the beginning of a lease is no longer kept, it is said to be before what is."""
    make_folder(maker, os.path.join(HERE, "folders", "trimmed.txt"), top)
    past = Past(program, top)
    oldest = past.log[0]["seq"]
    had = past.ask("who", "board-1", "--at", str(oldest))[0]
    same("a lease from before", (had["owner"], had["lease"]["since"], had["lease"]["since-before"]),
         ("ann", None, oldest))
    text = past.run("who", "board-1", "--at", str(oldest)).out.decode()
    same("the same for people", f"before command {oldest} (no longer kept)" in text, True)
    had = past.ask("held-by", "ann", "--at", str(oldest))[0]
    same("held from before", [(r["resource"], r["since-before"]) for r in had["leases"]], [("board-1", oldest)])
    for words in (["why", str(oldest - 1)], ["who", "board-1", "--at", str(oldest - 2)],
                  ["held-by", "ann", "--at", str(oldest - 2)]):
        ended = past.run(*words)
        same(" ".join(words), (ended.code, f"compacted: oldest is {oldest - 1} at " in ended.err.decode()), (3, True))
    for words in (["why", "0"], ["why", "1000000"], ["why", "--request", "no such"], ["who", "no-such"],
                  ["held-by", "nobody"]):
        same(" ".join(words), past.run(*words).code, 1)


def main():
    o = arguments(__doc__, "program", "make_history", "make_folder", commands=5000, snapshot_every=700, asked=200)
    wrong, done = None, 0
    with folder.temporary() as top:
        check_trimmed(o.program, o.make_folder, os.path.join(top, "trimmed"))
        data = os.path.join(top, "history")
        make_history(o, data, o.snapshot_every)
        todo = list(jobs(random.Random(o.seed), Past(o.program, data), o.asked))
        for wrong in folder.each(run, todo):
            if wrong is not None:
                print(wrong)
                break
            done += 1
    print(f"seed {o.seed}: {o.commands} commands, {done} of {len(todo)} questions answered rightly")
    return 0 if wrong is None and done == len(todo) else 1


if __name__ == "__main__":
    sys.exit(main())
