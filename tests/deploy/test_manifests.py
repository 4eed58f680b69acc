#!/usr/bin/env python3
"""test_manifests.py BUILD YAML_JSON: the manifests for Kubernetes in deploy/kubernetes, against the programs.

There is no cluster here. What is looked at: every program that runs as a service has its pod, and takes its flags; the
config in the config map is good; files named by flags come from config maps that are mounted whole; selectors, labels, ports
and probes meet; nothing has rights it does not need. The manifests are put together as kustomize would; where there
is a kubectl, what it makes of them is looked at too.
"""

import os
import re
import shutil
import subprocess
import sys

import deployed

EXAMPLE = "deploy/kubernetes/overlays/example"
KINDS = {"ConfigMap", "Deployment", "Namespace", "Service", "ServiceAccount", "StatefulSet"}  # no roles among them
CONTAINER = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
# The probes that a program must have. Of the others nothing can be asked.
PROBES = {"boskosd": {"startupProbe": ("/healthz", "health"), "livenessProbe": ("/healthz", "health"),
                      "readinessProbe": ("/healthz/ready", "health")},
          "boskos-janitor": {"livenessProbe": ("/healthz", "metrics")},
          "boskos-mason": {"livenessProbe": ("/healthz", "metrics")},
          "boskos-metrics": {"readinessProbe": ("/metrics", "metrics")}}


class Checked:
    """What is checked, and the faults that were found."""

    def __init__(self, prefix, where, objects):
        self.prefix, self.where, self.faults = prefix, where, []
        self.objects = objects

    def fault(self, text):
        self.faults.append(f"{self.where}: {text}")

    def equal(self, what, is_now, should_be):
        if is_now != should_be:
            self.fault(f"{what} is {is_now}, not {should_be}")

    def of_kind(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    def config_map(self, name):
        found = [o["data"] for o in self.of_kind("ConfigMap") if o["metadata"]["name"] == name]
        if len(found) != 1:
            self.fault(f"there are {len(found)} config maps {name}")
        return found[0] if found else {}


# ---- what kustomize makes of the files ------------------------------------------


def assemble(yaml, folder):
    """The objects of a kustomization: resources, generated config maps, patches of the environment, the namespace."""
    path = os.path.normpath(os.path.join(folder, "kustomization.yaml"))
    spec = yaml(path)[0]
    objects = []
    there = {n for n in os.listdir(os.path.join(deployed.TOP, folder)) if n.endswith(".yaml")} - {"kustomization.yaml"}
    for name in spec.get("resources", []):
        inside = os.path.normpath(os.path.join(folder, name))
        objects += yaml(inside) if name.endswith(".yaml") else assemble(yaml, inside)
        there.discard(name)
    for generator in spec.get("configMapGenerator", []):
        there -= set(generator["files"])
        objects.append({"kind": "ConfigMap", "metadata": {"name": generator["name"]},
                        "data": {f: deployed.read(folder, f) for f in generator["files"]}})
    if there:
        sys.exit(f"{path} leaves out {sorted(there)}")
    if "configMapGenerator" in spec and not spec["generatorOptions"]["disableNameSuffixHash"]:
        sys.exit(f"{path}: config maps of changing names are never seen to change")
    for patch in spec.get("patches", []):
        apply(objects, yaml(patch["patch"], is_text=True)[0])
    return objects


def apply(objects, patch):
    target = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])]
    if len(target) != 1:
        sys.exit(f"a patch for {patch['metadata']['name']} has {len(target)} targets")
    container, = target[0]["spec"]["template"]["spec"]["containers"]
    new, = patch["spec"]["template"]["spec"]["containers"]
    if set(patch["spec"]["template"]["spec"]) != {"containers"} or set(new) != {"name", "env"}:
        sys.exit("a patch of more than the environment: this test does not know how")
    names = [e["name"] for e in new["env"]]
    container["env"] = [e for e in container["env"] if e["name"] not in names] + new["env"]


# ---- what must hold -------------------------------------------------------------


def pods(c):
    """(object, pod, container, its command line)"""
    for o in c.of_kind("Deployment", "StatefulSet"):
        pod = o["spec"]["template"]["spec"]
        container, = pod["containers"]
        env = {e["name"]: e["value"] for e in container.get("env", [])}
        words = [re.sub(r"\$\((\w+)\)", lambda m: env[m.group(1)], w) for w in container["command"] + container["args"]]
        yield o, pod, container, words


