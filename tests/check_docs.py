#!/usr/bin/env python3
"""check_docs.py BOSKOSD DOCUMENT...: are the examples and tables of the documents true?

Of each DOCUMENT every ```console block is played, in order, against one daemon that begins with nothing. A line
`$ COMMAND` must print what follows it. Known commands:

  curl ...            run, with the daemon's own ports in place of 8080, 8081 and 9090
  kill -9 ...         the daemon is killed and started again on the same folder; prints nothing
  sed -i ... FILE     changes a copy of FILE, which is the daemon's config, and waits until it is in force
  boskosctl ...       run, with the daemon's own port in place of 8080. What it says on stderr is printed too
  boskos-replay ...   run at the top of the project; `--data-dir var` is the daemon's folder. What it says on stderr is
                      printed too
  boskosd --import dump.json --data-dir var
                      run in place of the start: the daemon is started by the next one. dump.json is that of tests/daemon
  boskosd ... &       starts the daemon, if it does not run; prints nothing
  boskos-mason ... &, boskos-janitor ... &
                      run in the document's folder until its end, with the daemon's own port in place of 8080; print
                      nothing

The daemon's config is the first ```yaml block of the document that has `resources:`, or boskos.yaml beside it, or else
deploy/example.yaml. Times, uptimes, digests and names that are made differ from run to run and are compared as such. A document with the line `| metric | type |` at
the head of a table must list there the names of the metrics page, all of them and no others; a row with the word
`absent` is of one that need not be there.

Links within the documents must lead somewhere, and so must what comments in the sources say of docs/.

Prints each difference; exit code 1 on any. With --print it prints what the commands print instead.
Standard library only.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TOP, "tests", "daemon"))

import boskosd  # noqa: E402

WAIT_S = 60  # for what should take moments


class Daemon(boskosd.Daemon):
    """A boskosd in a folder of its own, for the commands of a document."""

    def __init__(self, program, config, documents=None):
        self.documents, self.background = documents, []
        super().__init__(tempfile.mkdtemp(prefix="boskosd-test-docs-"), config=config,
                         flags=["--address", "127.0.0.1", "--log-level", "error"],
                         program=os.path.abspath(program))

    def close(self):
        for process in self.background:
            process.terminate()
            process.wait(WAIT_S)
        self.end()
        shutil.rmtree(self.folder)

    def run(self, command):
        """What the command prints."""
        words = shlex.split(command)
        if words[0] == "curl":
            for usual, port in ((8080, self.port), (8081, self.health), (9090, self.metrics)):
                words = [w.replace("localhost:%d" % usual, "127.0.0.1:%d" % port) for w in words]
            return subprocess.run(words + ["-s"], stdout=subprocess.PIPE, timeout=WAIT_S, check=False).stdout.decode()
        if words[:2] == ["kill", "-9"]:
            self.kill()
            self.start()
            return ""
        if words[:2] == ["sed", "-i"]:
            before = self.figure("boskosd_config_loads_total")
            subprocess.run(words[:-1] + [self.config_path], timeout=WAIT_S, check=True)
            end = time.monotonic() + WAIT_S
            while self.figure("boskosd_config_loads_total") == before:
                if time.monotonic() > end:
                    sys.exit("the changed config does not come into force")
                time.sleep(0.05)
            return ""
        if words[0] == "boskosctl":
            words[0] = os.path.join(os.path.dirname(self.program), words[0])
            words = [w.replace("localhost:8080", "127.0.0.1:%d" % self.port) for w in words]
            return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S,
                                  check=False).stdout.decode()
        if words[0] == "boskosd" and words[-1] == "&":
            if not self.is_running():
                self.start()
            return ""
        if words[0] in ("boskos-mason", "boskos-janitor") and words[-1] == "&":
            words = [w.replace("localhost:8080", "127.0.0.1:%d" % self.port) for w in words[:-1]]
            words[0] = os.path.join(os.path.dirname(self.program), words[0])
            self.background.append(subprocess.Popen(words + ["--metrics-port", "0", "--log-level", "error"],
                                                    cwd=self.documents))
            return ""
        if words[0] == "boskos-replay" or words[:2] == ["boskosd", "--import"]:
            words[0] = os.path.join(os.path.dirname(self.program), words[0])
            put = {"var": self.data_dir, "dump.json": os.path.join("tests", "daemon", "dump.json")}
            printed = subprocess.run([put.get(w, w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     timeout=WAIT_S, cwd=TOP, check=False).stdout.decode()
            return printed.replace(self.data_dir, "var").replace(put["dump.json"], "dump.json")
        sys.exit("no way to run: " + command)


def blocks(text, kind):
    return re.findall(r"^```%s\n(.*?)^```$" % kind, text, re.M | re.S)


def examples(text):
    """(command, what it should print) of every console block."""
    for block in blocks(text, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1] + more
            yield command, output


def comparable(output):
    """The output without what differs from run to run; a newline at the end is not seen on a page."""
    output = output.replace("\r\n", "\n").rstrip("\n")
    output = re.sub(r"^Date: .*$", "Date: D", output, flags=re.M)
    output = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", output)
    output = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "SECONDS", output)
    output = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", "NANOSECONDS", output)
    output = re.sub(r"(NANOSECONDS) +", r"\1 ", output)  # a column of them
    output = re.sub(r" host=\S+", " host=H", output)
    output = re.sub(r"(?<= downtime=)\S+", "AGE", output)
    output = re.sub(r"(?<= salt=)\d+", "SALT", output)
    output = re.sub(r"(?<= version=)\S+", "VERSION", output)
    output = re.sub(r"(?<=, digest )[0-9a-f]{32}$", "H", output, flags=re.M)
    if "NANOSECONDS" in output:  # which have no fixed length
        output = re.sub(r"^Content-Length: .*$", "Content-Length: L", output, flags=re.M)
    output = re.sub(r'"uptime":"[0-9hms]+"', '"uptime":"U"', output)
    output = re.sub(r"(?<= )[0-9hmsnµ.]+(?= (?:before|ago)\b)|(?<= for )[0-9hmsnµ.]+$", "AGE", output, flags=re.M)
    return re.sub(r'"digest":"[0-9a-f]{32}"', '"digest":"H"', output)


def check_metrics(text, page):
    """The names of the table against those of the page."""
    table = re.search(r"^\| metric \| type \|.*\n((?:\|.*\n)+)", text, re.M).group(1)
    listed = set(re.findall(r"`((?:boskosd?|process)_[a-z_]+)", table))
    required = set(re.findall(r"^\| `((?:boskosd?|process)_[a-z_]+)(?!.*\babsent\b)", table, re.M))
    there = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    faults = ["%s is on the metrics page and not in the table" % name for name in sorted(there - listed)]
    return faults + ["%s is in the table and not on the metrics page" % name for name in sorted(required - there)]


def headings(path):
    """The headings of a document."""
    with open(path) as file:
        text = re.sub(r"^```.*?^```$", "", file.read(), flags=re.M | re.S)
    return [h.replace("`", "") for h in re.findall(r"^#+ (.*)$", text, re.M)]


def anchor(heading):
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def check_links(path, text):
    """Links to files and headings that are not there."""
    faults = []
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        file, _, place = target.partition("#")
        there = os.path.join(os.path.dirname(path), file) if file else path
        if not os.path.exists(there):
            faults.append("the link %s leads to no file" % target)
        elif place and place not in [anchor(h) for h in headings(there)]:
            faults.append("the link %s leads to no heading" % target)
    return faults


def check_sources():
    """Documents and sections that comments speak of: docs/NAME.md, or docs/NAME.md, `Section`."""
    faults = 0
    for folder, folders, names in os.walk(TOP):
        folders[:] = [f for f in folders if f not in ("build", "var") and not f.startswith(".")]
        for name in names:
            if not name.endswith((".c", ".h", ".sh", ".txt", ".yaml")):
                continue
            path = os.path.join(folder, name)
            with open(path, errors="replace") as file:
                text = re.sub(r"\n *(//|#) ?", " ", file.read())
            for document, section in re.findall(r"\bdocs/(\w+\.md)(?:, `([^`]+)`)?", text):
                there = os.path.join(TOP, "docs", document)
                if not os.path.exists(there):
                    print("%s speaks of docs/%s, which is not there" % (path, document))
                    faults += 1
                elif section and section not in headings(there):
                    print("%s speaks of docs/%s, `%s`: there is no such section" % (path, document, section))
                    faults += 1
    return faults


def check(program, path, is_printing):
    with open(path) as file:
        text = file.read()
    configs = [b for b in blocks(text, "yaml") if b.startswith("resources:")]
    beside = os.path.join(os.path.dirname(path), "boskos.yaml")
    if not configs:
        with open(beside if os.path.exists(beside) else os.path.join(TOP, "deploy", "example.yaml")) as file:
            configs = [file.read()]
    faults = check_links(path, text)
    if not blocks(text, "console"):
        return report(path, 0, faults)
    count = 0
    daemon = Daemon(program, configs[0], os.path.dirname(os.path.abspath(path)))
    try:
        if "\n$ boskosd --import " not in text:
            daemon.start()
        for command, wanted in examples(text):
            printed = daemon.run(command)
            count += 1
            if is_printing:
                print("$ %s\n%s" % (command, printed.replace("\r\n", "\n").rstrip("\n")))
            elif comparable(printed) != comparable(wanted):
                faults.append("$ %s\nprints\n%s\nand not\n%s" % (command, printed, wanted))
        if "\n| metric | type |" in text:
            faults += check_metrics(text, daemon.metrics_page())
    finally:
        daemon.close()
    return report(path, count, faults)


def report(path, count, faults):
    for fault in faults:
        print("%s: %s" % (path, fault))
    print("%s: %d examples, %d faults" % (path, count, len(faults)))
    return len(faults)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--print"]
    if len(arguments) < 2:
        sys.exit(__doc__)
    faults = [check(arguments[0], path, "--print" in sys.argv) for path in arguments[1:]] + [check_sources()]
    sys.exit(1 if any(faults) else 0)


if __name__ == "__main__":
    main()
