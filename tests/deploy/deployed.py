"""What the tests of deploy/ share: an installation in a folder of its own, and whether a program takes a command line."""

import json
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Who runs until it is ended. The rest of the programs do one thing for a person.
FOR_PEOPLE = {"boskos-checkconfig", "boskos-replay", "boskosctl"}


def read(*names):
    with open(os.path.join(TOP, *names), encoding="utf-8") as file:
        return file.read()


def skip(why):
    """Ends a test that cannot run here; ctest is told."""
    print(f"SKIPPED: {why}", file=sys.stderr, flush=True)
    sys.exit(77)


def scratch(name):
    """A folder for a test, which is gone after `with`."""
    return tempfile.TemporaryDirectory(prefix=f"boskosd-test-{name}-")


def end(faults):
    """Ends a test that found these."""
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


def yaml_reader(yaml_json, folder):
    """A function for the documents of a file of the project, or of a text; `yaml_json` is the program that reads them."""
    def yaml(source, is_text=False):
        path = os.path.join(folder, "text.yaml") if is_text else os.path.join(TOP, source)
        if is_text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(source)
        return [d["document"] for d in json.loads(must(yaml_json, path))]

    return yaml


def run(*words, **more):
    """(exit code, what it printed on both)"""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=600, check=False, **more)
    return done.returncode, done.stdout


def must(*words, **more):
    code, output = run(*words, **more)
    if code != 0:
        sys.exit(f"{' '.join(words)}: exit code {code}\n{output}")
    return output


def install(build, prefix):
    """Installs what the folder BUILD has. Returns the names of the programs."""
    must("cmake", "--install", build, "--prefix", prefix)
    return sorted(os.listdir(os.path.join(prefix, "bin")))


def known_services():
    """The programs that have a unit, also those that are not built."""
    return re.search(r"^foreach\(program (.*)\)$", read("deploy", "CMakeLists.txt"), re.M).group(1).split()


def version():
    return re.search(r"project\(boskosd VERSION (\S+)", read("CMakeLists.txt")).group(1)


def services(programs):
    return [p for p in programs if p not in FOR_PEOPLE]


def refusal(path, arguments):
    """What the program at `path` has against these arguments, or None when it would take them.

    They are read in their order up to the first that is wrong, before anything is opened: so one more, that is surely wrong,
    must be the only thing it complains about.
    """
    wrong = "--no-flag-of-any-program"
    end = arguments.index("--") if "--" in arguments else len(arguments)
    code, output = run(path, *arguments[:end], wrong, *arguments[end:])
    if code == 2 and len(output.splitlines()) == 1 and wrong in output:
        return None
    return f"exit code {code}: {output.strip()}"


def shell_words(line):
    """As systemd, and a file in /etc/default, divide what has no quotes within."""
    if re.search(r"['\"\\]", line):
        sys.exit(f"quotes within: {line}")
    return line.split()
