#!/usr/bin/env python3
"""test_units.py BUILD: the units of systemd, as they are installed.

Every program that runs as a service has one that systemd-analyze finds nothing wrong with, with no more exposure than is
written here and no line of its sandbox missing; every one of those lines is missed when it is taken out. The program takes
the flags that the unit and /etc/default give it.
"""

import os
import re
import shutil
import sys

import deployed

# What systemd-analyze of version 252 makes of them, in tenths; less is better. What is left is the network, and the files
# that all may read.
EXPOSURE = {"boskosd": 12, "boskos-reaper": 11, "boskos-janitor": 12, "boskos-mason": 12, "boskos-cleaner": 11,
            "boskos-metrics": 11}

# The lines that keep a service in, whatever a version of systemd-analyze thinks of them.
SANDBOX = """
AmbientCapabilities= CapabilityBoundingSet= DynamicUser=yes LimitCORE=0 LockPersonality=yes NoNewPrivileges=yes
PrivateDevices=yes PrivateMounts=yes PrivateTmp=yes PrivateUsers=yes ProtectClock=yes ProtectControlGroups=yes ProtectHome=yes
ProtectHostname=yes ProtectKernelLogs=yes ProtectKernelModules=yes ProtectKernelTunables=yes ProtectProc=invisible
ProtectSystem=strict RemoveIPC=yes RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes
SystemCallArchitectures=native SystemCallErrorNumber=EPERM SystemCallFilter=@system-service UMask=0077
""".split() + ["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"]
# Those that run programs of others, which may do what ours never do; and the daemon, whose shadow is nice.
RUNS_OTHERS = {"boskos-janitor", "boskos-mason"}
MORE = {name: ["SystemCallFilter=~@privileged"] if name in RUNS_OTHERS else
              ["MemoryDenyWriteExecute=yes", "ProcSubset=pid", "SystemCallFilter=~@privileged"] if name == "boskosd" else
              ["MemoryDenyWriteExecute=yes", "ProcSubset=pid", "SystemCallFilter=~@privileged @resources"]
        for name in EXPOSURE}
# What would let it out again.
SOFTER = r"^(ReadWritePaths|BindPaths|ExecPaths|DeviceAllow|SupplementaryGroups|PermissionsStartOnly|Delegate)=|^Exec\w+=[+!-]"


def is_exposed(name, text, folder):
    """Does systemd-analyze see more exposure than it should?"""
    path = os.path.join(folder, name + ".service")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    code, output = deployed.run("systemd-analyze", "security", "--no-pager", "--offline=true",
                                f"--threshold={EXPOSURE[name]}", path)
    level = re.search(r"Overall exposure level for \S+: (\S+)", output)
    if level is None:
        sys.exit(f"systemd-analyze security {path}: exit code {code}\n{output}")
    return code != 0, level.group(1)


def missing(name, text):
    """The lines that the unit must have and has not, and those it must not have."""
    lines = text.splitlines()
    faults = [f"{line} is missing" for line in SANDBOX + MORE[name] if line not in lines]
    return faults + [f"{m.group(0)} is there" for m in re.finditer(SOFTER, text, re.M)]


def check_sandbox(name, text, folder):
    faults = [f"{name}.service: {fault}" for fault in missing(name, text)]
    exposed, level = is_exposed(name, text, folder)
    if exposed:
        faults.append(f"{name}.service: exposure {level}")
    print(f"{name}.service: exposure {level}, {len(SANDBOX + MORE[name])} lines")
    # Is each of these looked at? By the list it must be; systemd-analyze has no eye for a few of them.
    seen = 0
    for line in SANDBOX + MORE[name]:
        softer = text.replace(f"\n{line}\n", "\n", 1)
        if not faults and not missing(name, softer):
            faults.append(f"{name}.service: nobody misses {line}")
        seen += is_exposed(name, softer, folder)[0]
    if seen < 15:
        faults.append(f"{name}.service: systemd-analyze misses {seen} of the lines: is its threshold too high?")
    return faults


def check_flags(name, text, prefix):
    """The command line of the unit, with the flags it has by itself and with those that /etc/default proposes."""
    variable = name.upper().replace("-", "_") + "_OPTS"
    line = re.search(r"^ExecStart=(.*)$", text, re.M).group(1)
    own = re.search(rf'^Environment="{variable}=(.*)"$', text, re.M).group(1)
    default = deployed.read("deploy", "systemd", "default", name)
    proposed = re.findall(rf'^#{variable}="(.*)"$', default, re.M)
    faults = []
    if re.search(r"^[^#\n]", default, re.M) or not proposed:
        faults.append(f"deploy/systemd/default/{name} has something in force, or proposes nothing")
    if f"\nEnvironmentFile=-/etc/default/{name}\n" not in text:
        faults.append(f"{name}.service does not read /etc/default/{name}")
    if "in force without this line" in default and own not in proposed:
        faults.append(f"deploy/systemd/default/{name} does not say what is in force without it")
    for flags in [own, *proposed]:
        words = deployed.shell_words(line.replace(f"${variable}", flags))
        if words[0] != f"{prefix}/bin/{name}":
            faults.append(f"{name}.service starts {words[0]}")
        why = deployed.refusal(f"{prefix}/bin/{name}", words[1:])
        if why is not None:
            faults.append(f"{name}.service: {' '.join(words)}: {why}")
    return faults


def check(build, folder):
    prefix = os.path.join(folder, "usr")
    units = os.path.join(prefix, "lib", "systemd", "system")
    names = deployed.services(deployed.install(build, prefix))
    there = sorted(os.listdir(units))
    faults = []
    if there != [f"{n}.service" for n in names]:
        faults.append(f"the programs {names} have the units {there}")
    for name in names:
        with open(os.path.join(units, f"{name}.service"), encoding="utf-8") as file:
            text = file.read()
        code, output = deployed.run("systemd-analyze", "verify", "--man=no", os.path.join(units, f"{name}.service"))
        if code != 0 or output != "":
            faults.append(f"systemd-analyze verify: {output}")
        faults += check_sandbox(name, text, folder) + check_flags(name, text, prefix)
    return faults


def main():
    if shutil.which("systemd-analyze") is None:
        deployed.skip("there is no systemd-analyze")
    with deployed.scratch("units") as folder:
        faults = check(sys.argv[1], folder)
    deployed.end(faults)


if __name__ == "__main__":
    main()
