"""The programs around the server, the original ones and ours: reaper, janitor, metrics, cleaner, mason.

Where an original program takes part, both are started with its flags alone; what it does once a minute takes that long.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

from harness import *  # noqa: F403

TRIALS = []


def trial(program, operation, whose=(THEIRS, OURS), types=1, state="free", more=""):
    """A function `work(t)` for each program and server. It returns a note or None.

    It has `types` types of its own, t.type(1) and so on with names -1 to -3, in the state; `more` is for its config.
    """
    def note(work):
        TRIALS.append((program, operation, whose, types, state, more, work))
        return work

    return note


class Trial:
    """One trial at one server: what it is called, and the programs it started."""

    def __init__(self, number, path, whose, server):
        self.number, self.path, self.whose, self.server = number, path, whose, server
        self.folder = os.path.join(server.folder, f"trial-{number}-{whose}")
        self.started, self.log_path = [], os.path.join(self.folder, "log")
        os.makedirs(self.folder)

    def type(self, n=1):
        return type_of(self.number, self.whose, n)

    def name(self, n=1):
        return f"{self.type()}-{n}"

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        boskosd.put_file(path, text)
        os.chmod(path, mode)
        return path

    def lines(self, name):
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as f:
            return f.read().splitlines()

    def start(self, *flags):
        with open(self.log_path, "ab") as log:
            p = subprocess.Popen([self.path, "--boskos-url", self.server.url, *flags], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, cwd=self.folder)
        self.started.append(p)
        return p

    def end(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()

    def states(self, n=1):
        return counts(self.server, self.type(n))[0]

    def owners(self, n=1):
        return counts(self.server, self.type(n))[1]

    def reset(self, state, expire):
        return self.server.call("POST", "/reset", type=self.type(), state=state, expire=expire, dest="dirty").json


# ---- reaper ---------------------------------------------------------------------


def reap(t, *flags):
    """Four leases in states that are reaped go to dirty, one of them that is kept alive, and one in another, do not."""
    stale = {}
    for n, state in ((1, "busy"), (2, "cleaning"), (3, "leased"), (4, "extra")):
        stale[t.type(n)] = take(t.server, t.type(n), dest=state)
    other = take(t.server, t.type(2), dest="other-state")
    alive = take(t.server, t.type(1))
    t.start("--expire", "5s", "--target-state", "dirty", "--extra-source-states", "extra,more", *flags)
    updates = 0

    def all_reaped():
        nonlocal updates
        reply = t.server.call("POST", "/update", name=alive, owner="other", state="busy")
        expect_equal(reply.status, 200, "the status of the update")
        updates += 1
        time.sleep(0.5)
        return all(counts(t.server, type)[0].get("dirty") == 1 for type in stale)

    eventually("all are reaped", all_reaped, 2 * PATIENCE)
    expect_equal(t.server.release(alive, dest="free", owner="other").status, 200, "the release of what was kept alive")
    expect_equal(t.server.release(other, dest="free", owner="other").status, 200, "the release of the other state")
    for n in range(1, 5):
        expect_equal(counts(t.server, t.type(n)), ({"dirty": 1, "free": 2}, {"": 3}), f"the metric of {t.type(n)}")


@trial("reaper", "--resource-type, --extra-source-states, --expire", types=4)
def reaper_types(t):
    reap(t, "--resource-type", ",".join(t.type(n) for n in range(1, 5)))


@trial("reaper", "--resource-type-from-config", types=4)
def reaper_config(t):
    # With types of this trial only: it would take the leases of the others.
    reap(t, "--resource-type-from-config", t.file("types.yaml", config_of(t.number, t.whose)))


# ---- janitor --------------------------------------------------------------------

CLEAN = """#!/bin/sh
# Fails for what ends with -2; what ends with -3 waits for the file `go`, as long as there is this script.
echo "$@" >> ran
case $1 in
*-2) exit 1 ;;
*-3) while ! test -e go && test -e clean.sh; do sleep 0.1; done ;;
esac
"""


@trial("janitor", "cleans, sends heartbeats, gives back dirty what failed", state="dirty")
def janitor(t):
    clean = t.file("clean.sh", CLEAN, 0o755)
    t.start("--janitor-path", clean, "--resource-type", t.type(), "--pool-size", "3", "--update-frequency", "300ms",
            "--", "--hours=0", "--flag")
    word = t.type().rsplit("-", 1)[1]
    eventually("the first is free", lambda: t.states().get("free") == 1)
    wanted = {f"--{word}={t.name(n)} --hours=0 --flag" for n in (1, 2, 3)}
    eventually("it ran for all three", lambda: len(set(t.lines("ran"))) >= 3)
    expect_equal(set(t.lines("ran")), wanted, "what ran")
    # The original takes it again at once, so it is dirty for moments only.
    eventually("the second is dirty", lambda: t.server.acquire(t.type(), "dirty", "kept", "other").status == 200)
    for _ in range(5):
        time.sleep(0.8)
        expect_equal(t.reset("cleaning", "3s"), {}, "a reset of what is alive")
    t.file("go", "")
    eventually("two are free", lambda: t.states() == {"free": 2, "kept": 1})
    expect_equal(t.owners(), {"": 2, "other": 1}, "the owners")


@trial("janitor", "--resource-type-from-config", state="dirty")
def janitor_config(t):
    path = t.file("types.yaml", f"resources: [{{type: {t.type()}, state: dirty, names: [x]}}]\n")
    t.start("--janitor-path", t.file("clean.sh", "#!/bin/sh\n", 0o755), "--resource-type-from-config", path)
    eventually("all are free", lambda: t.states() == {"free": 3})


@trial("janitor", "SIGTERM: what it holds goes back as dirty", whose=(OURS,), state="dirty")
def janitor_ended(t):
    p = t.start("--janitor-path", t.file("clean.sh", "#!/bin/sh\nexec sleep 600\n", 0o755), "--resource-type", t.type(),
                "--pool-size", "2", "--grace", "1s", "--metrics-port", "0")
    eventually("two are being cleaned", lambda: t.states().get("cleaning") == 2)
    p.send_signal(signal.SIGTERM)
    expect_equal(p.wait(PATIENCE), 0, "the exit code")
    expect_equal((t.states(), t.owners()), ({"dirty": 3}, {"": 3}), "the metric")


# ---- metrics --------------------------------------------------------------------


def page(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


def gauges(port, type):
    """The gauges of a type: {state: count}."""
    found = re.findall(r'^boskos_resources\{(.*)\} (\S+)$', page(port, "/metrics")[1], re.M)
    labels = [(dict(re.findall(r'(\w+)="([^"]*)"', text)), float(value)) for text, value in found]
    return {label["state"]: value for label, value in labels if label["type"] == type}


@trial("metrics", "the JSON page, and Prometheus")
def metrics(t):
    take(t.server, t.type()), take(t.server, t.type(), dest="cleaning")
    metrics_port, pprof_port = boskosd.free_ports(2)
    # The port of the original's page cannot be chosen.
    with FIXED_PORT:
        if page(8080, "/")[0] != 0:
            raise NotRun("another program listens on port 8080 of this machine")
        p = t.start("--resource-type", t.type(), "--metrics-port", str(metrics_port), "--health-port", "0",
                    "--pprof-port", str(pprof_port))
        eventually("the page is there", lambda: p.poll() is not None or page(8080, f"/?type={t.type()}")[0] == 200)
        expect(p.poll() is None, f"it ended: {t.lines('log')[-3:]}")
        expect_equal(json.loads(page(8080, f"/?type={t.type()}")[1]),
                     {"type": t.type(), "current": {"busy": 1, "cleaning": 1, "free": 1}, "owner": {"": 1, "other": 2}},
                     "the JSON page")
        expect_equal([page(8080, "/")[0]], [400], "the status without a type")
        wanted = {"busy": 1, "cleaning": 1, "free": 1, "dirty": 0, "leased": 0, "toBeDeleted": 0, "tombstone": 0}
        shown = eventually("the gauges are there", lambda: gauges(metrics_port, t.type()))
        for state, count in wanted.items():
            expect_equal(shown.get(state), float(count), f"the gauge of {state}")
        p.kill()
        p.wait()
    if t.whose == OURS:
        return "ours has the gauges at once, the original after 30 s"


FIXED_PORT = threading.Lock()


# ---- cleaner and mason ----------------------------------------------------------

CLUSTER = ("- {{type: {type}, state: {state}, min-count: 1, max-count: 1, needs: {needs}, "
           "config: {{type: Test, content: c}}}}\n")


@trial("cleaner", "from toBeDeleted to the end; what was leased goes to dirty", whose=(OURS,), more=CLUSTER)
def cleaner(t):
    cluster = take(t.server, t.type(0), owner="mason")
    leased = t.server.call("POST", "/acquirebystate", state="free", dest="leased", owner="mason",
                           names=f"{t.name(1)},{t.name(2)}")
    expect_equal(leased.status, 200, "the status of acquirebystate")
    t.server.update(cluster, {"leasedResources": f"- {t.name(1)}\n- {t.name(2)}\n"}, owner="mason")
    for n in (1, 2):
        t.server.release(t.name(n), dest=cluster, owner="mason")
    t.server.release(cluster, dest="toBeDeleted", owner="mason")
    t.start("--config", t.file("types.yaml", config_of(t.number)), "--period", "200ms")
    eventually("the leased are dirty", lambda: t.states() == {"dirty": 2, "free": 1})
    if t.server.kind == OURS:
        # The tombstone is deleted at once, and a new one is made.
        eventually("there is a new one", lambda: t.states(0) == {"free": 1})
        return None
    eventually("it is a tombstone", lambda: t.states(0) == {"tombstone": 1})
    return "in memory the original server makes and deletes dynamic resources at its start only"


def ctl(t, *words):
    done = subprocess.run([os.environ["BOSKOSCTL"], words[0], "--server-url", t.server.url, "--owner-name", "ann",
                           *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=PATIENCE)
    expect_equal((done.returncode, done.stderr), (0, ""), f"boskosctl {words[0]}")
    return done.stdout


@trial("mason", "builds; boskosctl takes and gives back the whole", whose=(OURS,), more=CLUSTER)
def mason(t):
    build = t.file("build.sh", '#!/bin/sh\ncat > told\nprintf \'{"made": "yes"}\'\n', 0o755)
    config = t.file("mason.yaml", config_of(t.number))
    t.start("--config", config, "--builder", f"Test={build}", "--period", "300ms", "--heartbeat-period", "200ms",
            "--metrics-port", "0")
    eventually("the cluster is free", lambda: t.states(0) == {"free": 1} and "" in t.owners(0))
    taken = json.loads(ctl(t, "acquire", "--type", t.type(0), "--state", "free", "--target-state", "busy",
                           "--with-leased"))
    expect_equal(taken["userdata"]["made"], "yes", "what the builder stored")
    expect_equal(len(re.findall(t.type() + "-", taken["userdata"]["leasedResources"])), 2, "how many are leased")
    expect_equal((t.states(), t.owners()), ({"busy": 2, "free": 1}, {"": 1, "ann": 2}), "what was leased")
    told = json.loads("\n".join(t.lines("told")))
    expect_equal((told["config"], told["resource"]["name"]), ({"type": "Test", "content": "c"}, taken["name"]),
                 "what the builder was told")
    if t.server.kind == OURS:
        ctl(t, "release", "--name", taken["name"], "--target-state", "dirty", "--with-leased")
        eventually("the nodes are dirty, and one is leased anew", lambda: t.states() == {"dirty": 2, "leased": 1})
        return None
    # At the original server nobody can be asked what belongs to a resource that another process took.
    for name in [taken["name"], *re.findall(f"{t.type()}-[0-9]", taken["userdata"]["leasedResources"])]:
        ctl(t, "release", "--name", name, "--target-state", "dirty")
    eventually("the nodes are dirty, and one is leased anew", lambda: t.states() == {"dirty": 2, "leased": 1})
    return "boskosctl release --with-leased needs boskosd: here each was released by its name"


# ---- running them ---------------------------------------------------------------


def type_of(number, whose, n):
    return f"t{number}-{whose}-type{n}"


def config_of(number, whose=OURS):
    _, _, _, types, state, more, _ = TRIALS[number]
    lines = []
    for n in range(1, types + 1):
        t = type_of(number, whose, n)
        lines.append(f"- {{type: {t}, state: {state}, names: [{t}-1, {t}-2, {t}-3]}}\n")
    cluster = {"type": type_of(number, whose, 0), "needs": f"{{{type_of(number, whose, 1)}: 2}}"}
    wanted = "dirty" if TRIALS[number][0] == "mason" else "free"
    return "resources:\n" + "".join(lines) + more.format(state=wanted, **cluster)


def config():
    parts = [config_of(number, whose) for number, row in enumerate(TRIALS) for whose in row[2]]
    return "resources:\n" + "".join(part.split("\n", 1)[1] for part in parts)


def attempt(number, path, whose, server):
    t = Trial(number, path, whose, server)
    try:
        return TRIALS[number][-1](t)
    except Failed as e:
        raise Failed(f"{e}\n  it said:\n" + "\n".join("    " + line for line in t.lines("log")[-12:])) from None
    finally:
        t.end()


def run(table, servers, programs):
    names = {row[0] for row in TRIALS}
    paths = {THEIRS: {n: programs.get(n) for n in names},
             OURS: {n: os.environ.get(f"BOSKOS_{n.upper()}") for n in names}}
    jobs = []
    for kind in servers.kinds():
        server = servers.start(kind, config())
        for number, (program, operation, owners, *_) in enumerate(TRIALS):
            for whose in owners:
                path = paths[whose][program]
                if path is None:
                    table.add(program, whose, kind, operation, "not run", "it is not built here")
                    continue
                jobs.append(lambda number=number, program=program, operation=operation, whose=whose, path=path,
                            server=server: table.attempt(program, whose, server.kind, operation,
                                                         lambda: attempt(number, path, whose, server)))
    for program in ("cleaner", "mason"):
        table.add(program, THEIRS, OURS, "the program", "not possible", "it asks Kubernetes for the life cycles; the "
                  "package that it is made of is tried among the Go packages")
    side_by_side(jobs)
