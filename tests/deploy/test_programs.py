#!/usr/bin/env python3
"""test_programs.py BUILD: does `./dev build` make every program that an installation has?

What is installed is read from CMake's install scripts, what the target `programs` makes from Ninja.
"""

import os
import re
import shutil
import sys

import deployed


def installed(build):
    """The names of the programs that `cmake --install` puts into bin."""
    names = set()
    for folder, _, files in os.walk(build):
        if "cmake_install.cmake" in files:
            with open(os.path.join(folder, "cmake_install.cmake"), encoding="utf-8") as file:
                names.update(re.findall(r'/bin" TYPE EXECUTABLE FILES "[^"]*/([^"/]+)"', file.read()))
    return names


def main():
    build = sys.argv[1]
    if shutil.which("ninja") is None or not os.path.exists(os.path.join(build, "build.ninja")):
        deployed.skip("this folder is not built by Ninja, which would say what a target makes")
    made = set(re.findall(r"^ +bin/(\S+)$", deployed.must("ninja", "-C", build, "-t", "query", "programs"), re.M))
    wanted = installed(build)
    if "boskosd" not in wanted or "boskosd" not in made:
        sys.exit(f"neither list can be without boskosd: installed {sorted(wanted)}, made {sorted(made)}")
    if wanted - made:
        sys.exit(f"installed, and not made by ./dev build: {' '.join(sorted(wanted - made))}")
    print(f"./dev build makes the {len(wanted)} programs that are installed")


if __name__ == "__main__":
    main()
