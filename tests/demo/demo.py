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

from stage import HERE, Failure, Stage, boskosd, changes_of

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
        self.server = []  # what programs are told of it
        self.page = ""  # the exporter's
        self.job_pid = 0
        self.killed_at = 0.0

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
                if is_ready(*given):
                    return given
                time.sleep(min(0.02, s.left_s()))
            if "Address already in use" not in r.log():
                break
        raise Failure(f"{words[0]} does not start")

    # ---- the steps ----

    def begin(self):
        s = self.stage
        with s.step("A server with three dirty accounts, and a cluster that is to be made"):
            s.show("boskos-checkconfig", "boskos.yaml")

            def answers(port):
                s.url = f"http://127.0.0.1:{port}"
                return s.get(f"{s.url}/v1/status")

            self.start_listening(["--port"], answers, "boskosd", "--config", "boskos.yaml", "--data-dir", "data",
                                 "--address", "127.0.0.1", "--health-port", 0, "--metrics-port", 0)
            self.server = ["--boskos-url", s.url]
            seen = s.look()
            clusters = [n for n, r in seen.items() if r["type"] == "cluster"]
            self.cluster = clusters[0] if clusters else ""
            s.check(len(clusters) == 1 and sorted(seen) == sorted([*ACCOUNTS, self.cluster]) and
                    all((r["state"], r["owner"]) == ("dirty", "") for r in seen.values()),
                    "all four are dirty and nobody's: the server has made the cluster, by name at least")

    def clean(self):
        s = self.stage
        with s.step("The janitor wipes the accounts"):
            s.start("boskos-janitor", *self.server, "--resource-type", "account", "--janitor-path", "./wipe.sh",
                    "--poll-period", "500ms", "--update-frequency", "1s", "--metrics-port", 0)
            s.until("the accounts are free", lambda: s.are("free", *ACCOUNTS))
            s.look()
            s.check(self.litter() == [], "what was left in the accounts is gone, and they are free")

    def build(self):
        s = self.stage
        with s.step("The mason makes the cluster of two accounts"):
            s.start("boskos-mason", *self.server, "--config", "boskos.yaml", "--builder", "TwoAccounts=./build.sh",
                    "--period", "500ms", "--heartbeat-period", "1s", "--metrics-port", 0)
            s.until("the cluster is free", lambda: s.are("free", self.cluster))
            s.look()
            made = json.loads(s.show("boskosctl", "get", self.cluster, "--server-url", s.url))
            self.parts = made["userdata"].get("accounts", "").split()
            self.check_parts(self.parts, "the cluster is free, and its accounts are in the state that is its name")

    def check_parts(self, parts, text):
        s = self.stage
        self.stage.check(len(parts) == 2 and set(parts) < set(ACCOUNTS) and s.are(self.cluster, *parts) and
                         self.litter() == [f"{a}/part-of-{self.cluster}" for a in sorted(parts)], text)

    def take(self):
        s = self.stage
        with s.step("A job takes the cluster, with all that it is made of"):
            r = s.start("boskosctl", "run", "--server-url", s.url, "--owner-name", JOB, "--type", "cluster", "--state",
                        "free", "--target-state", "busy", "--with-leased", "--timeout", "30s", "--period", "1s", "--",
                        "./job.sh", says="job")
            s.until("the job says what it has", lambda: "works on" in r.log())
            for line in r.log().splitlines():
                s.say("  " + line)
            self.job_pid = int(re.search(r"as process (\d+)", r.log()).group(1))
            seen = s.look()
            s.check(all((seen[n]["state"], seen[n]["owner"]) == ("busy", JOB) for n in [self.cluster, *self.parts]),
                    f"{JOB} has the cluster and both accounts")
            s.check(len(self.litter()) == 4, f"{JOB} works in both accounts")


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--bin", default=os.path.join(HERE, "..", "..", "build", "release", "bin"))
    options.add_argument("--keep", action="store_true")
    given = options.parse_args()

    def leave(number, _):
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    stage = Stage(given.bin, given.keep)
    code = 1
    try:
        demo = Demo(stage)
        demo.prepare()
        demo.begin()
        demo.clean()
        demo.build()
        demo.take()
        code = 0
    except KeyboardInterrupt as interrupt:
        stage.say(f"\ninterrupted {interrupt}")
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
