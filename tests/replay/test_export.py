#!/usr/bin/env python3
"""What `boskos-replay export` writes: the stretch as it was, or another one that behaves the same and says less.

usage: test_export.py BOSKOS_REPLAY MAKE_HISTORY MAKE_FOLDER FORGE BOSKOSD [unittest's arguments]

Random histories are exported in each way, and the file is held against the folder: command by command, and state by state.
Of a redacted one it is found out here which text stands for which, from the outside, and that this is one to one.
"""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import folder

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = {"free", "busy", "dirty", "cleaning", "leased", "toBeDeleted", "tombstone"}
MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PATIENCE = 60  # seconds until a test gives up
program = make_history = make_folder = forge = boskosd = None  # from the command line


# ---- which text stands for which ------------------------------------------------


class Different(Exception):
    pass


class Pairs:
    """What was seen of texts and of those in their place, by what they are: one for one, the same in both ways."""

    def __init__(self):
        self.there, self.back, self.resources = {}, {}, set()

    def text(self, kind, a, b):
        if a == "" or b == "":
            if a != b:
                raise Different(f"{kind} {a!r} became {b!r}")
            return
        there, back = self.there.setdefault(kind, {}), self.back.setdefault(kind, {})
        if there.setdefault(a, b) != b or back.setdefault(b, a) != a:
            raise Different(f"{kind}: {a!r} is {there[a]!r} and {b!r} is {back.get(b)!r}")

    def name(self, a, b):
        if a != "":
            self.resources.add(a)
        self.text("name or state", a, b)  # a state may be a name: they are replaced as one

    def state(self, a, b):
        self.text("name or state", a, b)

    def same(self, what, a, b):
        if a != b:
            raise Different(f"{what}: {a!r} and {b!r}")

    def list(self, what, each, a, b):
        self.same(f"the length of {what}", len(a), len(b))
        for x, y in zip(a, b):
            each(x, y)

    def table(self, what, each, a, b):
        """The keys are there in both; `each` is a function by key."""
        self.same(f"the keys of {what}", list(a), list(b))
        for key in a:
            each[key](a[key], b[key])

    def leased(self, a, b):
        """A value of leasedResources."""
        self.text("leasedResources", a, b)
        if a is None or not a.startswith("["):
            return
        names = [n.strip() for n in a.strip("[]").split(",")]
        self.list("leasedResources", self.name, names, json.loads(b.split(" # ")[0]))

    def value(self, a, b):
        if a is None or b is None:
            self.same("null", a, b)
        else:  # of which the size is made to fit
            self.text("value", a, b.rstrip("."))

    def userdata(self, a, b):
        self.same("the number of userdata", len(a), len(b))
        for key, value in a.items():
            other = key if key in ("", "leasedResources") else self.there.get("userdata key", {}).get(key)
            if other is None or other not in b:
                # Met for the first time: the one that is nobody's yet.
                known = self.back.get("userdata key", {})
                new = [k for k in b if k not in known and k not in ("", "leasedResources")]
                if len(new) != 1:
                    return  # which one, other commands will tell
                other = new[0]
                self.text("userdata key", key, other)
            if key == "leasedResources":
                if value is None or b[other] is None:
                    self.same("null", value, b[other])
                else:
                    self.leased(value, b[other])
            else:
                self.value(value, b[other])

    def side(self, a, b):
        if a is None or b is None:
            self.same("made or removed", a, b)
            return
        is_same = lambda x, y: self.same("a time", x, y)
        self.table("a resource", {"name": self.name, "type": self.type, "state": self.state, "owner": self.owner,
                                  "lastupdate": is_same, "expiration-date": is_same, "userdata": self.userdata}, a, b)

    def type(self, a, b):
        self.text("type", a, b)

    def owner(self, a, b):
        self.text("owner", a, b)

    def entry(self, a, b):
        is_same = lambda x, y: self.same("a number of the config", x, y)
        config = lambda x, y: self.table("config", {"type": lambda p, q: self.text("text", p, q),
                                                    "content": lambda p, q: self.text("text", p, q)}, x, y)
        self.table("an entry", {"type": self.type, "state": self.state, "min-count": is_same, "max-count": is_same,
                                "lifespan": is_same, "reaper": is_same, "needs": self.needs, "config": config,
                                "names": lambda x, y: self.list("names", self.name, x, y)}, a, b)

    def needs(self, a, b):
        self.same("needs", list(a.values()), list(b.values()))
        self.list("needs", self.type, list(a), list(b))  # both sorted

    def config(self, a, b):
        if a is None or b is None:
            self.same("no config", a, b)
            return
        is_same = lambda x, y: self.same("a setting", x, y)
        reaper = lambda x, y: self.table("the reaper", {"expire": is_same, "period": is_same, "target-state": self.state,
                                                        "states": lambda p, q: self.list("states", self.state, p, q)}, x, y)
        boskos = lambda x, y: self.table("boskosd", {"reaper": reaper, "cleaner": is_same}, x, y)
        self.table("a config", {"resources": lambda x, y: self.list("entries", self.entry, x, y), "boskosd": boskos}, a, b)

    def reply(self, kind, status, a, b):
        if status != 200 or kind not in ("acquire", "acquirebystate", "reset"):
            return  # a text, of which the status says what counts
        a, b = json.loads(a), json.loads(b)
        if kind == "acquire":
            self.side(a, b)
        elif kind == "acquirebystate":
            self.list("resources", self.side, a, b)
        else:
            self.list("names", self.name, list(a), list(b))
            self.list("owners", self.owner, list(a.values()), list(b.values()))

    def command(self, a, b):
        self.same("the keys of a command", list(a), list(b))
        for key in ("seq", "time", "kind", "status"):
            self.same(key, a.get(key), b.get(key))
        is_same = lambda x, y: self.same("a parameter", x, y)
        text = lambda kind: lambda x, y: self.text(kind, x, y)
        names = lambda x, y: self.list("names", self.name, *[n.split(",") if isinstance(n, str) else n for n in (x, y)])
        self.table("params", {"type": self.type, "state": self.state, "dest": self.state, "owner": self.owner,
                              "request_id": text("request"), "Idempotency-Key": text("key"), "names": names,
                              "name": self.name, "userdata": self.userdata, "expire": is_same, "config": self.config,
                              "leasedResources": self.leased, "ahead": is_same, "version": is_same, "host": text("host"),
                              "downtime": is_same, "request-ttl": is_same, "salt": is_same, "lost-first": is_same,
                              "lost-last": is_same, "why": text("text"),
                              "life-cycles": lambda x, y: self.list("life cycles", self.entry, x, y),
                              "resources": lambda x, y: self.list("resources", self.side, x, y)},
                   a["params"], b["params"])
        if "status" in a:
            self.reply(a["kind"], a["status"], a["reply"], b["reply"])
        change = {"resource": self.name, "from": self.side, "to": self.side}
        self.list("effects", lambda x, y: self.table("a change", change, x, y), a["effects"], b["effects"])

    def queue(self, a, b):
        is_same = lambda x, y: self.same("of a request", x, y)
        request = {"id": lambda x, y: self.text("request", x, y), "rank": is_same, "since": is_same, "expires": is_same}
        each = {"type": self.type, "state": self.state,
                "requests": lambda x, y: self.list("requests", lambda p, q: self.table("a request", request, p, q), x, y)}
        self.table("a queue", each, a, b)

    def queues(self, a, b):
        """Sorted by type and state: other states come in another order, and each is found by its requests."""
        by_request = lambda queues: sorted(queues, key=lambda q: [(r["since"], r["expires"], r["rank"]) for r in q["requests"]])
        self.same("the number of queues", len(a), len(b))
        if len({json.dumps([r["since"] for r in q["requests"]]) for q in a}) == len(a):
            self.list("queues", self.queue, by_request(a), by_request(b))

    def shown(self, a, b):
        is_same = lambda x, y: self.same("of a state", x, y)
        cycle = {"type": self.type, "state": self.state, "min-count": is_same, "max-count": is_same, "lifespan": is_same}
        self.table("a state", {"seq": is_same, "time": is_same, "queues": self.queues, "config": self.config,
                               "resources": lambda x, y: self.list("resources", self.side, x, y),
                               "dynamic": lambda x, y: self.list("cycles", lambda p, q: self.table("a cycle", cycle, p, q), x, y),
                               "digest": lambda x, y: None}, a, b)

    def check_order(self):
        """Byte order of names, to those that stayed too, and of types."""
        for kind, texts in (("name or state", self.resources), ("type", self.there.get("type", {}))):
            texts = sorted(texts, key=str.encode)
            others = [self.there[kind][t] for t in texts]
            if others != sorted(others, key=str.encode):
                raise Different(f"the order of {texts} became that of {others}")

    def check_replaced(self):
        """Nothing that somebody chose stayed, and what the server made and everybody knows did."""
        for kind, texts in self.there.items():
            for a, b in texts.items():
                stays = kind == "name or state" and (a in KNOWN or MADE.fullmatch(a) is not None)
                if (a == b) != stays:
                    raise Different(f"{kind} {a!r} became {b!r}")