def flag(words, name):
    """The value of a flag, or None. It stands behind =."""
    for word in words:
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None


def check_programs(c, installed):
    """Each has one pod, and takes its command line."""
    known = deployed.known_services()
    there = sorted(words[0] for _, _, _, words in pods(c))
    c.equal("the list of programs", there, sorted(known))
    for name in deployed.services(installed):
        if name not in there:
            c.fault(f"{name} is in no pod")
    for _, _, _, words in pods(c):
        if words[0] in installed:
            why = deployed.refusal(f"{c.prefix}/bin/{words[0]}", words[1:])
            if why is not None:
                c.fault(f"{' '.join(words)}: {why}")
        else:
            print(f"{c.where}: {words[0]} is not built: its flags are not looked at")


def check_labels(c):
    for o, _, _, words in pods(c):
        labels = o["spec"]["template"]["metadata"]["labels"]
        c.equal(f"{words[0]}: the selector", o["spec"]["selector"]["matchLabels"], labels)
    for s in c.of_kind("Service"):
        name, selector = s["metadata"]["name"], s["spec"]["selector"]
        chosen = [(o, k) for o, _, k, _ in pods(c)
                  if selector.items() <= o["spec"]["template"]["metadata"]["labels"].items()]
        if len(chosen) != 1 or chosen[0][0]["kind"] != "StatefulSet":
            c.fault(f"the service {name} chooses {[o['metadata']['name'] for o, _ in chosen]}")
            continue
        ports = {p["name"] for p in chosen[0][1]["ports"]}
        for port in s["spec"]["ports"]:
            if port["targetPort"] not in ports:
                c.fault(f"the service {name} leads to the port {port['targetPort']}, which is not there")
    service, = [s["spec"] for s in c.of_kind("Service") if s["metadata"]["name"] == "boskos"]
    c.equal("the selector of the service boskos", service["selector"], {"app": "boskos"})
    c.equal("its ports", [(p["port"], p["targetPort"]) for p in service["ports"]], [(80, "api")])


def check_ports(c, installed):
    """Container ports are those that the program listens on, by its flags or its help; probes ask one of them."""
    names = {"api": "port", "json": "port", "health": "health-port", "metrics": "metrics-port"}
    for _, _, container, words in pods(c):
        ports = {p["name"]: p["containerPort"] for p in container.get("ports", [])}
        for name, port in ports.items() if words[0] in installed else ():
            text = deployed.must(f"{c.prefix}/bin/{words[0]}", "--help")
            default = re.search(rf"^ +--{names[name]} .*?\((\d+)\)", text, re.M | re.S).group(1)
            c.equal(f"{words[0]}: the port {name}", port, int(flag(words, names[name]) or default))
        for probe, (path, port) in PROBES.get(words[0], {}).items():
            get = container.get(probe, {}).get("httpGet")
            c.equal(f"{words[0]}: {probe}", get, {"path": path, "port": port})
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for how in container.get(probe, {}).values():
                if isinstance(how, dict) and how.get("port") not in ports:
                    c.fault(f"{words[0]}: {probe} asks {how}")
        if words[0] != "boskosd":
            c.equal(f"{words[0]}: the server", flag(words, "boskos-url"), "http://boskos")


def check_rights(c):
    version = deployed.version()
    for o, pod, container, words in pods(c):
        name = words[0]
        c.equal(f"{name}: the image", re.sub(r".*/", "", container["image"]), f"boskosd:{version}")
        c.equal(f"{name}: the container's rights", container["securityContext"], CONTAINER)
        rights = {k: v for k, v in pod["securityContext"].items() if not k.startswith("fsGroup")}
        c.equal(f"{name}: the pod's rights", rights, {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
                                                      "seccompProfile": {"type": "RuntimeDefault"}})
        c.equal(f"{name}: its token", pod["automountServiceAccountToken"], False)
        c.equal(f"{name}: its account", pod["serviceAccountName"], "boskos")
        if not {"requests", "limits"} <= set(container["resources"]):
            c.fault(f"{name} has no bounds")
        c.equal(f"{name}: replicas", o["spec"]["replicas"], 1)
        if set(pod) & {"hostNetwork", "hostPID", "hostIPC"} or any("hostPath" in v for v in pod.get("volumes", [])):
            c.fault(f"{name} reaches the host")
    c.equal("the kinds", {o["kind"] for o in c.objects} - KINDS, set())
    account, = c.of_kind("ServiceAccount")
    c.equal("the account's token", account["automountServiceAccountToken"], False)


