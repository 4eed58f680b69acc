#!/usr/bin/env python3
"""test_stack.py BUILD YAML_JSON: the pods of deploy/kubernetes/overlays/example, as processes of this machine.

Each program runs with the command line and the environment of its pod, with paths, ports and periods of the test. The config
maps are folders as Kubernetes mounts them, ..data and all. The janitor cleans the machines, the mason builds a cluster, the
cleaner ends it; then the config map changes, and all of them go on with the new one, the reaper and the exporter with a type
that was not there before. All end well at SIGTERM.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import deployed
import test_manifests

os.environ.setdefault("BOSKOSD", "boskosd")
sys.path.insert(0, os.path.join(deployed.TOP, "tests", "daemon"))
import boskosd  # noqa: E402

PATIENCE_S = 60
# What would take minutes.
SOONER = {"boskos-reaper": ["--period=300ms", "--expire=1s"], "boskos-cleaner": ["--period=300ms"],
          "boskos-metrics": ["--period=300ms"], "boskos-janitor": ["--poll-period=300ms"],
          "boskos-mason": ["--period=300ms"]}


class ConfigMap:
    """A folder as the kubelet keeps it: NAME -> ..data/NAME, ..data -> a folder, which is swapped by a rename."""

    def __init__(self, folder, data, mode):
        self.folder, self.mode, self.version = folder, mode, 0
        os.mkdir(folder)
        self.put(data)
        for name in data:
            os.symlink(f"..data/{name}", os.path.join(folder, name))

    def put(self, data):
        self.version += 1
        inside = f"..2026_{self.version}"
        os.mkdir(os.path.join(self.folder, inside))
        for name, text in data.items():
            path = os.path.join(self.folder, inside, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, self.mode)
        os.symlink(inside, os.path.join(self.folder, "..data_tmp"))
        os.rename(os.path.join(self.folder, "..data_tmp"), os.path.join(self.folder, "..data"))
        if self.version > 1:
            shutil.rmtree(os.path.join(self.folder, f"..2026_{self.version - 1}"))


class Stack:

    def __init__(self, folder, prefix, objects):
        self.folder, self.prefix, self.objects = folder, prefix, objects
        self.port, self.json, *self.more = boskosd.free_ports(7)
        self.processes, self.metrics = {}, None
        found = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
        self.config = found["boskos-resources"]
        self.resources = ConfigMap(os.path.join(folder, "etc"), self.config, 0o644)
        ConfigMap(os.path.join(folder, "lib"), found["boskos-programs"], 0o555)
        os.mkdir(os.path.join(folder, "data"))

    def start(self, name, container, words):
        flags = list(SOONER.get(name, []))
        if name == "boskosd":
            flags += [f"--port={self.port}", f"--health-port={self.more.pop()}", "--address=127.0.0.1"]
        if any(p["name"] == "json" for p in container.get("ports", [])):
            flags.append(f"--port={self.json}")
        if any(p["name"] == "metrics" for p in container.get("ports", [])):
            flags.append(f"--metrics-port={self.more.pop()}")
        if name == "boskos-metrics":
            self.metrics = int(flags[-1].partition("=")[2])
        places = {"/etc/boskos/": f"{self.folder}/etc/", "/usr/local/lib/boskos/": f"{self.folder}/lib/",
                  "/var/lib/boskosd": f"{self.folder}/data", "http://boskos": f"http://127.0.0.1:{self.port}"}
        words = words[1:]
        for there, here in places.items():
            words = [w.replace(there, here) for w in words]
        env = {"PATH": os.environ["PATH"], **{e["name"]: e["value"] for e in container.get("env", [])}}
        log = open(os.path.join(self.folder, f"{name}.log"), "wb")
        with log:
            self.processes[name] = subprocess.Popen([f"{self.prefix}/bin/{name}", *words, *flags], env=env,
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def call(self, method, path, **parameters):
        """(status, body) of the server."""
        return self.ask(method, self.port, boskosd.target(path, **parameters))

    @staticmethod
    def ask(method, port, target):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{target}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def listed(self, **filters):
        """name -> resource"""
        status, body = self.call("GET", "/v1/resources", **filters)
        return {r["name"]: r for r in json.loads(body)["resources"]} if status == 200 else {}

    def until(self, what, happens):
        """Waits for it, and returns what it is."""
        end = time.monotonic() + PATIENCE_S
        while not (seen := happens()):
            gone = [n for n, p in self.processes.items() if p.poll() is not None]
            if gone or time.monotonic() > end:
                sys.exit(f"{gone} ended" if gone else f"in a minute it never happens that {what}")
            time.sleep(0.05)
        print(what)
        return seen

    def end(self):
        """The server last, so that all can give back what they hold. The exit codes."""
        codes = {}
        for name, process in reversed(self.processes.items()):
            process.send_signal(signal.SIGTERM)
            codes[name] = process.wait(timeout=PATIENCE_S)
        return codes

    def kill(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def log(self, name):
        with open(os.path.join(self.folder, f"{name}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def logs(self):
        for name in self.processes:
            print(f"---- {name}\n{self.log(name)[-4000:]}")


def first_cluster(stack):
    """A cluster that somebody has: what the mason made, or without one what the server did."""
    is_built = "boskos-mason" in stack.processes
    if is_built:
        stack.until("the janitor has cleaned what the mason did not take", lambda: {
            r["state"] for r in stack.listed(type="machine").values()} & {"dirty", "cleaning"} == set() and stack.listed(
            type="machine", state="free"))
    state = "free" if is_built else "dirty"
    stack.until(f"there is a cluster, {state}", lambda: stack.listed(type="machine-cluster", state=state))
    _, body = stack.call("POST", "/acquire", type="machine-cluster", state=state, dest="busy", owner="ann")
    cluster = json.loads(body)
    if is_built:
        members = cluster["userdata"]["members"].split()
        leased = set(stack.listed(type="machine", state=cluster["name"]))
        if len(members) != 2 or set(members) != leased or cluster["userdata"]["network"] != "10.1.0.0/24":
            sys.exit(f"the cluster {cluster} has {leased}")
        print(f"{cluster['name']} is made of {members}")
    return cluster["name"]


def play(stack):
    pods = list(test_manifests.pods(test_manifests.Checked(stack.prefix, "", stack.objects)))
    pods.sort(key=lambda pod: pod[3][0] != "boskosd")  # the server first
    for o, _, container, words in pods:
        if words[0] == "boskos-reaper":
            reaper = (container, words)  # later: it is so quick here that it would take what others still work on
        elif os.path.exists(f"{stack.prefix}/bin/{words[0]}"):
            stack.start(words[0], container, words)
            if o["kind"] == "StatefulSet":
                stack.until("the server answers", lambda: stack.call("GET", "/v1/status")[0] == 200)
        else:
            print(f"{words[0]} is not built: this goes on without it")
    cluster = first_cluster(stack)
    if stack.call("POST", "/release", name=cluster, owner="ann", dest="toBeDeleted")[0] != 200:
        sys.exit(f"{cluster} was not released")
    stack.until("the cleaner has ended it", lambda: cluster not in stack.listed(type="machine-cluster"))

    stack.start("boskos-reaper", *reaper)
    stack.until("the reaper has the first config map", lambda: "ready: 2 types" in stack.log("boskos-reaper"))
    new = stack.config["boskos.yaml"] + "- {type: runner, state: free, names: [runner-1]}\n"
    stack.resources.put({"boskos.yaml": new})
    stack.until("the server has the new config map", lambda: stack.listed(type="runner"))
    stack.call("POST", "/acquire", type="runner", state="free", dest="busy", owner="bob")
    stack.until("the reaper takes back what is new in it", lambda: stack.listed(type="runner", state="dirty"))
    stack.until("the exporter counts it", lambda: 'boskos_resources{state="dirty",type="runner"} 1' in stack.ask(
        "GET", stack.metrics, "/metrics")[1])
    codes = stack.end()
    print(f"exit codes: {codes}")
    if any(codes.values()):
        sys.exit("not all of them ended well")


def main():
    build, yaml_json = sys.argv[1:]
    folder = tempfile.mkdtemp(prefix="boskosd-test-stack-")
    prefix = os.path.join(folder, "usr")
    stack = None
    yaml = deployed.yaml_reader(yaml_json, folder)
    try:
        if "boskos-mason" in deployed.install(build, prefix) and shutil.which("jq") is None:
            deployed.skip("there is no jq, which the builder of the example needs")
        stack = Stack(folder, prefix, test_manifests.assemble(yaml, test_manifests.EXAMPLE))
        play(stack)
    except BaseException:
        if stack is not None:
            stack.kill()
            stack.logs()
        raise
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
