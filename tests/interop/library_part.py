"""libboskos, by the driver of its tests, and the Python package: every call, at both servers."""

import os
import sys
import time

from harness import *  # noqa: F403

sys.path.insert(0, os.path.join(HERE, "..", "client"))
sys.path.insert(0, os.path.join(HERE, "..", "..", "client", "python"))

import boskos  # noqa: E402
import client_test  # noqa: E402

TRIALS = []


def trial(library, operation):
    """A function `work(server, type)` with a type of its own, of three names."""
    def note(work):
        TRIALS.append((library, operation, work))
        return work

    return note


def with_driver(work):
    """Gives work(server, type) a client of libboskos as a third, which must end well."""
    def run(server, type):
        driver = client_test.Driver(server.url)
        try:
            note = work(server, type, driver)
            expect_equal(driver.end(), 0, "the exit code of the driver")
            return note
        finally:
            driver.kill()

    return run


def with_python(work):
    def run(server, type):
        with boskos.Client(server.url, owner="ann") as c:
            return work(server, type, c)

    return run


def good(answer):
    expect_equal(answer.code, 0, f"the code ({answer})")
    return answer.text


def refused(code, answer):
    expect_equal(answer.code, code, f"the code ({answer})")


def raises(error, call, *arguments, **more):
    try:
        found = call(*arguments, **more)
    except boskos.BoskosError as e:
        expect_equal(type(e).__name__, error.__name__, f"the error ({e})")
    else:
        raise Failed(f"{call.__name__} was expected to raise {error.__name__}: {found}")


# ---- libboskos ------------------------------------------------------------------


@trial("libboskos", "acquire, release, and their refusals")
@with_driver
def library_acquire(server, type, c):
    r = c("acquire", type, "free", "busy", 0)
    good(r)
    found = [r.json[k] for k in ("type", "name", "state", "owner")]
    expect_equal(found, [type, f"{type}-1", "busy", "ann"], "the lease")
    take(server, type), take(server, type)
    refused(client_test.NONE, c("acquire", type, "free", "busy", 0))
    refused(client_test.NO_TYPE, c("acquire", "nope", "free", "busy", 0))
    refused(client_test.OWNER, c("release", f"{type}-2", "dirty"))
    refused(client_test.NO_RESOURCE, c("release", "nope", "dirty"))
    good(c("release", f"{type}-1", "dirty"))
    expect_equal(counts(server, type), ({"busy": 2, "dirty": 1}, {"": 1, "other": 2}), "the metric")


@trial("libboskos", "acquire that waits")
@with_driver
def library_wait(server, type, c):
    names = [take(server, type) for _ in range(3)]
    c.send("acquire", type, "free", "busy", 30000)
    time.sleep(0.5)
    server.release(names[1], owner="other")
    answer = c.answer()
    good(answer)
    expect_equal(answer.json["name"], names[1], "the name")
    refused(client_test.NONE, c("acquire", type, "free", "busy", 300))


@trial("libboskos", "acquire by state")
@with_driver
def library_by_state(server, type, c):
    answer = c("bystate", "free", "leased", 0, f"{type}-3", f"{type}-1")
    good(answer)
    expect_equal(sorted(r["name"] for r in answer.json), [f"{type}-1", f"{type}-3"], "the names")
    expect_equal(counts(server, type), ({"free": 1, "leased": 2}, {"": 1, "ann": 2}), "the metric")
    refused(client_test.NONE, c("bystate", "free", "leased", 0, f"{type}-1"))
    good(c("release_all", "dirty"))
    expect_equal(counts(server, type), ({"free": 1, "dirty": 2}, {"": 3}), "the metric")


@trial("libboskos", "acquire with what is leased for it")
@with_driver
def library_leased(server, type, c):
    first = take(server, type, owner="mason")
    server.update(first, {"leasedResources": f"- {type}-2\n- {type}-3\n"}, owner="mason")
    for n in (2, 3):
        expect_equal(server.call("POST", "/acquirebystate", state="free", dest="leased", owner="mason",
                                 names=f"{type}-{n}").status, 200, "the status of acquirebystate")
        server.release(f"{type}-{n}", dest=first, owner="mason")
    server.release(first, dest="made", owner="mason")
    good(c("leased", type, "made", "busy", 0))
    expect_equal(counts(server, type), ({"busy": 3}, {"ann": 3}), "the metric")
    good(c("release_all", "dirty"))
    expect_equal(counts(server, type), ({"dirty": 3}, {"": 3}), "the metric")


@trial("libboskos", "update, metric, reset")
@with_driver
def library_rest(server, type, c):
    good(c("acquire", type, "free", "busy", 0))
    good(c("update", f"{type}-1", "busy", "key", "<value>"))
    refused(client_test.STATE, c("update", f"{type}-1", "free"))
    expect_equal(good(c("metric", type)),
                 f'{{"type":"{type}","current":{{"busy":1,"free":2}},"owner":{{"":2,"ann":1}}}}', "the metric")
    refused(client_test.NO_TYPE, c("metric", "nope"))
    expect_equal(good(c("reset", type, "busy", 3600 * 10**9, "dirty")), "", "a reset after an hour")
    take(server, type)
    time.sleep(1.2)
    expect_equal(sorted(good(c("reset", type, "busy", 10**9, "dirty")).split()),
                 [f"{type}-1=ann", f"{type}-2=other"], "a reset")
    expect_equal(server.acquire(type, "dirty", "busy", "looker").json["userdata"], {"key": "<value>"}, "the userdata")


