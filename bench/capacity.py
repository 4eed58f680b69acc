#!/usr/bin/env python3
"""What a command costs on the disk, a resource in memory and in a snapshot, and how fast a start replays.

  BOSKOSD=build/release/bin/boskosd bench/capacity.py [--resources N] [--commands N]

The commands are acquires, heartbeats with a small body and releases, from 16 clients; a command costs more where names
and userdata are longer. The data lies below build/, for the temporary folder may be memory. Memory is counted when the
shadow has its state too. One figure a line. Standard library only.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "daemon"))

import boskosd  # noqa: E402

CLIENTS = 16


def config(count):
    names = "".join(f"  - resource-{i:07d}\n" for i in range(count))
    return "resources:\n- type: car\n  state: free\n  names:\n" + names


def start(folder, name, resources):
    place = os.path.join(folder, name)
    os.mkdir(place)
    return boskosd.Daemon(place, config=config(resources)).start()


def settled(d):
    """The anonymous memory, once it grows no more."""
    before, end = 0.0, time.monotonic() + boskosd.PATIENCE
    while (now := d.figure("boskosd_resident_anon_bytes")) != before and time.monotonic() < end:
        before = now
        time.sleep(2)
    return before


def measure_resources(folder, count):
    few, many = start(folder, "few", 1), start(folder, "many", count)
    try:
        for d in (few, many):
            d.acquire()  # the rows before become durable, and the shadow follows
        print(f"memory of a daemon with 1 resource: {settled(few) / 2**20:.1f} MiB")
        print(f"memory a resource: {(settled(many) - settled(few)) / count:.0f} bytes ({count} resources, two states)")
        many.stop()
        size = os.path.getsize(many.snapshot_path(many.snapshots()[-1]))
        print(f"snapshot a resource: {size / count:.0f} bytes")
    finally:
        few.end()
        many.end()


def measure_commands(folder, count):
    d = start(folder, "log", 1000)
    try:
        before, seq = d.figure("boskosd_log_bytes"), d.seq()
        boskosd.Load(d, CLIENTS, each=count // CLIENTS).join()
        commands = d.seq() - seq
        print(f"log a command: {(d.figure('boskosd_log_bytes') - before) / commands:.0f} bytes ({commands} commands)")
        d.kill()
        d.start()
        rate = d.figure("boskosd_recovery_commands") / d.figure("boskosd_recovery_seconds")
        print(f"recovery: {rate:.0f} commands a second")
    finally:
        d.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=int, default=100000)
    parser.add_argument("--commands", type=int, default=100000)
    options = parser.parse_args()
    os.makedirs(os.path.join(TOP, "build"), exist_ok=True)
    folder = tempfile.mkdtemp(prefix="capacity-", dir=os.path.join(TOP, "build"))
    try:
        measure_resources(folder, options.resources)
        measure_commands(folder, options.commands)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
