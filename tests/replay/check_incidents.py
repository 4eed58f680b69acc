#!/usr/bin/env python3
"""Are the files of docs/INCIDENTS.md what the scripts of the incidents give?

usage: check_incidents.py BOSKOS_REPLAY MAKE_FOLDER [--update]

For each docs/incidents/NAME.bex the folder of tests/replay/folders/incident-NAME.txt is made, and both must have the same
log and the same state at the end. --update writes the files anew. Exit code 1 on any difference. Standard library only.
"""

import argparse
import os
import sys

import folder

HERE = os.path.dirname(os.path.abspath(__file__))
INCIDENTS = os.path.join(HERE, "..", "..", "docs", "incidents")


def scripts():
    """NAME -> the script of its folder."""
    names = [f for f in os.listdir(os.path.join(HERE, "folders")) if f.startswith("incident-")]
    return {f[len("incident-"):-len(".txt")]: os.path.join(HERE, "folders", f) for f in sorted(names)}


def must(command):
    ended = folder.Ended(command)
    if ended.code != 0:
        sys.exit(str(ended))
    return ended.out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("make_folder")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    files = {f[:-len(".bex")] for f in os.listdir(INCIDENTS)}
    faults = 0 if options.update or files == set(scripts()) else 1
    if faults:
        print(f"docs/incidents has {sorted(files)}, the scripts are {sorted(scripts())}")
    with folder.temporary() as place:
        for name, script in scripts().items():
            made = os.path.join(place, name)
            kept = os.path.join(INCIDENTS, name + ".bex")
            must([options.make_folder, script, made])
            if options.update:
                if os.path.exists(kept):
                    os.remove(kept)
                must([options.program, "--data-dir", made, "export", "--to", kept, "--with-userdata"])
                os.chmod(kept, 0o644)
            for question in (["log", "--json"], ["show", "--json"]):
                wanted = must([options.program, "--data-dir", made, *question])
                if must([options.program, "--file", kept, *question]) != wanted:
                    faults += 1
                    print(f"{kept}: {' '.join(question)} is not what {script} gives; --update writes the file anew")
    print(f"{len(scripts())} incidents, {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
