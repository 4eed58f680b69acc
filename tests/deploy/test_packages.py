#!/usr/bin/env python3
"""test_packages.py BUILD: the Debian packages that `cpack -G DEB` makes of a build.

They are unpacked into a root of their own. Every file is where a Debian package may have it, once, with the owner and the
mode it should have; files in /etc are conffiles; each program runs and has its manual page; what is installed by CMake is in
one of them.
"""

import gzip
import os
import re
import shutil
import sys

import deployed

PLACES = r"/etc/(boskos|default)/|/usr/(bin|include|lib|share/(doc|man))/"
# A library that each must need, by what dpkg-shlibdeps saw, and some that it must not.
NEEDS = {"boskosd": ("liblmdb0", "libcurl4"), "boskos-tools": ("libcurl4", "liblmdb0"), "libboskos0": ("libcurl4", "liblmdb0")}


class Package:

    def __init__(self, path, folder):
        self.path = path
        fields = deployed.must("dpkg-deb", "-W", "--showformat=${Package}\n${Version}\n${Depends}", path).split("\n")
        self.name, self.version, self.depends = fields
        self.control = os.path.join(folder, self.name)
        deployed.must("dpkg-deb", "-e", path, self.control)
        # drwxr-xr-x root/root 0 2026-11-27 12:00 ./usr/bin/ [-> TARGET]
        self.files = {}
        for line in deployed.must("dpkg-deb", "-c", path).splitlines():
            mode, owner, _, _, _, name = line.split(None, 5)
            self.files[name.partition(" -> ")[0].removeprefix(".")] = (mode, owner)

    def plain(self):
        return sorted(f for f, (mode, _) in self.files.items() if not mode.startswith("d"))

    def script(self, name):
        try:
            with open(os.path.join(self.control, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""


def check_files(p):
    faults = []
    for name, (mode, owner) in p.files.items():
        wanted = {"d": "drwxr-xr-x", "l": "lrwxrwxrwx"}.get(mode[0]) or (
            "-rwxr-xr-x" if re.match(r"/usr/bin/|/usr/share/doc/.*/examples/.*\.sh$", name) else "-rw-r--r--")
        if (mode, owner) != (wanted, "root/root"):
            faults.append(f"{name} is {mode} {owner}")
        if mode[0] != "d" and re.match(PLACES, name) is None:
            faults.append(f"{name} should not be there")
        if "/man/" in name and mode[0] == "-" and not name.endswith(".gz"):
            faults.append(f"{name} is not compressed")
    conffiles = sorted(p.script("conffiles").split())
    there = [f for f in p.plain() if f.startswith("/etc/")]
    if conffiles != there:
        faults.append(f"its conffiles are {conffiles}, and not {there}")
    for doc in ("copyright", "changelog.gz"):
        if f"/usr/share/doc/{p.name}/{doc}" not in p.files:
            faults.append(f"there is no {doc}")
    return faults


def check_control(p, version):
    faults = []
    if p.version != version:
        faults.append(f"it is of version {p.version}")
    if p.name in NEEDS:
        needed, not_needed = NEEDS[p.name]
        names = re.findall(r"(?:^|, )([a-z0-9.+-]+)", p.depends)
        if not any(n.startswith(needed) for n in names) or any(n.startswith(not_needed) for n in names) or "libc6" not in names:
            faults.append(f"it depends on {p.depends}")
    for name in ("postinst", "prerm", "postrm"):
        text = p.script(name)
        if text != "":
            deployed.must("sh", "-n", os.path.join(p.control, name))
            if "set -e" not in text:
                faults.append(f"its {name} goes on after a failure")
    return faults


def check_services(packages):
    """Each unit's service is stopped and started again by the scripts of its package, and named in full."""
    faults = []
    for p in packages:
        units = {m.group(1) for f in p.plain() if (m := re.search(r"/systemd/system/(\S+)\.service$", f))}
        if p.name == "boskos-tools":  # also those that are not built
            units |= set(deployed.known_services()) - {"boskosd"}
        named = {"prerm": r"deb-systemd-invoke stop", "postinst": r"deb-systemd-invoke try-restart"}
        for script, call in named.items():
            text = p.script(script)
            known = set(re.findall(rf"{call} \"?([a-z-]+)\.service", text))
            for prefix in re.findall(rf"{call} \"([a-z-]+)\$name\.service", text):
                known |= {prefix + n for n in re.search(r"for name in (.*); do", text).group(1).split()}
            if not units <= known:
                faults.append(f"{p.name}: {script} knows {sorted(known)}, and not all of {sorted(units)}")
    return faults


def check_programs(root, programs, version):
    faults = []
    for name in programs:
        output = deployed.must(os.path.join(root, "usr", "bin", name), "--version")
        if version not in output:
            faults.append(f"{name} says it is {output.strip()}")
        pages = [f"{root}/usr/share/man/man{n}/{name}.{n}.gz" for n in (1, 8)]
        page = [p for p in pages if os.path.exists(p)]
        if len(page) != 1:
            faults.append(f"{name} has {len(page)} manual pages")
            continue
        with gzip.open(page[0], "rt", encoding="utf-8") as file:
            if f".Nm {name}\n" not in file.read():
                faults.append(f"{page[0]} is of another program")
    config = os.path.join(root, "etc", "boskos", "boskos.yaml")
    if "boskos-checkconfig" in programs:
        deployed.must(os.path.join(root, "usr", "bin", "boskos-checkconfig"), config)
        deployed.must(sys.executable, "-c", "import boskos", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1",
                      "PYTHONPATH": os.path.join(root, "usr", "lib", "python3", "dist-packages")})
    unit = os.path.join(root, "usr", "lib", "systemd", "system", "boskosd.service")
    with open(unit, encoding="utf-8") as file:
        if "\nExecStart=/usr/bin/boskosd " not in file.read():
            faults.append("boskosd.service does not start /usr/bin/boskosd")
    return faults


def check(build, folder):
    version = deployed.version()
    deployed.must("cpack", "-G", "DEB", "--config", os.path.join(build, "CPackConfig.cmake"), "-B", folder, cwd=folder)
    packages = [Package(os.path.join(folder, n), folder) for n in sorted(os.listdir(folder)) if n.endswith(".deb")]
    programs = deployed.install(build, os.path.join(folder, "installed"))
    root = os.path.join(folder, "root")
    faults, seen = [], {}
    for p in packages:
        deployed.must("dpkg-deb", "-x", p.path, root)
        faults += [f"{p.name}: {f}" for f in check_files(p) + check_control(p, version)]
        for f in p.plain():
            if f in seen:
                faults.append(f"{f} is in {seen[f]} and {p.name}")
            seen[f] = p.name
        print(f"{p.name} {p.version}: {len(p.plain())} files; {p.depends}")
    there = sorted(os.path.basename(f) for f in seen if f.startswith("/usr/bin/"))
    if there != programs:
        faults.append(f"the programs in packages are {there}, those installed {programs}")
    # All the rest that is installed, but for what pip takes and what is compressed.
    for base, _, names in os.walk(os.path.join(folder, "installed")):
        for name in names:
            path = "/usr" + os.path.join(base, name).removeprefix(os.path.join(folder, "installed"))
            if path not in seen and path + ".gz" not in seen and not path.startswith("/usr/share/boskos/python/"):
                faults.append(f"{path} is in no package")
    return faults + check_services(packages) + check_programs(root, there, version)


def main():
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "cpack"):
        if shutil.which(tool) is None:
            deployed.skip(f"there is no {tool}")
    changelog = deployed.read("deploy", "debian", "changelog")
    if not changelog.startswith(f"boskosd ({deployed.version()}) "):
        sys.exit("deploy/debian/changelog is of another version")
    with deployed.scratch("packages") as folder:
        faults = check(os.path.abspath(sys.argv[1]), folder)
    deployed.end(faults)


if __name__ == "__main__":
    main()
