#!/usr/bin/env python3
"""demo.py [--bin FOLDER] [--keep]: the life of a cluster, played by the real programs in a folder of its own.

Three accounts are cleaned by boskos-janitor, boskos-mason makes a cluster of two of them, a job takes it and is killed,
boskos-reaper takes all of it back, it is cleaned and made again, its time is over, and boskos-cleaner ends it. Then the journal
of boskosd is read back, and must tell the same story. Each step says what is done and what is seen, and is checked.

FOLDER is where the programs are (build/release/bin). --keep leaves the folder with the journal and the logs, and says where
it is. Exit code 1, with the end of each log, when something is not as it should be. Standard library only.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time

from stage import HERE, S_NS, Failure, Stage, boskosd, changes_of, moment_ns, short_name

ACCOUNTS = ["account-1", "account-2", "account-3"]
JOB = "job-4711"
EXPIRE_S = 5  # the reaper's patience; whoever lives is heard of five times in it
LIFESPAN_S = 5  # of the second cluster


class Demo:
    def __init__(self, stage):
        self.stage = stage
        self.cluster = ""  # its name
        self.parts = []  # the accounts of the first cluster
        self.later_parts = []  # and of the second
        self.server = ""  # the flag that tells programs of it
        self.page = ""  # the exporter's
        self.job_pid = 0
        self.taken_at = 0.0

    def prepare(self):
        """The files that the programs use, and accounts in which somebody has left something."""
        s = self.stage
        for name in ("boskos.yaml", "wipe.sh", "build.sh", "job.sh"):
            shutil.copy(os.path.join(HERE, name), s.folder)
        for account in ACCOUNTS:
            os.makedirs(os.path.join(s.folder, "cloud", account))
            boskosd.put_file(os.path.join(s.folder, "cloud", account, "rubbish"), "of who had it before\n")

    def litter(self):
        """What is in the accounts."""
        cloud = os.path.join(self.stage.folder, "cloud")
        return sorted(f"{a}/{f}" for a in ACCOUNTS for f in os.listdir(os.path.join(cloud, a)))

    def start_listening(self, ports, is_ready, *words):
        """Starts what has ports: others, when another program took one of them in between."""
        s = self.stage
        for _ in range(5):
            given = boskosd.free_ports(len(ports))
            r = s.start(*words, *[f"{flag}={port}" for flag, port in zip(ports, given)])
            while r.is_running():
                if "is ready" in r.log() and is_ready(*given):
                    return given
                time.sleep(min(0.02, s.left_s()))
            if "Address already in use" not in r.log():
                break
        raise Failure(f"{words[0]} does not start")

    def play(self):
        for step in (self.begin, self.clean, self.build, self.watch, self.take, self.reload, self.kill, self.build_again,
                     self.outlive, self.bury, self.stop, self.read_back):
            step()

    # ---- the steps ----

    def begin(self):
        s = self.stage
        with s.step("A server with three dirty accounts, and a cluster that is to be made"):
            s.show("boskos-checkconfig", "boskos.yaml")

            def answers(port):
                s.url = f"http://127.0.0.1:{port}"
                return s.get(f"{s.url}/v1/status")

            self.start_listening(["--port"], answers, "boskosd", "--config=boskos.yaml", "--data-dir=data",
                                 "--address=127.0.0.1", "--health-port=0", "--metrics-port=0")
            self.server = f"--boskos-url={s.url}"
            seen = s.look()
            clusters = [n for n, r in seen.items() if r["type"] == "cluster"]
            self.cluster = clusters[0] if clusters else ""
            s.check(len(clusters) == 1 and sorted(seen) == sorted([*ACCOUNTS, self.cluster]) and
                    all((r["state"], r["owner"]) == ("dirty", "") for r in seen.values()),
                    "all four are dirty and nobody's: the server has made the cluster, by name at least")

    def clean(self):
        s = self.stage
        with s.step("The janitor wipes the accounts"):
            s.start("boskos-janitor", self.server, "--resource-type=account", "--janitor-path=./wipe.sh",
                    "--poll-period=500ms", "--update-frequency=1s", "--metrics-port=0")
            s.until("the accounts are free", lambda: s.are("free", *ACCOUNTS))
            s.look()
            s.check(self.litter() == [], "what was left in the accounts is gone, and they are free")

    def build(self):
        s = self.stage
        with s.step("The mason makes the cluster of two accounts"):
            s.start("boskos-mason", self.server, "--config=boskos.yaml", "--builder=TwoAccounts=./build.sh",
                    "--period=500ms", "--heartbeat-period=1s", "--metrics-port=0")
            s.until("the cluster is free", lambda: s.are("free", self.cluster))
            s.look()
            words = ["boskosctl", "get", self.cluster, f"--server-url={s.url}"]
            userdata = json.loads(s.output(*words))["userdata"]
            s.say_command([*words, "|", "jq", "-c", ".userdata"])
            s.say("  " + json.dumps(userdata, separators=(",", ":")))
            self.parts = userdata.get("accounts", "").split()
            self.check_parts(self.parts, "the cluster is free, and its accounts are in the state that is its name")

    def check_parts(self, parts, text):
        s = self.stage
        s.check(len(parts) == 2 and set(parts) < set(ACCOUNTS) and s.are(self.cluster, *parts) and
                self.litter() == [f"{a}/part-of-{self.cluster}" for a in sorted(parts)], text)

    def watch(self):
        s = self.stage
        with s.step("A reaper and an exporter begin to watch"):
            s.start("boskos-reaper", self.server, "--resource-type=account,cluster", f"--expire={EXPIRE_S}s",
                    "--period=500ms")
            _, page = self.start_listening(["--port", "--metrics-port"], lambda _, page: s.get(
                f"http://127.0.0.1:{page}/metrics"), "boskos-metrics", self.server, "--resource-type=account,cluster",
                "--period=500ms")
            self.page = f"http://127.0.0.1:{page}/metrics"
            self.check_counted({"account": {"free": 1, "other": 2}, "cluster": {"free": 1}})

    def check_counted(self, wanted):
        """Are these the counts of the exporter, which looks now and then?"""
        s = self.stage

        def counted():
            found = {t: {} for t in wanted}
            for state, of, count in re.findall(r'^boskos_resources\{state="(.*)",type="(.*)"\} (\d+)$', s.get(self.page),
                                               re.M):
                if int(count) > 0:
                    found.setdefault(of, {})[state] = int(count)
            return found == wanted

        s.until(f"the exporter counts {wanted}", counted)
        s.say_command(["curl", "-s", self.page, "|", "grep", "-E", "^boskos_resources.* [1-9]"])
        for line in re.findall(r"^boskos_resources.* [1-9]\d*$", s.get(self.page), re.M):
            s.say("  " + line)
        s.check(True, "the exporter counts the same")

    def take(self):
        s = self.stage
        with s.step("A job takes the cluster, with all that it is made of"):
            r = s.start("boskosctl", "run", f"--server-url={s.url}", f"--owner-name={JOB}", "--type=cluster",
                        "--state=free", "--target-state=busy", "--with-leased", "--timeout=30s", "--period=1s", "--",
                        "./job.sh", says="job")
            s.until("the job says what it has", lambda: "works on" in r.log())
            self.taken_at = time.monotonic()
            for line in r.log().splitlines():
                s.say("  " + line)
            self.job_pid = int(re.search(r"as process (\d+)", r.log()).group(1))
            self.check_job_has_all(s.look())
            s.check(len(self.litter()) == 4, f"{JOB} works in both accounts")
            self.check_counted({"account": {"free": 1, "busy": 2}, "cluster": {"busy": 1}})

    def check_job_has_all(self, seen):
        self.stage.check(all((seen[n]["state"], seen[n]["owner"]) == ("busy", JOB) for n in [self.cluster, *self.parts]),
                         f"{JOB} has the cluster and both accounts")

    def reload(self):
        s = self.stage
        with s.step("The config changes: clusters are to live shorter, and no more are to be made"):
            path = os.path.join(s.folder, "boskos.yaml")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            edit = ["s/min-count: 1/min-count: 0/", f"s/lifespan: 1h/lifespan: {LIFESPAN_S}s/"]
            for e in edit:
                _, old, new, _ = e.split("/")
                text = text.replace(old, new)
            boskosd.put_file(os.path.join(s.folder, "new.yaml"), text)
            s.say_command(["sed", "-e", edit[0], "-e", edit[1], "boskos.yaml", ">", "new.yaml"])
            s.show("boskos-checkconfig", f"--against={s.url}", "new.yaml")
            s.say_command(["mv", "new.yaml", "boskos.yaml"])
            os.rename(os.path.join(s.folder, "new.yaml"), path)
            s.until("the new config is in force", lambda: [c["kind"] for c in s.commands()].count("config") == 2)
            s.until(f"the job has worked for more than {EXPIRE_S} s", lambda: time.monotonic() > self.taken_at +
                    EXPIRE_S + 1)
            self.check_job_has_all(s.look())
            self.check_left_alone()

    def check_left_alone(self):
        s = self.stage
        rounds = [c for c in s.commands() if c["kind"] == "reset" and
                  (c["params"]["type"], c["params"]["state"]) == ("cluster", "busy")]
        s.check(len(rounds) >= EXPIRE_S and not any(c["effects"] for c in rounds),
                f"the reaper has looked {len(rounds)} times, and left alone what it hears of every second")

    def kill(self):
        s = self.stage
        with s.step("The job is killed, and the reaper takes back what it had"):
            job = s.running.pop("job")
            s.say_command(["kill", "-9", str(job.pid)])
            job.signal(signal.SIGKILL)
            s.check(job.wait(s.left_s()) == -signal.SIGKILL, "the job is dead")
            s.until(f"{JOB} has nothing", lambda: not s.resources(owner=JOB))
            s.until("what the job ran is ended", lambda: not is_alive(self.job_pid))
            s.look()
            taken = [c for c in changes_of(s.commands()) if c.kind == "reset"]
            s.check(sorted(c.name for c in taken) == sorted([self.cluster, *self.parts]) and
                    all((c.state, c.owner) == ("dirty", "") for c in taken),
                    "all three are dirty and nobody's, by resets of the reaper")

    def build_again(self):
        s = self.stage
        with s.step("Janitor and mason make a new cluster, out of clean accounts"):
            s.until("the cluster is free again", lambda: [c[3:6] for c in changes_of(s.commands()) if c.name ==
                    self.cluster].count((self.cluster, "free", "")) == 2)
            s.look()
            last = [c["params"]["userdata"] for c in s.commands() if c["kind"] == "update" and
                    c["params"]["name"] == self.cluster and "accounts" in c["params"].get("userdata", {})]
            self.later_parts = last[-1]["accounts"].split()
            self.check_parts(self.later_parts, "the cluster is free; nothing of the job is left in its accounts")

    def outlive(self):
        s = self.stage
        with s.step(f"Its {LIFESPAN_S} s are over"):
            s.until("the cluster is to be deleted", lambda: s.are("toBeDeleted", self.cluster))
            s.look()
            s.check(s.are(self.cluster, *self.later_parts), "the cluster is to be deleted; its accounts wait for it")

    def bury(self):
        s = self.stage
        with s.step("The cleaner takes it apart, and the server deletes it"):
            s.start("boskos-cleaner", self.server, "--config=boskos.yaml", "--period=500ms")
            s.until("the cluster is gone", lambda: self.cluster not in s.resources())
            s.until("the accounts are free", lambda: s.are("free", *ACCOUNTS))
            seen = s.look()
            s.check(sorted(seen) == ACCOUNTS, "the cluster is gone, and no other was made in its place")
            s.check(self.litter() == [], "all accounts are free, and there is nothing in them")
            self.check_counted({"account": {"free": 3}})

    def stop(self):
        s = self.stage
        with s.step("All programs are asked to end, the server last"):
            s.say_command(["kill", *[str(r.pid) for r in reversed(s.running.values())]])
            codes = s.end(s.left_s())
            s.say("  exit codes: " + ", ".join(f"{name} {code}" for name, code in codes.items()))
            s.check(not any(codes.values()), "all of them end well")

    # ---- the journal ----

    def read_back(self):
        s = self.stage
        with s.step("What remains is the journal. The life of the cluster in it"):
            s.show("boskos-replay", "--data-dir=data", "log", f"--resource={self.cluster}", only=shortened)
            commands = s.commands()
            self.check_story(commands)
            self.check_leases(commands)
        with s.step("Who had it, and how was all of it used?"):
            reset = next(c for c in changes_of(commands) if c.kind == "reset" and c.name == self.cluster)
            s.show("boskos-replay", "--data-dir=data", "who", self.cluster, "--at", reset.seq - 1)
            who = json.loads(s.replay("--json", "who", self.cluster, "--at", reset.seq - 1))
            lease = who["lease"]
            s.check(who["owner"] == JOB and lease["since"]["kind"] == "acquire" and lease["heartbeats"] >= EXPIRE_S - 1 and
                    lease["end"]["seq"] == reset.seq, f"{JOB} had it, with heartbeats, until the reset took it back")
            silent_ns = moment_ns(lease["end"]["time"]) - moment_ns(lease["end"]["lastupdate"])
            s.check(silent_ns >= EXPIRE_S * S_NS,
                    f"nothing was heard of it for {silent_ns / S_NS:.2f} s by then, and {EXPIRE_S} s were given")
            s.show("boskos-replay", "--data-dir=data", "usage", "--by=owner")
            self.check_usage()
        with s.step("Is the journal sound?"):
            s.show("boskos-replay", "--data-dir=data", "verify")
            done = json.loads(s.replay("--json", "verify"))
            s.check(done["from"] == 1 and done["results"] == commands[-1]["seq"] and done["witness"] == "good",
                    "replayed from the first command on, every result comes out as it is stored")
            for first, last, found in s.looks:
                shown = [json.loads(s.replay("--json", "show", "--at", n))["resources"] for n in range(first, last + 1)]
                if list(found.values()) not in shown:
                    raise Failure(f"not so: between {first} and {last} the journal has what boskosctl listed: {found}")
            s.check(True, f"each of the {len(s.looks)} tables above is what the journal has of that moment")
            text = s.show("boskos-replay", "--data-dir=data", "bisect", "--good=0", f"--bad={commands[-1]['seq']}",
                          "--invariant=no-double-lease", codes=(1,))
            s.check("is good" in text, "it does not come to a lease that was given twice: there is no bad end to begin from")

    def check_story(self, commands):
        """Every change of state and owner of every resource, in order, and no others."""
        s = self.stage
        changes = changes_of(commands)
        cleaned = [("acquire", "cleaning", "Janitor"), ("release", "free", "")]
        leased = [("acquire", "leased", "mason"), ("release", self.cluster, "")]
        made = [("acquire", "cleaning", "mason"), ("release", "free", "")]
        story = {self.cluster: [("config", "dirty", ""), *made, ("acquire", "busy", JOB), ("reset", "dirty", ""), *made,
                                ("expire", "toBeDeleted", ""), ("acquire", "cleaning", "cleaner"), ("release", None, None)]}
        for account in ACCOUNTS:
            story[account] = [("config", "dirty", ""), *cleaned]
            if account in self.parts:
                story[account] += [*leased, ("acquirebystate", "busy", JOB), ("reset", "dirty", ""), *cleaned]
            if account in self.later_parts:
                story[account] += [*leased, ("acquirebystate", "cleaning", "cleaner"), ("release", "dirty", ""), *cleaned]
        for name, wanted in story.items():
            told = [(c.kind, c.state, c.owner) for c in changes if c.name == name]
            if told != wanted:
                raise Failure(f"the story of {name} was to be\n  {wanted}\nand is\n  {told}")
        last = commands[[c.seq for c in changes if c.name == self.cluster][-1] - commands[0]["seq"]]
        s.check({c.name for c in changes} == set(story) and last["params"]["dest"] == "tombstone",
                f"{len(changes)} changes of four resources, each as it was to be, and the last of the cluster a tombstone")
        free, marked = [c for c in changes if c.name == self.cluster][6:8]
        lived_ns = moment_ns(marked.time) - moment_ns(free.time)
        s.check(lived_ns >= LIFESPAN_S * S_NS,
                f"the second cluster was there for {lived_ns / S_NS:.2f} s, {LIFESPAN_S} s were given")

    def check_leases(self, commands):
        """Whoever gets a resource gets it from nobody, and who has it is the one that gives it back, or is reset."""
        s = self.stage
        holder, leases = {}, 0
        for c in changes_of(commands):
            before = holder.get(c.name, "")
            if c.owner and before:
                raise Failure(f"command {c.seq} gives {c.name} to {c.owner}, and {before} has it")
            if c.kind == "release" and c.who != before:
                raise Failure(f"command {c.seq} of {c.who} gives back {c.name}, which {before} has")
            leases += bool(c.owner)
            holder[c.name] = c.owner or ""
        s.check(not any(holder.values()), f"{leases} leases, none of them doubled, and none of them left")

    def check_usage(self):
        s = self.stage
        lines = [json.loads(line) for line in s.replay("--json", "usage", "--by=owner").splitlines()]
        found = {u["owner"]: (u["begun"], u["ended"], u["at-end"]) for u in lines if "owner" in u}
        # The janitor cleans each account, and each again for each cluster that it was a part of.
        wanted = {"Janitor": 7, "mason": 6, JOB: 3, "cleaner": 3}
        s.check(found == {owner: (n, n, 0) for owner, n in wanted.items()},
                "; ".join(f"{owner} has had {n}" for owner, n in wanted.items()))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def shortened(text):
    """The lines of a log without what is long and says little, and updates that store nothing as one line."""
    beats = 0
    for line in [*text.splitlines(), ""]:
        if re.search(r" update  (?!.*userdata=)", line):
            beats += 1
            continue
        if beats > 0:
            yield f"     ... heartbeats: {beats}"
        beats = 0
        if line:
            line = re.sub(r" (?:Idempotency-Key|request_id)=\S+|T(?=\d\d:)|(?<=\.\d{3})\d*Z", "", line)
            yield short_name(re.sub(r"\d{4}-\d\d-\d\d(\d\d:\d\d:\d\d\.\d{3}) *", r"\1  ", line))


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--bin", default=os.path.join(HERE, "..", "..", "build", "release", "bin"))
    options.add_argument("--keep", action="store_true")
    given = options.parse_args()

    def leave(number, _):
        raise KeyboardInterrupt(f" by {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    sys.stdout.reconfigure(errors="replace")
    stage = Stage(given.bin, given.keep)
    code = 1
    try:
        demo = Demo(stage)
        stage.explain(f"The life of a cluster, in {stage.folder}. Whoever has the programs on the PATH can type there what is "
                      "shown behind a $. In the tables + is new, > is changed, - is gone, and the lines below them say what "
                      "came in between.")
        demo.prepare()
        demo.play()
        stage.say(f"\nAll {stage.checks} checks hold; it took {time.monotonic() - stage.begun:.1f} s.", "bold")
        code = 0
    except BrokenPipeError:  # nobody reads this any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        stage.say(f"\ninterrupted{interrupt}")
        code = 130
    except Exception as failure:
        stage.print_logs()
        stage.say(f"\nFAILED in step {stage.steps}: {failure}", "red")
        if not isinstance(failure, Failure):
            raise
    finally:
        stage.close()
    sys.exit(code)


if __name__ == "__main__":
    main()