def without_userdata(value):
    """A command or a state as JSON without what an export leaves out."""
    if isinstance(value, list):
        return [without_userdata(v) for v in value]
    if not isinstance(value, dict):
        return value
    value = {k: without_userdata(v) for k, v in value.items() if k != "digest"}
    if isinstance(value.get("userdata"), dict):
        value["userdata"] = {k: v for k, v in value["userdata"].items() if k == "leasedResources"}
    if isinstance(value.get("reply"), str) and value["reply"][:1] in ("{", "["):
        value["reply"] = without_userdata(json.loads(value["reply"]))
    if "effects" in value:  # what only changed what was left out
        value["effects"] = [e for e in value["effects"] if e["from"] != e["to"]]
    sides = value.get("from"), value.get("to")
    if all(isinstance(s, dict) and "userdata" in s for s in sides) and sides[0]["userdata"] == sides[1]["userdata"]:
        for side in sides:
            del side["userdata"]  # what changed was left out
    return value


# ---- running --------------------------------------------------------------------


def run(*arguments, code=0, seconds=folder.SECONDS_MAX):
    ended = folder.Ended([program, *arguments], seconds)
    if ended.code != code:
        raise AssertionError(f"exit code {code} was expected: {ended}")
    return ended.out.decode()


def lines(*arguments):
    return [json.loads(line) for line in run("--json", *arguments).splitlines()]


