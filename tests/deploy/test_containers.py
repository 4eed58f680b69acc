#!/usr/bin/env python3
"""test_containers.py BUILD YAML_JSON: the Dockerfile and docker-compose.yaml of deploy/, against the programs.

There is no docker here. What is looked at: every program that runs as a service has one in compose, and takes its flags; all
have the same image, the one that is built, and no more rights than they need; files named by flags are in what is
mounted; the Dockerfile makes the user, the folder and the ports that compose and the manifests count on.
"""

import json
import os
import re
import sys

import deployed

UID = "65532"
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "restart": "unless-stopped"}
# What asks whether it is well, and where.
HEALTH = {"boskos-janitor": "http://127.0.0.1:9090/healthz", "boskos-mason": "http://127.0.0.1:9090/healthz",
          "boskos-metrics": "http://127.0.0.1:9090/metrics"}
FORBIDDEN = {"privileged", "cap_add", "network_mode", "pid", "ipc", "user", "devices", "userns_mode"}


def check_service(name, service, prefix, installed, faults):
    words = service["command"]

    def fault(text):
        faults.append(f"docker-compose.yaml: {name}: {text}")

    if words[0] not in installed:
        print(f"docker-compose.yaml: {words[0]} is not built: its flags are not looked at")
    elif (why := deployed.refusal(f"{prefix}/bin/{words[0]}", words[1:])) is not None:
        fault(why)
    for key, value in HARDENED.items():
        if service.get(key) != value:
            fault(f"{key} is {service.get(key)}")
    if service.keys() & FORBIDDEN:
        fault(f"it has {sorted(service.keys() & FORBIDDEN)}")
    if service["image"] != f"boskosd:{deployed.version()}":
        fault(f"its image is {service['image']}")
    if words[0] != "boskosd":
        if "--boskos-url=http://boskos:8080" not in words:
            fault("it does not ask the server")
        if service["depends_on"] != {"boskos": {"condition": "service_healthy"}}:
            fault("it does not wait for the server")
        if service.get("build") or service.get("pull_policy") != "never":
            fault("its image comes from elsewhere")
        test = HEALTH.get(words[0])
        if (service["healthcheck"].get("test") or ["disable"])[-1] != (test or "disable"):
            fault(f"its health is {service['healthcheck']}")
    if not all(p.startswith("127.0.0.1:") for p in service.get("ports", [])):
        fault(f"the world reaches {service['ports']}")
    mounts = dict(reversed(v.removesuffix(":ro").split(":")) for v in service["volumes"])
    if any(not v.endswith(":ro") for v in service["volumes"] if v.startswith(".")):
        fault("it could write the config")
    for word in words[1:]:
        path = word.rpartition("=")[2]
        if path.startswith("/"):
            check_path(word, path, mounts, fault)


def check_path(word, path, mounts, fault):
    if word.startswith("--data-dir="):
        if mounts.get(path, ".").startswith("."):
            fault(f"{path} is on no volume")
        return
    source = os.path.join(deployed.TOP, "deploy", mounts.get(os.path.dirname(path), "nowhere"), os.path.basename(path))
    if not os.path.isfile(source):
        fault(f"{word} is in nothing that is mounted")
    elif path.endswith(".sh") and not os.access(source, os.X_OK):
        fault(f"{source} cannot be run")


def check_compose(compose, prefix, installed):
    faults = []
    services = compose["services"]
    programs = sorted(s["command"][0] for s in services.values())
    if programs != sorted(deployed.known_services()):
        faults.append(f"docker-compose.yaml has {programs}")
    faults += [f"docker-compose.yaml lacks {p}" for p in deployed.services(installed) if p not in programs]
    for name, service in services.items():
        check_service(name, service, prefix, installed, faults)
    server = services["boskos"]
    if server["command"][0] != "boskosd" or server["build"] != {"context": "..", "dockerfile": "deploy/Dockerfile"}:
        faults.append("docker-compose.yaml does not build the server")
    if set(compose["volumes"]) != {"data"}:
        faults.append("docker-compose.yaml has other volumes")
    for name in ("janitor", "mason"):
        if not services[name].get("init") or "/tmp:" not in services[name].get("tmpfs", [""])[0]:
            faults.append(f"docker-compose.yaml: {name}: its programs have no parent, or no /tmp")
    deployed.must(os.path.join(prefix, "bin", "boskos-checkconfig"), "--strict",
                  os.path.join(deployed.TOP, "deploy", "examples", "stack", "boskos.yaml"))
    return faults


def check_dockerfile(prefix):
    text = deployed.read("deploy", "Dockerfile")
    steps = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", "")
    stages = re.split(r"^FROM ", steps, flags=re.M)[1:]
    final = stages[-1]
    faults = []

    def line(word):
        found = re.findall(rf"^{word}\s+(.*)", final, re.M)
        if len(found) != 1:
            faults.append(f"Dockerfile: there are {len(found)} {word}")
        return re.sub(r"\s+", " ", found[0]) if found else ""

    if len(stages) != 2 or not final.startswith("debian:bookworm-slim\n") or re.search(r"^(ARG|ADD)\b|:latest", steps, re.M):
        faults.append("Dockerfile: its stages")
    if line("USER") != f"{UID}:{UID}" or f"--uid {UID} --gid {UID}" not in final or f"--gid {UID} boskos" not in final:
        faults.append("Dockerfile: its user")
    if line("VOLUME") != "/var/lib/boskosd" or "install -d -o boskos -g boskos -m 0700 /var/lib/boskosd" not in final:
        faults.append("Dockerfile: its volume")
    help_text = deployed.must(f"{prefix}/bin/boskosd", "--help")
    ports = [re.search(rf"^ +--{n}port PORT .*\((\d+)\)", help_text, re.M).group(1) for n in ("", "health-", "metrics-")]
    if line("EXPOSE").split() != ports or f"http://127.0.0.1:{ports[1]}/healthz/ready" not in line("HEALTHCHECK"):
        faults.append("Dockerfile: its ports")
    words = json.loads(line("CMD"))
    if words[0] != "boskosd" or deployed.refusal(f"{prefix}/bin/boskosd", words[1:]) is not None:
        faults.append(f"Dockerfile: {words}")
    for package in ("boskosd", "boskos-tools"):
        if f"/packages/{package}_*.deb" not in final or f"boskos_package({package} " not in deployed.read(
                "deploy", "package.cmake"):
            faults.append(f"Dockerfile: the package {package}")
    if " curl" not in final or f"boskosd:{deployed.version()} " not in text:
        faults.append("Dockerfile: its version, or no curl for HEALTHCHECK")
    # What a build would copy, and need not.
    ignored = deployed.read(".dockerignore").split("\n")
    faults += [f".dockerignore: {n}" for n in (".git", "build", "var") if n not in ignored]
    return faults


def main():
    build, yaml_json = sys.argv[1:]
    with deployed.scratch("containers") as folder:
        prefix = os.path.join(folder, "usr")
        installed = deployed.install(build, prefix)
        compose = deployed.yaml_reader(yaml_json, folder)("deploy/docker-compose.yaml")[0]
        faults = check_compose(compose, prefix, installed) + check_dockerfile(prefix)
        print(f"{len(compose['services'])} services, {len(faults)} faults")
    deployed.end(faults)


if __name__ == "__main__":
    main()
