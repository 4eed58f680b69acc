"""boskosctl, the original and ours, against boskosd and the original server: what they print and how they end."""

import functools
import json
import os
import re
import signal
import subprocess
import time

from harness import *  # noqa: F403


class Said:
    """How a run of boskosctl ended and what it printed."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __eq__(self, other):
        return (self.code, self.out, self.err) == (other.code, other.out, other.err)

    def __repr__(self):
        return f"exit code {self.code}\n    stdout {self.out!r}\n    stderr {self.err!r}"


class Ctl:
    """One boskosctl at one server. What differs from run to run is made equal in what it said: times, addresses."""

    def __init__(self, program, path, server):
        self.program, self.path, self.server = program, path, server

    def words(self, *words, owner="ann", url=None):
        return [self.path, words[0], "--server-url", url or self.server.url, "--owner-name", owner, *words[1:]]

    def said(self, code, out, err):
        def plain(text):
            text = re.sub(r'"lastupdate":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"', '"lastupdate":"TIME"', text)
            return text.replace(self.server.url, "URL")

        return Said(code, plain(out), plain(err))

    def __call__(self, *words, **more):
        done = subprocess.run(self.words(*words, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=4 * PATIENCE)
        return self.said(done.returncode, done.stdout, done.stderr)

    def start(self, *words, **more):
        return subprocess.Popen(self.words(*words, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def end(self, process):
        try:
            out, err = process.communicate(timeout=4 * PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return self.said(process.returncode, out, err)


OPERATIONS = []


def operation(name, ours=None, whose=(THEIRS, OURS)):
    """A function `work(ctl, type)` with a type of its own. It returns what was said, as a list, and what to expect.

    `ours`: why ours says something else, where it does; then the function returns a third: what ours says.
    `whose`: the programs that have it.
    """
    def note(work):
        OPERATIONS.append((name, work, ours, whose))
        return work

    return note


def lease(type):
    return "--type", type, "--state", "free", "--target-state", "busy"


def printed(type, name, owner="ann", userdata="{}"):
    return (f'{{"type":"{type}","name":"{name}","state":"busy","owner":"{owner}","lastupdate":"TIME",'
            f'"userdata":{userdata}}}\n')


LONGER = "ours adds the server's own words to its line"
AT_ONCE = LONGER + ", and does not repeat for 14 s what was refused"
SHORTER = "ours prints one line, or two, and no usage; nothing on stdout"
IN_PLACE = "ours says it in other words"
MENDED = "a fault of the original that is mended: "


def failed(text):
    return Said(1, "", text + "\n")


@operation("acquire")
def acquire(ctl, type):
    said = ctl("acquire", *lease(type))
    expect_equal(counts(ctl.server, type), ({"busy": 1, "free": 1}, {"": 1, "ann": 1}), "the metric")
    return [said], [Said(0, printed(type, f"{type}-1"), "")]


@operation("acquire when all are taken", ours=LONGER)
def acquire_none(ctl, type):
    take(ctl.server, type), take(ctl.server, type)
    text = "failed to acquire a resource: resources not found"
    return ([ctl("acquire", *lease(type))], [failed(text)],
            [failed(f"{text}: Acquire failed: no available resource {type}, try again later.")])


@operation("acquire of an unknown type", ours=LONGER)
def acquire_unknown(ctl, _):
    text = "failed to acquire a resource: resources not found"
    return ([ctl("acquire", *lease("nope"))], [failed(text)],
            [failed(f'{text}: Acquire failed: resource type "nope" does not exist')])


@operation("acquire --timeout: one is released meanwhile")
def acquire_waits(ctl, type):
    name, _ = take(ctl.server, type), take(ctl.server, type)
    p = ctl.start("acquire", *lease(type), "--timeout", "1m")
    time.sleep(1)  # it has asked, and will again after about 3 s
    expect_equal(ctl.server.release(name, owner="other").status, 200, "the status of the release")
    return [ctl.end(p)], [Said(0, printed(type, name), "")]


@operation("acquire --timeout: first come, first served")
def acquire_in_order(ctl, type):
    names = [take(ctl.server, type), take(ctl.server, type)]
    first = ctl.start("acquire", *lease(type), "--timeout", "1m", owner="first")
    time.sleep(2)
    second = ctl.start("acquire", *lease(type), "--timeout", "1m", owner="second")
    time.sleep(1)
    ctl.server.release(names[0], owner="other")
    said = [ctl.end(first)]
    expect(second.poll() is None, "the second got what the first waited for")
    ctl.server.release(names[1], owner="other")
    return said + [ctl.end(second)], [Said(0, printed(type, names[0], "first"), ""),
                                      Said(0, printed(type, names[1], "second"), "")]


@operation("acquire --timeout: none is released", ours=LONGER)
def acquire_waits_in_vain(ctl, type):
    take(ctl.server, type), take(ctl.server, type)
    began = time.monotonic()
    said = ctl("acquire", *lease(type), "--timeout", "2s")
    took = time.monotonic() - began
    expect(2 <= took < 20, f"it took {took:.1f} s")
    text = "failed to acquire a resource: resources not found"
    return [said], [failed(text)], [failed(f"{text}: Acquire failed: no available resource {type}, try again later.")]


@operation("release")
def release(ctl, type):
    name = take(ctl.server, type, owner="ann")
    said = ctl("release", "--name", name, "--target-state", "dirty")
    expect_equal(counts(ctl.server, type), ({"dirty": 1, "free": 1}, {"": 2}), "the metric")
    return [said], [Said(0, f'released resource "{name}"\n', "")]


@operation("release of another's lease", ours=AT_ONCE)
def release_refused(ctl, type):
    name = take(ctl.server, type)
    said = ctl("release", "--name", name, "--target-state", "dirty")
    expect_equal(counts(ctl.server, type)[1], {"": 1, "other": 1}, "the owners")
    text = f'failed to release resource "{name}": status 401 Unauthorized, statusCode 401 releasing {name}'
    return [said], [failed(text)], [failed(f"{text}: Done failed: {name} - dirty (from ann): owner mismatch request "
                                           "by ann, currently owned by other")]


@operation("release of an unknown name", ours=AT_ONCE)
def release_unknown(ctl, _):
    text = 'failed to release resource "nope": status 404 Not Found, statusCode 404 releasing nope'
    return ([ctl("release", "--name", "nope", "--target-state", "dirty")], [failed(text)],
            [failed(f"{text}: Done failed: nope - dirty (from ann): no available resource nope, try again later.")])


@operation("metrics")
def metrics(ctl, type):
    take(ctl.server, type)
    return ([ctl("metrics", "--type", type)],
            [Said(0, f'{{"type":"{type}","current":{{"busy":1,"free":1}},"owner":{{"":1,"other":1}}}}\n', "")])


@operation("metrics of an unknown type", ours=AT_ONCE)
def metrics_unknown(ctl, _):
    text = 'failed to get metrics for resource "nope": status 404 Not Found, status code 404'
    return ([ctl("metrics", "--type", "nope")], [failed(text)],
            [failed(f"{text}: no available resource nope, try again later.")])


# ---- heartbeat ------------------------------------------------------------------


def held(ctl, type):
    """What acquire printed of a lease of ann's."""
    done = subprocess.run(ctl.words("acquire", *lease(type)), stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    return json.loads(done.stdout)["name"], done.stdout


def beating(ctl, name, resource, *flags):
    """Starts heartbeats, and waits for the first, whose line is taken."""
    p = ctl.start("heartbeat", "--resource", resource, *flags)
    line = p.stdout.readline()
    if line != sent(name, 1):
        raise Failed(f"no heartbeat: {line!r}, then {ctl.end(p)}")
    return p


def sent(name, times):
    return f'heartbeat sent for resource "{name}"\n' * times


@operation("heartbeat keeps a lease from being reset")
def heartbeat(ctl, type):
    name, resource = held(ctl, type)
    p = ctl.start("heartbeat", "--resource", resource, "--period", "200ms")
    try:
        for _ in range(5):
            time.sleep(0.8)
            reset = ctl.server.call("POST", "/reset", type=type, state="busy", expire="3s", dest="dirty")
            expect_equal((reset.status, reset.json), (200, {}), "a reset of what is alive")
    finally:
        p.kill()
    said = ctl.end(p)
    expect(len(said.out.splitlines()) >= 10, f"few heartbeats in 4 s: {said}")
    expect_equal((said.out.replace(sent(name, 1), ""), said.err), ("", ""), "what else it said")
    eventually("without heartbeats it is reset", lambda: ctl.server.call(
        "POST", "/reset", type=type, state="busy", expire="3s", dest="dirty").json == {name: "ann"})
    return [said.code], [-signal.SIGKILL]


@operation("heartbeat to its --timeout", ours=MENDED + "a heartbeat that ends at its timeout is exit code 1")
def heartbeat_timeout(ctl, type):
    name, resource = held(ctl, type)
    said = ctl("heartbeat", "--resource", resource, "--period", "700ms", "--timeout", "1s")
    out = sent(name, 1) + f'reached timeout, stopping heartbeats for resource "{name}"\n'
    return [said], [Said(0, out, "")], [
        Said(1, out, f'the timeout of 1s is over: nothing keeps the lease of "{name}" alive now\n')]


@operation("heartbeat until Ctrl-C", ours=MENDED + "one Ctrl-C is enough (the original may lose the first)")
def heartbeat_interrupted(ctl, type):
    name, resource = held(ctl, type)
    p = beating(ctl, name, resource, "--period", "300ms")
    for _ in range(1 if ctl.program == OURS else 20):
        p.send_signal(signal.SIGINT)
        time.sleep(0.3)
        if p.poll() is not None:
            break
    said = ctl.end(p)
    said.out = said.out.replace(sent(name, 1), "")
    wanted = [Said(0, f'received interrupt, stopping heartbeats for resource "{name}"\n', "")]
    return [said], wanted, wanted


@operation("heartbeat of a lease that was taken away", ours=AT_ONCE)
def heartbeat_lost(ctl, type):
    name, resource = held(ctl, type)
    p = beating(ctl, name, resource, "--period", "200ms", "--retries", "0")
    reset = ctl.server.call("POST", "/reset", type=type, state="busy", expire="-1s", dest="dirty")
    expect_equal(reset.json, {name: "ann"}, "the reset")
    said = ctl.end(p)
    said.out = said.out.replace(sent(name, 1), "")
    text = (f'failed to send heartbeat for resource "{name}": status 401 Unauthorized, status code 401 updating '
            f"{name}")
    return [said], [failed(text)], [failed(f"{text}: Update failed: {name} - busy (ann): owner mismatch request by "
                                           "ann, currently owned by ")]


@operation("heartbeat: --retries counts failures in a row", ours=AT_ONCE)
def heartbeat_retries(ctl, type):
    """Twice refused, where two are allowed: it ends at the third."""
    name = take(ctl.server, type)
    resource = json.dumps({"name": name, "state": "busy"})
    said = ctl("heartbeat", "--resource", resource, "--period", "100ms", "--retries", "1")
    text = (f'failed to send heartbeat for resource "{name}": status 401 Unauthorized, status code 401 updating '
            f"{name}")
    longer = f"{text}: Update failed: {name} - busy (ann): owner mismatch request by ann, currently owned by other"
    return [said], [failed(f"{text}\n{text}")], [failed(f"{longer}\n{longer}")]


@operation("heartbeat and the userdata of its JSON",
           ours="ours sends none: what was stored since the acquire stays (the original writes the old values again)")
def heartbeat_userdata(ctl, type):
    name, resource = held(ctl, type)
    old = json.dumps({**json.loads(resource), "userdata": {"k": "old"}})
    expect_equal(ctl.server.update(name, {"k": "new"}).status, 200, "the status of the update")
    p = beating(ctl, name, old, "--period", "200ms")
    p.kill()
    ctl.end(p)
    ctl.server.release(name, dest="looked-at")
    kept = take_whole(ctl.server, type, "looked-at")["userdata"]
    return [kept], [{"k": "old"}], [{"k": "new"}]


def take_whole(server, type, state):
    return server.acquire(type=type, state=state, dest="busy", owner="looker").json


@operation("heartbeat of what is no JSON", ours=IN_PLACE)
def heartbeat_garbage(ctl, _):
    return ([ctl("heartbeat", "--resource", "{")],
            [failed("failed to parse resource: unexpected end of JSON input")],
            [failed("failed to parse resource: it is no JSON object with name and state")])


# ---- flags ----------------------------------------------------------------------


def first_lines(said):
    """The original's error line, without the usage behind it; then its repetition on stdout."""
    return Said(said.code, said.out, said.err.split("\n")[0] + "\n")


@operation("a required flag is missing", ours=SHORTER)
def flag_missing(ctl, type):
    said = first_lines(ctl("acquire", "--type", type))
    text = 'required flag(s) "state", "target-state" not set\n'
    return [said], [Said(1, text, "Error: " + text)], [Said(1, "", "Error: " + text)]


@operation("a flag that does not exist", ours=SHORTER)
def flag_unknown(ctl, type):
    said = first_lines(ctl("metrics", "--type", type, "--bogus"))
    text = "unknown flag: --bogus\n"
    return [said], [Said(1, text, "Error: " + text)], [
        failed("boskosctl: --bogus: there is no such flag; see boskosctl --help")]


@operation("a duration that is none", ours=SHORTER)
def flag_bad(ctl, type):
    said = first_lines(ctl("acquire", *lease(type), "--timeout", "soon"))
    text = 'invalid argument "soon" for "--timeout" flag: time: invalid duration "soon"\n'
    return [said], [Said(1, text, "Error: " + text)], [
        failed('boskosctl: --timeout: time: invalid duration "soon"')]


@operation("a command that does not exist", ours=SHORTER)
def command_unknown(ctl, _):
    text = 'unknown command "bogus" for "boskosctl"\n'
    return [first_lines(ctl("bogus"))], [Said(1, text, "Error: " + text)], [failed("boskosctl: " + text[:-1])]


@operation("no command, no flags", ours="ours prints its help and is exit code 0; the original's flags are missing")
def no_command(ctl, _):
    done = subprocess.run([ctl.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    return [done.returncode], [1], [0]


@operation("--username without --password-file", ours=MENDED + "a client that cannot be made is exit code 1")
def half_credentials(ctl, type):
    text = "failed to initialize the Boskos client: username and passwordFile must be specified together\n"
    return ([ctl("acquire", *lease(type), "--username", "ann")], [Said(0, "", text)],
            [Said(1, "", "boskosctl: " + text)])


@operation("basic authentication", ours=MENDED + "stdout is the JSON alone, without a warning before it")
def credentials(ctl, type):
    path = os.path.join(ctl.server.folder, f"password-{ctl.program}")
    boskosd.put_file(path, "secret\n")
    said = ctl("acquire", *lease(type), "--username", "ann", "--password-file", path)
    warning = "[WARNING] should NOT use password without enabling TLS: 'URL'\n"
    return ([said], [Said(0, warning + printed(type, f"{type}-1"), "")],
            [Said(0, printed(type, f"{type}-1"), "")])


# ---- what ours alone has --------------------------------------------------------

only_ours = functools.partial(operation, whose=(OURS,))


@only_ours("update, with notes")
def update(ctl, type):
    name = take(ctl.server, type, owner="ann")
    said = [ctl("update", "--name", name, "--state", "busy", "--userdata", "a=b", "--userdata", "c=<d>"),
            ctl("update", "--name", name, "--state", "busy", "--userdata", "a=")]
    ctl.server.release(name, dest="looked-at")
    expect_equal(take_whole(ctl.server, type, "looked-at")["userdata"], {"c": "<d>"}, "the userdata")
    return said, [Said(0, f'updated resource "{name}"\n', "")] * 2


@only_ours("update of another's lease")
def update_refused(ctl, type):
    name = take(ctl.server, type)
    return ([ctl("update", "--name", name, "--state", "busy")],
            [failed(f'failed to update resource "{name}": status 401 Unauthorized, status code 401 updating {name}: '
                    f"Update failed: {name} - busy (ann): owner mismatch request by ann, currently owned by other")])


@only_ours("reset")
def reset(ctl, type):
    names = [take(ctl.server, type), take(ctl.server, type)]
    said = [ctl("reset", "--type", type, "--state", "busy", f"--expire={age}", "--target-state", "dirty")
            for age in ("1h", "-1s", "-1s")]
    expect_equal(counts(ctl.server, type), ({"dirty": 2}, {"": 2}), "the metric")
    found = [Said(s.code, json.loads(s.out), s.err) for s in said]
    return found, [Said(0, {}, ""), Said(0, {n: "other" for n in names}, ""), Said(0, {}, "")]


@only_ours("wait: until there is one, and in vain")
def wait_for_type(ctl, type):
    name = take(ctl.server, type)
    p = ctl.start("wait", "--type", type, "--state", "ready", "--timeout", "1m")
    time.sleep(0.5)
    expect(p.poll() is None, "it did not wait")
    expect_equal(ctl.server.release(name, dest="ready", owner="other").status, 200, "the status of the release")
    return ([ctl.end(p), ctl("wait", "--type", type, "--state", "ready", "--count", "2", "--timeout", "1s")],
            [Said(0, "", ""), failed("failed to wait: the timeout is over, and it is not so yet")])


@only_ours("run: the lease in the environment, the exit code, and the release")
def run_command(ctl, type):
    said = ctl("run", *lease(type), "--release-state", "clean", "--", "sh", "-c", 'echo "$BOSKOS_RESOURCE_NAME"; exit 7')
    expect_equal(counts(ctl.server, type), ({"clean": 1, "free": 1}, {"": 2}), "the metric")
    return [said], [Said(7, f"{type}-1\n", "")]


@only_ours("run: heartbeats meanwhile; SIGTERM ends it and gives back")
def run_beats(ctl, type):
    p = ctl.start("run", *lease(type), "--period", "200ms", "--", "sleep", "60")
    eventually("it has one", lambda: counts(ctl.server, type)[0].get("busy") == 1)
    for _ in range(5):
        time.sleep(0.8)
        reset = ctl.server.call("POST", "/reset", type=type, state="busy", expire="3s", dest="lost")
        expect_equal((reset.status, reset.json), (200, {}), "a reset of what is alive")
    p.send_signal(signal.SIGTERM)
    said = ctl.end(p)
    expect_equal(counts(ctl.server, type), ({"dirty": 1, "free": 1}, {"": 2}), "the metric")
    return [said], [Said(128 + signal.SIGTERM, "", "")]


@only_ours("run: a lease that is taken away ends it, and what is another's stays")
def run_loses(ctl, type):
    p = ctl.start("run", *lease(type), "--period", "200ms", "--", "sleep", "60")
    eventually("it has one", lambda: counts(ctl.server, type)[0].get("busy") == 1)
    lost = ctl.server.call("POST", "/reset", type=type, state="busy", expire="-1s", dest="dirty").json
    take(ctl.server, type, state="dirty")
    said = ctl.end(p)
    expect_equal(counts(ctl.server, type)[1], {"": 1, "other": 1}, "the owners")
    return [said], [Said(125, "", f"boskosctl: the lease of {list(lost)[0]} is lost: it has another owner\n")]


@only_ours("list, get, wait --name, release --with-leased, config --server-url: boskosd's alone")
def only_boskosd(ctl, type):
    """At the original server each is one line that says so, exit code 1, and nothing is done."""
    name = take(ctl.server, type, owner="ann")
    path = os.path.join(ctl.server.folder, f"{type}.yaml")
    boskosd.put_file(path, config())
    good = f"{path}: good: {len(OPERATIONS)} static entries with {2 * len(OPERATIONS)} names, 0 dynamic\n"
    said = [ctl("list", "--type", type, "-o", "name"), ctl("get", name, "-o", "name"),
            ctl("wait", "--name", name, "--state", "busy", "--timeout", "10s"),
            ctl("config", path),
            ctl("release", "--name", name, "--target-state", "dirty", "--with-leased")]
    if ctl.server.kind == OURS:
        expect_equal(counts(ctl.server, type)[0], {"dirty": 1, "free": 1}, "the metric")
        good += "adds 0, deletes 0, delays 0\n"
        return said, [Said(0, f"{type}-1\n{type}-2\n", ""), Said(0, f"{name}\n", ""), Said(0, "", ""),
                      Said(0, good, ""), Said(0, f'released resource "{name}"\n', "")]
    expect_equal(counts(ctl.server, type)[0], {"busy": 1, "free": 1}, "the metric")
    one = f"URL is not boskosd: it has no /v1/resources/{name}"
    return said, [failed("failed to list resources: URL is not boskosd: it has no /v1/resources"),
                  failed(f'failed to get resource "{name}": {one}'), failed(f"failed to wait: {one}"),
                  Said(1, good, "boskosctl: cannot list the resources of URL: URL is not boskosd: it has no "
                       "/v1/resources\n"),
                  failed(f'failed to look up what belongs to resource "{name}": {one}')]


# ---- running them ---------------------------------------------------------------


def type_of(number):
    return f"type-{number}"


def config():
    lines = ["resources:"]
    for number in range(len(OPERATIONS)):
        t = type_of(number)
        lines.append(f"- {{type: {t}, state: free, names: [{t}-1, {t}-2]}}")
    return "\n".join(lines) + "\n"


def attempt(ctl, number):
    _, work, ours, _ = OPERATIONS[number]
    found, *wanted = work(ctl, type_of(number))
    differs = ours is not None and ctl.program == OURS
    expect_equal(found, wanted[1] if differs else wanted[0], "what it said")
    return ours if differs else ""


def run(table, servers, programs):
    """Every operation with both programs at each server there is, each pair with a server of its own."""
    jobs = []
    for kind in servers.kinds():
        for program, path in ((THEIRS, programs["boskosctl"]), (OURS, os.environ["BOSKOSCTL"])):
            ctl = Ctl(program, path, servers.start(kind, config()))
            for number, (name, _, _, whose) in enumerate(OPERATIONS):
                if program not in whose:
                    continue
                jobs.append(lambda ctl=ctl, number=number, name=name: table.attempt(
                    "boskosctl", ctl.program, ctl.server.kind, name, lambda: attempt(ctl, number)))
    side_by_side(jobs)
