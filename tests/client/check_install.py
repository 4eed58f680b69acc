#!/usr/bin/env python3
"""check_install.py BUILD BOSKOSD: what others get of libboskos, from an installation in a folder of its own.

The example of the manual page is built against it in every way (pkg-config shared and static, CMake, C++), and takes and
gives back a resource of a daemon. Neither library shows a name that is not boskos_*. The manual pages name every function
of the header and every flag.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
os.environ["BOSKOSD"] = sys.argv[2]
sys.path.insert(0, os.path.join(TOP, "tests", "daemon"))

import boskosd  # noqa: E402

CONFIG = "resources:\n- {type: gce-project, state: free, names: [project-1, project-2, project-3, project-4, project-5]}\n"
CMAKE = """\
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(boskos %s REQUIRED)
add_executable(shared user.c)
target_link_libraries(shared boskos::boskos)
add_executable(static user.c)
target_link_libraries(static boskos::boskos_static)
"""


def run(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def symbols(path, *flags):
    """The names that a library shows, without those of a sanitizer."""
    found = [line.split() for line in run("nm", "--defined-only", *flags, path).splitlines()]
    return {w[2].split("@")[0] for w in found if len(w) == 3 and w[1] in "TDBRVWGi"} - {"__odr_asan"}


def check_names(prefix, lib):
    declared = set(re.findall(r"^BOSKOS_API [^(]*?\b(boskos_\w+)\(", read("client/boskos.h"), re.M))
    for path, flags in ((f"{lib}/libboskos.so", ["-D"]), (f"{lib}/libboskos.a", ["-g"])):
        shown = {s for s in symbols(path, *flags) if not s.startswith("__")}
        if shown != declared:
            sys.exit(f"{path}: shown and not declared {shown - declared}, declared and not shown {declared - shown}")
    print(f"both libraries show the {len(declared)} functions of the header and nothing else")


def check_manual():
    page, header = read("docs/libboskos.3"), read("client/boskos.h")
    for name in re.findall(r"^BOSKOS_API int (boskos_\w+)\(struct boskos_client", header, re.M):
        if name not in page:
            sys.exit(f"docs/libboskos.3 does not name {name}")
    flags = set(re.findall(r'^    \{"([a-z-]{2,})", CLI', read("client/boskosctl/options.c"), re.M))
    for flag in flags:
        if f"Fl -{flag}" not in read("docs/boskosctl.1") and f", -{flag} " not in read("docs/boskosctl.1"):
            sys.exit(f"docs/boskosctl.1 does not name --{flag}")
    print(f"the manual pages name them, and {len(flags)} flags")


def check_versions():
    version = re.search(r"project\(boskosd VERSION (\S+)", read("CMakeLists.txt")).group(1)
    for path in ("client/python/pyproject.toml", "client/python/boskos/__init__.py",
                 "client/python/boskos/transport.py"):
        if version not in read(path):
            sys.exit(f"{path} is not of version {version}")


def check_program(words, folder, port):
    done = run(*words, cwd=folder)
    if not re.fullmatch(r"project-\d\n", done):
        sys.exit(f"{' '.join(words)} printed {done!r}")


def main():
    build = sys.argv[1]
    folder = tempfile.mkdtemp(prefix="boskosd-test-install-")
    daemon = boskosd.Daemon(folder, config=CONFIG, flags=["--in_memory", "--log-level", "error"])
    try:
        daemon.start()
        prefix = os.path.join(folder, "usr")
        run("cmake", "--install", build, "--prefix", prefix)
        lib = os.path.dirname(run("find", prefix, "-name", "libboskos.a").strip())
        check_names(prefix, lib)
        check_manual()
        check_versions()

        example = re.search(r"^\.Bd -literal\n(.*?)^\.Ed", read("docs/libboskos.3"), re.M | re.S).group(1)
        example = example.replace("\\e", "\\").replace("localhost:8080", f"127.0.0.1:{daemon.port}")
        with open(os.path.join(folder, "user.c"), "w", encoding="utf-8") as f:
            f.write(example)
        env = {**os.environ, "PKG_CONFIG_PATH": f"{lib}/pkgconfig", "LD_LIBRARY_PATH": lib}
        os.environ.update(env)
        sanitizer = re.search(r"CMAKE_C_FLAGS:STRING=(.*)", read(os.path.join(build, "CMakeCache.txt"))).group(1)
        more = re.findall(r"-fsanitize=\S+", sanitizer)
        cc = ["cc", "-Wall", "-Wextra", "-pedantic", "-Werror", *more, "-o", "user", "user.c"]
        shared = run("pkg-config", "--cflags", "--libs", "boskos").split()
        # libboskos alone is linked in: a libcurl that can be linked so is not to be had everywhere.
        private = re.search(r"^Requires.private: (.*)", read(f"{lib}/pkgconfig/boskos.pc"), re.M).group(1).split()
        static = run("pkg-config", "--cflags", "boskos").split() + [f"{lib}/libboskos.a", "-pthread"] + run(
            "pkg-config", "--libs", *private).split()
        for standard, libraries in (("-std=c99", shared), ("-std=c17", static)):
            run(*cc, standard, *libraries, cwd=folder)
            check_program(["./user"], folder, daemon.port)
        if shutil.which("c++"):
            run("c++", "-x", "c++", "-std=c++11", *cc[1:], *shared, cwd=folder)
            check_program(["./user"], folder, daemon.port)
        else:
            print("SKIPPED: C++: there is no c++")

        version = re.search(r"project\(boskosd VERSION (\S+)", read("CMakeLists.txt")).group(1)
        with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as f:
            f.write(CMAKE % version)
        run("cmake", "-G", "Ninja", "-S", ".", "-B", "b", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_FLAGS={' '.join(more)}", cwd=folder)
        run("cmake", "--build", "b", cwd=folder)
        for program in ("shared", "static"):
            check_program([f"b/{program}"], folder, daemon.port)
        print("the example runs, by pkg-config and by CMake, shared and static")
    finally:
        daemon.end()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