class ExportTest(unittest.TestCase):
    def setUp(self):
        made = folder.temporary()
        self.addCleanup(made.cleanup)
        self.top = made.name

    def path(self, name):
        return os.path.join(self.top, name)

    def history(self, seed, commands, snapshot_every):
        path = self.path(f"history-{seed}")
        ended = folder.Ended([make_history, path, "--seed", str(seed), "--commands", str(commands),
                              "--snapshot-every", str(snapshot_every)])
        self.assertEqual(ended.code, 0, str(ended))
        return path

    def folder_of(self, script):
        path = self.path("folder")
        with open(self.path("script"), "w", encoding="utf-8") as f:
            f.write(script)
        ended = folder.Ended([make_folder, self.path("script"), path])
        self.assertEqual(ended.code, 0, str(ended))
        return path

    def export(self, source, name, *options, **more):
        path = self.path(name)
        out = run(*source, "export", "--to", path, *options, **more)
        return path, out

    def file_bytes(self, path):
        with open(path, "rb") as f:
            return f.read()

    def check_whole(self, file, first, last):
        told = json.loads(run("--file", file, "--json", "verify"))
        self.assertEqual((told["from"], told["to"], told["results"]), (first, last, last - first + 1))

    # ---- histories ----

    def stretches(self, seed, last):
        rng = random.Random(seed)
        middle = sorted(rng.sample(range(2, last), 2))
        return [(1, last), tuple(middle), (rng.randrange(2, last), last), (rng.randrange(2, last),) * 2]

    def check_stretch(self, source, first, last, name=""):
        stretch = ["--from", str(first), "--until", str(last)]
        commands = lines(*source, "log", *stretch)
        self.assertEqual([c["seq"] for c in commands], list(range(first, last + 1)))
        points = sorted({first - 1, first, (first + last) // 2, last} - {0})
        states = {p: json.loads(run(*source, "--json", "show", "--at", str(p))) for p in points}
        name += f"{first}-{last}"

        kept, _ = self.export(source, f"kept-{name}", *stretch, "--with-userdata")
        self.assertEqual(lines("--file", kept, "log"), commands)
        for p in points:
            self.assertEqual(json.loads(run("--file", kept, "--json", "show", "--at", str(p))), states[p])

        less, _ = self.export(source, f"less-{name}", *stretch)
        for a, b in zip(without_userdata(commands), without_userdata(lines("--file", less, "log")), strict=True):
            self.assertEqual(a, b)
        for p in points:
            shown = json.loads(run("--file", less, "--json", "show", "--at", str(p)))
            self.assertEqual(without_userdata(shown), without_userdata(states[p]))
            for r in shown["resources"]:
                self.assertLessEqual(set(r["userdata"]), {"leasedResources"})

        redacted, _ = self.export(source, f"redacted-{name}", *stretch, "--redact")
        pairs = Pairs()
        for a, b in zip(commands, lines("--file", redacted, "log"), strict=True):
            try:
                pairs.command(a, b)
            except Different as e:
                self.fail(f"{e}\n{a}\n{b}")
        for p in points:
            pairs.shown(states[p], json.loads(run("--file", redacted, "--json", "show", "--at", str(p))))
        pairs.check_order()
        pairs.check_replaced()
        for file in (kept, less, redacted):
            self.check_whole(file, first, last)
        for file, redacted_, userdata in ((kept, False, "kept"), (less, False, "left out"), (redacted, True, "replaced")):
            told = json.loads(run("--file", file, "--json", "info"))
            if source[0] == "--data-dir":
                self.assertEqual((told["redacted"], told["userdata"]), (redacted_, userdata))
        return redacted

    def test_histories(self):
        for seed in range(1, 1 + int(os.environ.get("BOSKOS_HISTORIES", "2"))):
            source = ["--data-dir", self.history(seed, 1500, 400)]
            for first, last in self.stretches(seed, 1500):
                with self.subTest(seed=seed, first=first, last=last):
                    self.check_stretch(source, first, last, f"of-{seed}-")

    def test_golden_folders(self):
        for name in ("lab", "keys", "v1", "trimmed"):
            with self.subTest(name=name):
                path = self.path(name)
                ended = folder.Ended([make_folder, os.path.join(HERE, "folders", f"{name}.txt"), path])
                self.assertEqual(ended.code, 0, str(ended))
                source = ["--data-dir", path]
                told = json.loads(run(*source, "--json", "info"))
                stretch = ["--from", str(told["oldest"] + 1)]
                commands = lines(*source, "log")
                for way in ([], ["--with-userdata"], ["--redact"]):
                    file, _ = self.export(source, f"{name}.file{len(way) and way[0]}", *stretch, *way)
                    others = lines("--file", file, "log")
                    self.assertEqual([(c["seq"], c["kind"], c.get("status")) for c in others],
                                     [(c["seq"], c["kind"], c.get("status")) for c in commands])
                    run("--file", file, "verify")

    def test_of_a_file(self):
        """A file is exported from as a folder is, and stays what it was made to be."""
        source = ["--data-dir", self.history(11, 900, 300)]
        whole, _ = self.export(source, "whole", "--with-userdata")
        part, _ = self.export(["--file", whole], "part", "--from", "301", "--until", "700", "--with-userdata")
        direct, _ = self.export(source, "direct", "--from", "301", "--until", "700", "--with-userdata")
        self.assertEqual(self.file_bytes(part), self.file_bytes(direct))
        redacted = self.check_stretch(["--file", whole], 200, 600)
        again, out = self.export(["--file", redacted], "again", "--with-userdata", "--json")
        self.assertEqual(json.loads(out), {"file": again, "from": 200, "to": 600, "bytes": os.path.getsize(again),
                                           "redacted": True, "userdata": "replaced"})
        _, out = self.export(["--file", redacted], "less", "--json")
        self.assertEqual(json.loads(out)["redacted"], True)
        self.assertEqual(json.loads(out)["userdata"], "left out")

    def test_version(self):
        """It carries the version that made the journal, not that of the program which exports."""
        source = ["--file", os.path.join(HERE, "..", "..", "docs", "incidents", "reaped.bex")]
        made_by = json.loads(run(*source, "--json", "info"))["created_by"]
        self.assertNotIn(made_by, run("--version"))
        for option in ([], ["--with-userdata"], ["--redact"]):
            exported, _ = self.export(source, "exported" + "".join(option), *option)
            self.assertEqual(json.loads(run("--file", exported, "--json", "info"))["created_by"], made_by)

    def test_each_export_has_its_own_texts(self):
        """What stands for an owner cannot be looked up in another file."""
        source = ["--data-dir", self.history(3, 300, 0)]
        owners = []
        for name in ("one", "two"):
            file, _ = self.export(source, name, "--redact")
            owners.append({c["params"]["owner"] for c in lines("--file", file, "log") if "owner" in c["params"]})
        self.assertEqual(len(owners[0]), len(owners[1]))
        self.assertFalse(owners[0] & owners[1])

    # ---- what may not be in a file ----

    SECRETS = """
0s        started  0s salt=700 version=0.2.0 host=secret-host
0s        config <<END
resources:
- type: secret-type-cloud
  state: free
  names: [secret-proj-a, secret-proj-b, secret-proj-c, 0-secret-lowest, zz-secret-highest, tombstone]
- type: secret-type-pool
  state: secret-state-new
  min-count: 2
  max-count: 5
  lifespan: 3h
  needs: {secret-type-cloud: 1}
  config: {type: SecretMason, content: "secret: content"}
boskosd: {cleaner: {enabled: true}, reaper: {expire: 30m, states: [busy, secret-state-held], target-state: secret-target}}
END
1m        acquire secret-type-cloud free secret-state-held secret-owner-ann key=secret-key-1
1m1s      acquire secret-type-cloud free secret-state-held secret-owner-ann key=secret-key-1
1m2s      update  secret-proj-a secret-owner-ann secret-state-held "secret other"=secret-value secretkey=secret-value x=y
2m        acquire secret-type-pool secret-state-new busy secret-owner-bob id=secret-request-1
2m1s      update  made-1 secret-owner-bob busy leasedResources="[secret-proj-b, secret-proj-c]"
2m2s      acquire secret-type-cloud free busy secret-owner-bob
2m3s      release secret-proj-b made-1 secret-owner-bob
2m4s      release secret-proj-b secret-proj-c secret-owner-bob
3m        acquire secret-type-cloud secret-state-odd busy secret-owner-cyd id=secret-request-2
4m        bystate free busy secret-owner-dan secret-proj-c,zz-secret-highest
4m1s      bystate free busy secret-owner-dan secret-unknown,tombstone
5m        reset   secret-type-cloud busy 10s secret-state-dirty
6m        config <<END
resources:
- {type: secret-type-cloud, state: free, names: [secret-proj-a, secret-proj-b]}
- {type: secret-type-pool, state: secret-state-new, min-count: 2, max-count: 9}
- {type: secret-type-pool, names: [@LOW@-secret-low, @MIDDLE@-secret-middle, @MIDDLE@-secret-second, "019-secret"]}
boskosd: {cleaner: {enabled: true}, reaper: {expire: 30m, states: [busy, secret-state-held], target-state: secret-target}}
END
20m       acquire secret-type-pool secret-state-other busy secret-owner-eve id=secret-request-3
20m1s     acquire secret-type-pool secret-state-other busy secret-owner-fay id=secret-request-4
50m       reap
51m       release made-1 toBeDeleted secret-owner-bob
51m1s     clean-if "[secret-proj-b,secret-proj-c ]" made-1 secret-proj-b,secret-proj-c
51m1s     clean   made-1 secret-proj-b,secret-proj-c
52m       config <<END
resources:
- {type: secret-type-cloud, state: free, names: [secret-proj-a, secret-proj-b]}
- {type: secret-type-pool, state: secret-state-new, min-count: 1, max-count: 3}
END
53m       repaired 4m lost=100-119 why="secret damage" host=secret-host-2
54m       release secret-proj-a free secret-owner-nobody
55m       expire
"""
    START_MS = 1772355600000

    def secrets(self):
        # Names that were chosen, among those that the server makes: at 0s, 2m, 20m.
        at = lambda minutes: "{0[0]}-{0[1]}".format(re.fullmatch("(.{8})(.{4})", f"{self.START_MS + minutes * 60000:012x}").groups())
        return self.folder_of(self.SECRETS.replace("@LOW@", at(1)).replace("@MIDDLE@", at(15)))

    def test_nothing_is_told(self):
        source = ["--data-dir", self.secrets()]
        last = json.loads(run(*source, "--json", "info"))["last"]
        for first, end in [(1, last), (5, last), (14, last), (18, 20), (last, last)]:
            with self.subTest(first=first, last=end):
                redacted = self.check_stretch(source, first, end)
                self.assertNotIn(b"ecret", self.file_bytes(redacted))
        whole = self.file_bytes(self.path(f"kept-1-{last}"))
        less = self.file_bytes(self.path(f"less-1-{last}"))
        for text in (b"secret-value", b"secretkey", b"secret other"):
            self.assertIn(text, whole)
            self.assertNotIn(text, less)
        self.assertIn(b"[secret-proj-b, secret-proj-c]", less)
        # It came to what it is about: names among the server's were taken as the highest and the lowest.
        effects = lines(*source, "log", "--kind", "config")[-1]["effects"]
        marked = [e["resource"] for e in effects if e["to"] and e["to"].get("state") == "toBeDeleted"]
        self.assertTrue(any("secret" in n for n in marked) and any(MADE.fullmatch(n) for n in marked), marked)

    def test_sizes_stay(self):
        """Userdata that would be too large is, when it is redacted; without userdata it could not be."""
        source = ["--data-dir", self.folder_of("""
0s        started  0s salt=3
0s        config   resources: [{type: board, names: [board-1]}]
1m        acquire  board free busy ann
1m1s      update   board-1 ann busy a-note-of-some-length=*1048500
1m2s      update   board-1 ann busy another-note=*200  => 413
1m3s      update   board-1 ann busy some-note-of-size=*38  => 200
1m4s      update   board-1 ann busy another=text       => 413
1m5s      update   board-1 ann busy a-note-of-some-length! => 200
1m6s      update   board-1 ann busy another=text       => 200
""")]
        for options in ([], ["--from", "5"], ["--from", "8"]):
            file, _ = self.export(source, f"redacted{len(options)}{options[1:]}", "--redact", *options)
            statuses = [c.get("status") for c in lines("--file", file, "log")]
            self.assertEqual(statuses, [None, None, 200, 200, 413, 200, 413, 200, 200][-len(statuses):])
        path = self.path("less")
        ended = folder.Ended([program, *source, "export", "--to", path])
        self.assertEqual(ended.code, 1, str(ended))
        self.assertIn(b"command 5, update, would end otherwise without userdata", ended.err)
        self.assertIn(b"--redact", ended.err)
        self.check_nothing_left(path)
        self.export(source, "less", "--from", "8")

    # ---- what must not be harmed, or left ----

    def check_nothing_left(self, path):
        self.assertEqual([n for n in os.listdir(os.path.dirname(path)) if n.startswith(os.path.basename(path))], [])

    def test_never_writes_over(self):
        source = ["--data-dir", self.history(2, 50, 0)]
        for name in ("there", "there.tmp"):
            with open(self.path(name), "w", encoding="utf-8") as f:
                f.write("mine")
            ended = folder.Ended([program, *source, "export", "--to", self.path("there")])
            self.assertEqual(ended.code, 1, str(ended))
            self.assertIn(f"{name} is there already".encode(), ended.err)
            self.assertEqual(self.file_bytes(self.path(name)), b"mine")
            os.remove(self.path(name))
        self.assertNotIn("there", os.listdir(self.top))

    def test_refused(self):
        source = ["--data-dir", self.history(2, 50, 0)]
        for code, said, options in [(2, b"give one", ["--redact", "--with-userdata"]), (2, b"after", ["--from", "9", "--until", "7"]),
                                    (1, b"no command 51", ["--until", "51"])]:
            ended = folder.Ended([program, *source, "export", "--to", self.path("file"), *options])
            self.assertEqual(ended.code, code, str(ended))
            self.assertIn(said, ended.err)
        self.assertEqual(folder.Ended([program, *source, "export"]).code, 2)
        self.assertEqual(folder.Ended([program, *source, "export", "--to", self.path("none/file")]).code, 1)
        self.check_nothing_left(self.path("file"))

    def test_full_disk(self):
        """A limit of the file's size stands for it where none can be had, and is tried at many sizes."""
        source = self.history(4, 3000, 500)
        path = self.path("file")
        for size in (0, 100, 5000, 100000):
            for way in ([], ["--redact"], ["--with-userdata"]):
                ended = subprocess.run([program, "--data-dir", source, "export", "--to", path, *way], check=False,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                                       restore_signals=False,  # SIGXFSZ stays ignored
                                       preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
                self.assertEqual(ended.returncode, 1, ended.stderr)
                self.assertIn(b"cannot", ended.stderr)
                self.check_nothing_left(path)

    def test_no_space(self):
        unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        mount = f"mount -t tmpfs -o size=64k none {self.top}/disk"
        os.mkdir(self.path("disk"))
        if subprocess.run([*unshare, "sh", "-c", mount], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no disk of a size can be mounted here")
        source = self.history(4, 3000, 500)
        script = f"{mount} && {program} --data-dir {source} export --to {self.top}/disk/file; echo $?; ls -A {self.top}/disk"
        ended = folder.Ended([*unshare, "sh", "-c", script])
        self.assertEqual(ended.out, b"1\n", str(ended))
        self.assertIn(b"disk", ended.err)

    def test_stopped(self):
        """A signal ends it as always, and nothing is left."""
        source = self.history(6, 60000, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for way in (["--redact"], ["--with-userdata"]):
                self.stop_one(source, number, way)

    def stop_one(self, source, number, way):
        path = self.path("file")
        for _ in range(20):  # it may be done before
            process = subprocess.Popen([program, "--data-dir", source, "export", "--to", path, *way],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            end = time.monotonic() + PATIENCE
            while not os.path.exists(path + ".tmp") and process.poll() is None:
                self.assertLess(time.monotonic(), end)
            process.send_signal(number)
            if process.wait(PATIENCE) == -number and not os.path.exists(path):
                self.check_nothing_left(path)
                return
            if os.path.exists(path):
                os.remove(path)
        self.fail(f"it was never stopped by {number}: {way}")

    def test_damaged(self):
        """Of a file that is cut or has another byte each look says so, or prints what it did."""
        source = ["--data-dir", self.history(5, 400, 0)]
        for way in ([], ["--redact"]):
            file, _ = self.export(source, "good", "--from", "100", *way)
            whole, bad = self.file_bytes(file), self.path("bad")
            wanted = run("--file", file, "--json", "log")
            rng = random.Random(5)
            for _ in range(40):
                at = rng.randrange(len(whole))
                other = whole[:at] if rng.random() < 0.3 else whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
                with open(bad, "wb") as f:
                    f.write(other)
                ended = folder.Ended([program, "--file", bad, "--json", "log"])
                self.assertIn(ended.code, (0, 4, 1), str(ended))
                if ended.code == 0:
                    self.assertEqual(ended.out.decode(), wanted)
                elif ended.code == 1:  # the first bytes: another kind of file
                    self.assertLess(at, 8)
                else:
                    self.assertIn(b"bad", ended.err)
                # And nothing is exported of it.
                if ended.code == 4:
                    ended = folder.Ended([program, "--file", bad, "export", "--to", self.path("of-bad"), *way])
                    self.assertEqual(ended.code, 4, str(ended))
                    self.check_nothing_left(self.path("of-bad"))
            os.remove(file)

    def test_of_a_journal_that_lies(self):
        """A result that is not what replaying gives is handed on as it is; nothing else can be made of it."""
        source = ["--data-dir", self.history(7, 300, 0)]
        ended = folder.Ended([forge, source[1], "digest", "120"])
        self.assertEqual(ended.code, 0, str(ended))
        said = folder.Ended([program, *source, "verify"])
        self.assertEqual(said.code, 4, str(said))
        file, _ = self.export(source, "digest-kept", "--with-userdata")
        ended = folder.Ended([program, "--file", file, "verify"])
        self.assertEqual((ended.code, ended.out), (4, said.out), str(ended))
        self.assertIn(b"120", ended.err)
        for way in ([], ["--redact"]):
            path = self.path(f"digest{way}")
            ended = folder.Ended([program, *source, "export", "--to", path, *way])
            self.assertEqual(ended.code, 4, str(ended))
            self.assertIn(b"--with-userdata exports", ended.err)
            self.check_nothing_left(path)

    def test_of_a_journal_without_a_result(self):
        """A result that is missing before others is damage, and nothing is exported of that."""
        source = ["--data-dir", self.history(8, 300, 0)]
        ended = folder.Ended([forge, source[1], "no-row", "120"])
        self.assertEqual(ended.code, 0, str(ended))
        for way in ([], ["--redact"], ["--with-userdata"]):
            path = self.path(f"no-row{way}")
            ended = folder.Ended([program, *source, "export", "--to", path, *way])
            self.assertEqual(ended.code, 4, str(ended))
            self.assertIn(b"the result of record 120 is missing", ended.err)
            self.check_nothing_left(path)

    def test_beside_a_daemon(self):
        sys.path.insert(0, os.path.join(HERE, "..", "daemon"))
        import boskosd as rig  # pylint: disable=import-outside-toplevel

        with tempfile.TemporaryDirectory(prefix="boskosd-test-") as top:
            d = rig.Daemon(top, program=boskosd).start()
            is_over = threading.Event()

            def work(owner):
                with rig.Connection(d.port) as c:
                    while not is_over.is_set():
                        got = c.request("POST", rig.target("/acquire", type="car", state="free", dest="busy", owner=owner))
                        if got.status == 200:
                            name = got.json["name"]
                            c.request("POST", rig.target("/update", name=name, owner=owner, state="busy"), b'{"secret":"one"}')
                            c.request("POST", rig.target("/release", name=name, owner=owner, dest="free"))
                        time.sleep(0.005)  # where a flush costs nothing, the log would grow faster than it is exported

            threads = [threading.Thread(target=work, args=(f"owner {i}",)) for i in range(6)]
            try:
                for t in threads:
                    t.start()
                for i in range(5):
                    time.sleep(0.2)
                    for way in ([], ["--redact"], ["--with-userdata"]):
                        file, out = self.export(["--data-dir", d.data_dir], f"live-{i}{way}", *way, "--json")
                        told = json.loads(out)
                        self.assertGreater(told["to"], 2)
                        verified = json.loads(run("--file", file, "--json", "verify"))
                        self.assertEqual((verified["from"], verified["to"]), (1, told["to"]))
                        self.assertGreater(verified["results"], 0)
            finally:
                is_over.set()
                for t in threads:
                    t.join()
                d.end()


if __name__ == "__main__":
    program, make_history, make_folder, forge, boskosd = map(os.path.abspath, sys.argv[1:6])
    unittest.main(argv=[sys.argv[0], *sys.argv[6:]])
