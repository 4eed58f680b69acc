#!/usr/bin/env python3
"""Plays recorded HTTP exchanges against a running server and compares every reply.

    run_http.py --server 'boskosd --config {config} --port {port} --data-dir {dir}' http/*.jsonl

{config}, {port} and {dir} (an empty folder) are filled in; the flags a file asks for are appended. Times in replies are
compared as <time>; server-made names as <name1>, <name2>... in order of appearance; a reply "*" means any text.
Exit status 0 when every exchange agrees. Standard library only.
"""
import argparse
import json
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def exchange(port, step, target):
    head = [f"{step['method']} {target} HTTP/1.1", "Host: x", "Connection: close", *step.get("headers", [])]
    body = b""
    if "body" in step:
        # the recorder stored bytes as latin-1 where the text was not plain unicode
        body = step["body"].encode("utf-8")
        if step["body"].startswith("ï»¿"):
            body = step["body"].encode("latin1")
        if step.get("chunked"):
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            head.append(f"Content-Length: {len(body)}")
    elif step["method"] == "POST":
        head.append("Content-Length: 0")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + body)
        data = b""
        while chunk := s.recv(65536):
            data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            if int(size, 16) == 0:
                break
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        rest = body
    return int(lines[0].split()[1]), headers, rest.decode("utf-8", "replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def play(path, server, port):
    steps = [json.loads(line) for line in open(path, encoding="utf-8")]
    start, names, bad = steps[0], {}, []
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(start["yaml"])
        config.flush()
        command = [a.format(config=config.name, port=port, dir=folder) for a in shlex.split(server)] + start["flags"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                return len(steps), [f"{path}: the server did not start: {command}"]
            for number, step in enumerate(steps[1:], 2):
                if step["do"] == "sleep":
                    time.sleep(step["s"])
                    continue
                target = step["target"]
                for real, label in names.items():
                    target = target.replace(label, real)
                try:
                    status, headers, reply = exchange(port, step, target)
                except (OSError, ValueError, IndexError) as e:
                    bad.append(f"{path}:{number}: {step['method']} {target}: {e!r}")
                    continue
                reply = TIME.sub("<time>", reply)
                reply = NAME.sub(lambda m: names.setdefault(m.group(0), f"<name{len(names) + 1}>"), reply)
                want = [step["status"], step["reply"], step.get("nosniff", False)]
                got = [status, "*" if step["reply"] == "*" else reply, headers.get("x-content-type-options") == "nosniff"]
                if step["content_type"] is not None:
                    want.append(step["content_type"])
                    got.append(headers.get("content-type"))
                if want != got:
                    bad.append(f"{path}:{number}: {step['method']} {target}\n  want {want}\n  got  {got}")
        finally:
            process.terminate()
            process.wait(10)
    return len(steps) - 1, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    total = failed = 0
    for path in args.files:
        count, bad = play(path, args.server, args.port or free_port())
        total += count
        failed += len(bad)
        print("\n".join(bad))
    print(f"{total - failed} of {total} exchanges agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
