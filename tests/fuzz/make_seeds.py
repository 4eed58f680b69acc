#!/usr/bin/env python3
"""make_seeds.py FOLDER: writes first inputs for the fuzzers, FOLDER/NAME/..., made of what else is below tests/:
the golden commands, the recordings of a running Boskos, configs. run.sh --merge makes the kept corpora of them and
of what libFuzzer found."""

import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
KINDS = {name: i + 1 for i, name in enumerate(
    "acquire acquirebystate release update reset config expire reap clean clock started repaired import".split())}


def golden(version):
    """The commands (kind, payload, row) and the state's snapshot of a golden file."""
    commands, snapshot, into = [], bytearray(), None
    for line in open(f"{TESTS}/golden/{version}/commands.txt", encoding="ascii"):
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "command":
            commands.append((KINDS[words[2]], bytearray(), bytearray()))
        elif words[0] in ("payload", "row"):
            into = commands[-1][1 if words[0] == "payload" else 2]
        elif words[0] == "snapshot":
            into = snapshot
        elif line.startswith(" ") and into is not None:
            into += bytes.fromhex(line)
        else:
            into = None
    return commands, bytes(snapshot)


def block(data):
    return len(data).to_bytes(2, "big") + data


def requests():
    for path in sorted(glob.glob(TESTS + "/conformance/http/*.jsonl")):
        for line in open(path, encoding="utf-8"):
            r = json.loads(line)
            if r.get("do") == "request":
                yield r["method"], r["target"].encode(), (r.get("body") or "").encode()


def configs():
    for line in open(TESTS + "/conformance/config.jsonl", encoding="utf-8"):
        yield json.loads(line)["yaml"].encode()
    for path in sorted(glob.glob(TESTS + "/conformance/rules/*.jsonl"))[:4]:
        for line in list(open(path, encoding="utf-8"))[:20]:
            yield json.loads(line).get("yaml", "").encode()
    yield open(os.path.dirname(TESTS) + "/deploy/example.yaml", "rb").read()


def dumps():
    whole = open(TESTS + "/daemon/dump.json", encoding="utf-8").read()
    items = json.loads(whole)["items"]
    yield json.dumps(items[0]).encode() + b"\n" + json.dumps(items[-1]).encode()
    for item in items[1:]:
        item["metadata"] = {"name": item["metadata"]["name"]}
        yield json.dumps({"kind": "List", "items": [item]}).encode()
        del item["kind"]
    yield json.dumps({"kind": "ResourceObjectList", "items": items[1:4]}).encode()
    yield json.dumps({"kind": "DRLCObjectList", "items": items[-2:]}).encode()


def snapshots(commands, state):
    yield b"\0" + state
    yield b"\0" + state[:len(state) // 2]
    # A file: header, content, trailer; the fuzzer puts the checksums in.
    header = b"BOSKOSNP\0\1" + bytes(6) + (7).to_bytes(8, "big") + bytes(56)
    yield b"\2" + header + state + bytes(24)
    yield b"\1" + header + state + bytes(24)


def logs(commands):
    head = b"\0\1\0\1\0%c\0\0" + bytes(24)
    records = [b"\2%c" % (i + 1) + block(head % kind + payload) for i, (kind, payload, _) in enumerate(commands)]
    rows = [b"\3%c" % (i + 1) + block(row + bytes(8)) for i, (_, _, row) in enumerate(commands)]
    yield b"".join(records)
    yield b"".join(records + rows)
    yield b"".join(records[:1] + records[2:])
    yield b"".join(records[3:9] + rows[:20])
    yield b"".join(records + rows[:3] + [b"\4\0\0\3abc", b"\x0b\1\0\3abc"])
    yield b"".join(records[:3] + [b"\2\4" + block(head % 4 + bytes(9000))])


def slices(commands, state):
    """Exported files; the fuzzer puts the checksums in, and of the third way the ends."""
    def record(kind, payload, row):
        value = b"\0\1\0\1\0%c\0\0" % kind + bytes(24) + payload
        row = row + bytes(8) if row else b""
        return len(value).to_bytes(8, "big") + len(row).to_bytes(8, "big") + bytes(8) + value + row

    def file(way, base, snapshot, records):
        header = b"BOSKOSEX\0\1" + bytes(13) + b"\2" + base.to_bytes(8, "big") + bytes(40) + b"0.2.0".ljust(64, b"\0")
        index = bytes(24) if records else b""
        return b"%c" % way + header + bytes(16) + snapshot + b"".join(records) + index + \
            len(snapshot).to_bytes(8, "big") + bytes(96)

    records = [record(*c) for c in commands]
    for way in range(3):
        yield file(way, 7, state, records)
    yield file(2, 0, b"", records)
    yield file(2, 0, b"", [])
    yield file(2, 9, b"abc", [])
    yield file(2, 9, b"abc", [record(kind, payload, b"") for kind, payload, _ in commands[:3]])
    yield file(2, 9, b"abc", [record(1, bytes(3000), b"abc")])


def raw_requests():
    everything = []
    for method, target, body in requests():
        head = b"%s %s HTTP/1.1\r\nHost: h\r\n" % (method.encode(), target)
        if body:
            head += b"Content-Length: %d\r\n" % len(body)
        everything.append(head + b"\r\n" + body)
        yield everything[-1]
    for i in range(0, len(everything), 5):
        yield b"".join(everything[i:i + 5])
    yield b"\xff".join(everything[:9])
    chunked = b"POST /update?name=r-001&owner=o&state=s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield chunked + b"2\r\n{}\r\n0\r\n\r\n" + everything[0]
    yield chunked + b"2\r\n{\xff}\r\n\xff0\r\n\xff\r\n"
    yield b"POST /update?name=r-001&owner=o&state=s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"


def main():
    commands, state = golden("v3")
    methods = {"GET": 0, "POST": 1, "HEAD": 2}
    seeds = {
        "query": [b"%c%s\n%s" % (methods.get(m, 3), t, b) for m, t, b in requests()],
        "body": [b for _, _, b in requests() if b] + [b'{"a":"b","c":null}', b' {"\\u00e9":"\\ud83d\\ude00"}x'],
        "config": list(configs()),
        "dump": list(dumps()),
        "command": [b"%c\1" % k + block(p) for k, p, _ in commands] +
                   [b"".join(b"%c\x1f" % k + block(p) for k, p, _ in commands)],
        "log": list(logs(commands)),
        "snapshot": list(snapshots(*golden("v1"))) + list(snapshots(*golden("v2"))) +
                    list(snapshots(commands, state)),
        "slice": list(slices(commands, state)),
        "row": [bytes(row) for _, _, row in commands] + [bytes(p) for _, p, _ in commands] + [state],
        "http": list(raw_requests()),
    }
    for name, inputs in seeds.items():
        os.makedirs(sys.argv[1] + "/" + name, exist_ok=True)
        for i, data in enumerate(inputs):
            with open("%s/%s/seed-%03d" % (sys.argv[1], name, i), "wb") as f:
                f.write(data)
        print("%s: %d seeds" % (name, len(inputs)))


if __name__ == "__main__":
    main()