@trial("libboskos", "heartbeats, and a lease that is taken away")
@with_driver
def library_heartbeat(server, type, c):
    good(c("acquire", type, "free", "busy", 0))
    good(c("acquire", type, "free", "busy", 0))
    good(c("heartbeat", 200))
    for _ in range(5):
        time.sleep(0.8)
        expect_equal(server.call("POST", "/reset", type=type, state="busy", expire="3s", dest="dirty").json, {},
                     "a reset of what is alive")
    server.release(f"{type}-1", dest="free", owner="ann")
    eventually("the loss is told", lambda: c.lost)
    expect(c.lost[0].startswith(f"{type}-1 "), f"another was told: {c.lost}")
    good(c("release", f"{type}-2", "free"))


@trial("libboskos", "what only boskosd has: list and get")
@with_driver
def library_list(server, type, c):
    if server.kind == OURS:
        expect_equal(c("get", f"{type}-1").json["state"], "free", "the state")
        return None
    refused(client_test.UNSUPPORTED, c("get", f"{type}-1"))
    refused(client_test.UNSUPPORTED, c("list", "ann"))
    return "the library says that the server has no such call"


# ---- the Python package ---------------------------------------------------------


@trial("Python package", "lease: acquires, sends heartbeats, releases")
@with_python
def python_lease(server, type, c):
    with c.lease(type, "free", "busy", release="dirty", heartbeat=0.2) as lease:
        expect_equal((lease.name, counts(server, type)[1]), (f"{type}-1", {"": 2, "ann": 1}), "the lease")
        for _ in range(5):
            time.sleep(0.8)
            expect_equal(server.call("POST", "/reset", type=type, state="busy", expire="3s", dest="x").json, {},
                         "a reset of what is alive")
        expect(not lease.lost.is_set(), "it counts as lost")
    expect_equal(counts(server, type), ({"dirty": 1, "free": 2}, {"": 3}), "the metric")


@trial("Python package", "acquire, release, update, reset, metric, and their refusals")
@with_python
def python_calls(server, type, c):
    r = c.acquire(type, "free", "busy")
    take(server, type), take(server, type)
    raises(boskos.NotAvailable, c.acquire, type, "free", "busy")
    raises(boskos.NoType, c.acquire, "nope", "free", "busy")
    raises(boskos.OwnerMismatch, c.release, f"{type}-2", "dirty")
    raises(boskos.NotFound, c.release, "nope", "dirty")
    raises(boskos.StateMismatch, c.update, r.name, "free")
    c.update(r.name, userdata={"key": "<value>"})
    m = c.metric(type)
    expect_equal((m.current, m.owner), ({"busy": 3}, {"ann": 1, "other": 2}), "the metric")
    time.sleep(1.2)
    c.update(r.name)
    expect_equal(c.reset(type, "busy", 1.0, "dirty"), {f"{type}-2": "other", f"{type}-3": "other"}, "a reset")
    c.release(r.name, "free")
    expect_equal(c.acquire(type, "free", "busy").userdata, {"key": "<value>"}, "the userdata")
    c.release_all("free")


@trial("Python package", "acquire that waits, by state, and with what is leased")
@with_python
def python_wait(server, type, c):
    names = [take(server, type) for _ in range(3)]
    timer = threading.Timer(0.5, lambda: server.release(names[0], owner="other"))
    timer.start()
    expect_equal(c.acquire(type, "free", "busy", wait=30).name, names[0], "the name")
    timer.join()
    for n in (1, 2):
        server.release(names[n], dest=names[0], owner="other")
    c.update(names[0], userdata={"leasedResources": f"- {names[1]}\n- {names[2]}\n"})
    c.release(names[0], "made")
    c.acquire_leased(type, "made", "busy")
    expect_equal(counts(server, type), ({"busy": 3}, {"ann": 3}), "the metric")
    c.release_all("dirty")
    expect_equal(sorted(r.name for r in c.acquire_by_state("dirty", "busy", names)), sorted(names), "the names")
    c.release_all("free")
    expect_equal(counts(server, type), ({"free": 3}, {"": 3}), "the metric")


# ---- running them ---------------------------------------------------------------


def config():
    lines = ["resources:"]
    for n in range(len(TRIALS)):
        lines.append(f"- {{type: lib-{n}, state: free, names: [lib-{n}-1, lib-{n}-2, lib-{n}-3]}}")
    return "\n".join(lines) + "\n"


def run(table, servers, _):
    jobs = []
    for kind in servers.kinds():
        server = servers.start(kind, config())
        for n, (library, operation, work) in enumerate(TRIALS):
            jobs.append(lambda library=library, operation=operation, work=work, n=n, server=server: table.attempt(
                library, OURS, server.kind, operation, lambda: work(server, f"lib-{n}")))
    side_by_side(jobs)
