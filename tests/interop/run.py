#!/usr/bin/env python3
"""Both ways: the original programs against boskosd, and ours against the original server.

    run.py boskosctl     both boskosctl against boskosd: what is built for it is the least
    run.py all           everything, the original server included

The environment names our programs: BOSKOSD BOSKOSCTL, and for `all` those of CMakeLists.txt. Ends with a table, a row
for each operation, which is left in build/interop/table.PART. Exit code 77, with the reason: something needed from
outside cannot be had. That, and each operation that could not be run here, is a line in build/interop/skipped, which
./dev shows at its end. With BOSKOS_INTEROP=required both are a failure.
"""

import os
import sys

import ctl_part
import go_part
import harness
import library_part
import programs_part
import upstream

PARTS = {"boskosctl": ["boskosctl"], "all": ["boskosctl", "boskos", "reaper", "janitor", "metrics", "goclient"]}
SKIPPED_FILE = os.path.join(upstream.CACHE, "skipped")  # ./dev shows it


def is_required():
    return os.environ.get("BOSKOS_INTEROP") == "required"


def say_skipped(text):
    os.makedirs(upstream.CACHE, exist_ok=True)
    with open(SKIPPED_FILE, "a", encoding="utf-8") as f:
        f.write(text + "\n")
    upstream.say(f"SKIPPED: {text}")


def skip(part, reason):
    say_skipped(f"the interoperability tests ({part}) did not run: {reason}")
    sys.exit(1 if is_required() else upstream.SKIPPED)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in PARTS:
        sys.exit(__doc__)
    part = sys.argv[1]
    try:
        programs = upstream.programs(*PARTS[part])
    except upstream.Missing as e:
        skip(part, str(e))
    # What is to be fetched is there now.
    if not harness.enter_own_network():
        upstream.say("no network namespace can be made here: the ports are those of this machine")
    table = harness.Table()
    with harness.Servers(programs.get("boskos")) as servers:
        modules = [ctl_part, go_part, programs_part, library_part] if part == "all" else [ctl_part]
        harness.in_parts(table, {m.__name__: lambda m=m: m.run(table, servers, programs) for m in modules})
    with open(os.path.join(upstream.TOP, "docs", "CLIENTS.md"), encoding="utf-8") as f:
        if upstream.version() not in f.read():
            sys.exit(f"docs/CLIENTS.md does not say that {upstream.version()} is what was tried")
    text = f"Interoperability ({part}) with Boskos {upstream.version()}\n\n{table.text()}"
    with open(os.path.join(upstream.CACHE, f"table.{part}"), "w", encoding="utf-8") as f:
        f.write(text)  # ./dev shows it: ctest keeps the output of what passes to itself
    print(text, end="", flush=True)
    missing = table.not_run()
    for line in missing:
        say_skipped(f"interoperability ({part}), not run: {line}")
    sys.exit(1 if table.count("FAIL") or not table.count("pass") or (missing and is_required()) else 0)


if __name__ == "__main__":
    main()