def check_files(c):
    """What flags name is there: in a config map that is mounted as a folder, or on the volume."""
    for o, pod, container, words in pods(c):
        volumes = {v["name"]: v for v in pod.get("volumes", [])}
        claims = {t["metadata"]["name"]: t["spec"] for t in o["spec"].get("volumeClaimTemplates", [])}
        mounts = {}
        for mount in container["volumeMounts"]:
            if "subPath" in mount:
                c.fault(f"{words[0]}: {mount['mountPath']} never sees a change")
            if mount["name"] not in volumes and mount["name"] not in claims:
                c.fault(f"{words[0]}: there is no volume {mount['name']}")
            mounts[mount["mountPath"]] = mount["name"]
        for word in words[1:]:
            path = word.rpartition("=")[2]
            if not path.startswith("/"):
                continue
            if word.startswith("--data-dir="):
                check_data(c, words, claims.get(mounts.get(path)), pod)
                continue
            map_of = volumes.get(mounts.get(os.path.dirname(path)), {}).get("configMap", {})
            content = c.config_map(map_of.get("name")).get(os.path.basename(path))
            if content is None:
                c.fault(f"{words[0]}: {word} is in no config map")
            elif content.startswith("#!"):
                c.equal(f"{words[0]}: the mode of {path}", map_of.get("defaultMode"), 0o555)


def check_data(c, words, claim, pod):
    if claim is None:
        c.fault("the data folder is on no volume")
        return
    size = claim["resources"]["requests"]["storage"]
    kept = flag(words, "retain-bytes") or "16GiB"
    if int(size.removesuffix("Gi")) * 10 < int(kept.removesuffix("GiB")) * 12:
        c.fault(f"{kept} of log and snapshots need more than {size}")
    c.equal("the group of the volume", pod["securityContext"].get("fsGroup"), 65532)


def check_config(c, yaml):
    """The config is good, the janitor has static types of it, the mason builders for its life cycles."""
    text = c.config_map("boskos-resources")["boskos.yaml"]
    done = subprocess.run([f"{c.prefix}/bin/boskos-checkconfig", "--strict", "-"], input=text, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        c.fault(f"boskos-resources: {done.stdout}")
    entries = yaml(text, is_text=True)[0]["resources"]
    lines = {words[0]: words for _, _, _, words in pods(c)}
    static = {e["type"] for e in entries if "names" in e}
    if not set(flag(lines["boskos-janitor"], "resource-type").split(",")) <= static:
        c.fault("the janitor cleans types that the config has no names for")
    built = {e["config"]["type"] for e in entries if "config" in e}
    c.equal("what the mason builds", {flag(lines["boskos-mason"], "builder").partition("=")[0]}, built)


def check(c, yaml, installed):
    check_programs(c, installed)
    check_labels(c)
    check_ports(c, installed)
    check_rights(c)
    check_files(c)
    check_config(c, yaml)
    print(f"{c.where}: {len(c.objects)} objects, {len(c.faults)} faults")
    return c.faults


def main():
    build, yaml_json = sys.argv[1:]
    with deployed.scratch("manifests") as folder:
        yaml = deployed.yaml_reader(yaml_json, folder)
        prefix = os.path.join(folder, "usr")
        installed = deployed.install(build, prefix)
        faults = check(Checked(prefix, "the files", assemble(yaml, EXAMPLE)), yaml, installed)
        if shutil.which("kubectl"):
            made = deployed.must("kubectl", "kustomize", os.path.join(deployed.TOP, EXAMPLE))
            faults += check(Checked(prefix, "kubectl kustomize", yaml(made, is_text=True)), yaml, installed)
        else:
            print("there is no kubectl: kustomize is not tried")
    deployed.end(faults)


if __name__ == "__main__":
    main()
