"""The command line of boskosd as a person types it: what is wrong is named in one line, with exit code 2."""

import os
import subprocess
import unittest

import boskosd

IGNORED = ["dynamic-resource-update-period", "namespace", "pod-name", "boskos-label-selector", "leader-label-key",
           "kubeconfig", "projected-token-file", "pprof-port", "memory-profile-interval"]

TRUE = ["1", "t", "T", "true", "TRUE", "True"]
FALSE = ["0", "f", "F", "false", "FALSE", "False"]

# Each row: the command line, and what the line must name. None of them may start a daemon.
REFUSED = [
    (["--nope"], ["--nope"]),
    (["-nope"], ["-nope"]),
    (["--nope=1"], ["--nope"]),
    (["--", "--port", "1"], ["--port"]),
    (["serve"], ["serve"]),
    (["-"], ["-"]),
    (["--config", "{config}", "serve"], ["serve"]),
    # A boolean has its value behind =, as in Go: what follows it is an argument.
    (["--in_memory", "false"], ["false"]),
    # Abbreviations.
    (["--conf", "{config}"], ["--conf"]),
    (["--conf", "--config"], ["--conf:"]),
    (["--por", "1"], ["--por"]),
    (["--in_mem"], ["--in_mem"]),
    (["--conf={config}"], ["--conf"]),
    (["--strict"], ["--strict"]),
    (["--Port", "1"], ["--Port"]),
    (["--in-memory"], ["--in-memory"]),
    (["--data_dir", "x"], ["--data_dir"]),
    # Values that are missing or wrong.
    (["--port"], ["--port"]),
    (["-port"], ["-port"]),
    (["--port", "abc"], ["--port", "abc"]),
    (["--port="], ["--port"]),
    (["--port", ""], ["--port"]),
    (["-port=65536"], ["--port", "65536"]),
    (["--port", "-1"], ["--port", "-1"]),
    (["--port", "+1"], ["--port"]),
    (["--port", "0x50"], ["--port"]),
    (["--port", "80 "], ["--port"]),
    (["--port", "99999999999999999999999"], ["--port"]),
    (["--health-port", "x"], ["--health-port"]),
    (["--metrics-port", "x"], ["--metrics-port"]),
    (["--request-ttl", "30"], ["--request-ttl", "missing unit"]),
    (["--request-ttl", "woooo"], ["--request-ttl", "woooo"]),
    (["--request-ttl", "1d"], ["--request-ttl", "1d"]),
    (["--request-ttl", "0s"], ["--request-ttl", "0s"]),
    (["--request-ttl", "-5s"], ["--request-ttl", "-5s"]),
    (["--request-ttl="], ["--request-ttl"]),
    (["--snapshot-every", "0"], ["--snapshot-every"]),
    (["--snapshot-every", "-1"], ["--snapshot-every"]),
    (["--snapshot-every", "many"], ["--snapshot-every", "many"]),
    (["--retain", "1d"], ["--retain", "1d"]),
    (["--retain", "0s"], ["--retain", "0s"]),
    (["--retain-bytes", "16GB"], ["--retain-bytes", "16GB"]),
    (["--retain-bytes", "GiB"], ["--retain-bytes", "GiB"]),
    (["--retain-bytes", "-1GiB"], ["--retain-bytes", "-1GiB"]),
    (["--retain-bytes", "63MiB"], ["--retain-bytes", "64MiB"]),
    (["--retain-bytes", "5TiB"], ["--retain-bytes", "4TiB"]),
    (["--retain-bytes", "99999999999TiB"], ["--retain-bytes"]),
    (["--log-level", "loud"], ["--log-level", "loud"]),
    (["--log-level="], ["--log-level"]),
    (["--log-format", "xml"], ["--log-format", "xml"]),
    (["--in_memory", "--compact"], ["--compact", "--in_memory"]),
    (["--in_memory", "--repair"], ["--repair", "--in_memory"]),
    (["--repair", "--compact"], ["--repair", "--compact"]),
    (["--import", "-", "--compact"], ["--import", "--compact"]),
    (["--import", "-", "--repair"], ["--import", "--repair"]),
    (["--import", "-", "--in_memory"], ["--import", "--in_memory"]),
    (["--import"], ["--import"]),
    (["--cut-at", "5"], ["--cut-at", "--repair"]),
    (["--compact", "--cut-at", "5"], ["--cut-at", "--repair"]),
    (["--repair", "--cut-at", "0"], ["--cut-at", "0"]),
    (["--repair", "--cut-at", "last"], ["--cut-at", "last"]),
    (["--repair", "--cut-at"], ["--cut-at"]),
    (["--compact=maybe"], ["--compact", "maybe"]),
    (["--in_memory=maybe"], ["--in_memory", "maybe"]),
    (["--in_memory="], ["--in_memory"]),
    (["--strict-config=2"], ["--strict-config", "2"]),
    (["--enable-leader-election"], ["--enable-leader-election", "Recreate", "app: boskos"]),
    (["-enable-leader-election=true"], ["--enable-leader-election", "Recreate", "app: boskos"]),
    (["--enable-leader-election=maybe"], ["--enable-leader-election", "maybe"]),
    (["--profile-memory-usage=maybe"], ["--profile-memory-usage", "maybe"]),
    (["--data-dir", ""], ["--data-dir"]),
    (["--data-dir="], ["--data-dir"]),
    (["--namespace"], ["--namespace"]),
    (["--version=1"], ["--version=1"]),
    # The config that is not there, or not for this user to read.
    (["--config", "{folder}/none.yaml"], ["--config", "none.yaml"]),
    (["--config", ""], ["--config"]),
    (["--config={folder}/none.yaml", "--in_memory"], ["--config", "none.yaml"]),
    ([], ["--config", "config.yaml"]),
]

# Each row: flags that are taken, beside the usual ones.
TAKEN = [
    ["-in_memory", "-log-level=debug", "-request-ttl", "1m30s"],
    ["--in_memory", "--log-level", "warn", "--log-format=json", "--request-ttl=500ms"],
    ["--in_memory", "--log-level", "PANIC"],
    ["--in_memory", "--strict-config", "--snapshot-every", "5", "--enable-leader-election=false"],
    ["--in_memory", "--strict-config=false", "--address", "127.0.0.1"],
    ["--in_memory=false", "--in_memory"],
    ["--in_memory", "--retain", "24h", "--retain-bytes=64MiB"],
    ["--in_memory", "--retain-bytes=2000000000"],
]


class Options(boskosd.DaemonTest):

    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.folder, "c.yaml")
        boskosd.put_file(self.config, boskosd.CONFIG)

    def run_once(self, *arguments):
        return subprocess.run([boskosd.PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=boskosd.PATIENCE, check=False)

    def test_wrong_lines(self):
        for row, names in REFUSED:
            arguments = [a.format(folder=self.folder, config=self.config) for a in row]
            with self.subTest(line=" ".join(arguments)):
                # What is wrong must be found whatever stands beside it.
                done = self.run_once(*arguments)
                self.assertEqual(done.returncode, 2, f"exit code 2 was expected; it said {done.stderr!r}")
                lines = done.stderr.splitlines()
                self.assertEqual(len(lines), 1, f"one line was expected, not {done.stderr!r}")
                for name in names:
                    self.assertIn(name, lines[0], "the line was expected to name it")
                self.assertEqual(done.stdout, "", "nothing was expected on stdout")

    def test_unreadable_config(self):
        program, user = self.program_for_all(), self.other_user()
        os.chmod(self.config, 0)
        options = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
        done = subprocess.run([program, "--config", self.config, "--in_memory"], cwd=self.folder, capture_output=True,
                              text=True, timeout=boskosd.PATIENCE, check=False, **options)
        self.assertEqual(done.returncode, 2, f"a config that cannot be read is exit code 2: {done.stderr!r}")
        self.assertIn("c.yaml", done.stderr)
        self.assertIn("--config", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_help(self):
        for flag in ("--help", "-help", "-h"):
            with self.subTest(flag=flag):
                done = self.run_once(flag)
                self.assertEqual((done.returncode, done.stderr), (0, ""), "help is on stdout, with exit code 0")
                for name in ("--config", "--port", "--data-dir", "--in_memory", "--request-ttl", "--log-level",
                             "--log-format", "--health-port", "--metrics-port", "--address", "--snapshot-every",
                             "--strict-config", "--version", *["--" + n for n in IGNORED]):
                    self.assertIn(name, done.stdout, "help was expected to name every flag")

    def test_version(self):
        done = self.run_once("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\Aboskosd \d+\.\d+\S*\n\Z", "one line with name and version was expected")

    def test_nowhere_to_print(self):
        for flag in ("--help", "--version"):
            with self.subTest(flag=flag), open("/dev/full", "wb") as full:
                done = subprocess.run([boskosd.PROGRAM, flag], stdout=full, stderr=subprocess.PIPE, text=True,
                                      timeout=boskosd.PATIENCE, check=False)
                self.assertEqual((done.returncode, done.stderr),
                                 (1, "boskosd: cannot write to stdout: No space left on device\n"))

    def test_what_a_terminal_would_obey(self):
        for row in (["--no\033[2Jpe\n"], ["--port", "\033[2J\n"], ["--config", "\033[2J\n"]):
            with self.subTest(line=row):
                done = self.run_once(*row)
                self.assertEqual(done.returncode, 2)
                self.assertIn("\\u001b[2J", done.stderr)
                self.assertRegex(done.stderr, r"\A[^\x00-\x1f]+\n\Z", "one line that moves nothing was expected")

    def test_taken(self):
        for flags in TAKEN:
            with self.subTest(flags=flags):
                d = self.daemon(flags=flags).start()
                self.assertEqual(d.acquire().status, 200, f"{flags} was expected to be served")
                self.assertFalse(os.path.exists(d.data_dir), "in memory nothing was expected on the disk")
                self.assertEqual(d.stop(), 0)

    def test_last_one_wins(self):
        d = self.daemon(flags=["--in_memory=false", "--data-dir", os.path.join(self.folder, "other")]).start()
        self.assertEqual(d.stop(), 0)
        self.assertTrue(os.path.isdir(os.path.join(self.folder, "other", "journal")),
                        "with --in_memory=false, and of two --data-dir the last, a journal was expected there")
        self.assertFalse(os.path.exists(d.data_dir), "of a flag given twice the last one counts")

    def test_every_boolean(self):
        for value in TRUE:
            with self.subTest(value=value):
                done = self.run_once(f"--enable-leader-election={value}")
                self.assertIn("Recreate", done.stderr, f"{value} was expected to mean true")
        for value in FALSE:
            with self.subTest(value=value):
                done = self.run_once(f"--enable-leader-election={value}", "--nope")
                self.assertIn("--nope", done.stderr, f"{value} was expected to mean false")

    def test_without_effect(self):
        flags = ["--in_memory", "--profile-memory-usage"]
        for name in IGNORED:
            flags += [f"-{name}=x"]
        d = self.daemon(flags=flags).start()
        self.line_at_the_start(d)
        for name in [*IGNORED, "profile-memory-usage"]:
            lines = [line for line in d.log_lines() if line.rstrip().endswith(f"flag={name}")]
            self.assertEqual(len(lines), 1, f"one warning about {name} was expected:\n{d.log()}")
            self.assertIn("level=warning", lines[0])
            self.assertIn("no effect", lines[0])

    def test_without_effect_given_twice(self):
        d = self.daemon(flags=["--in_memory", "--namespace", "a", "--namespace=b"]).start()
        self.line_at_the_start(d)
        self.assertEqual(d.log().count("flag=namespace"), 1, f"one warning a flag was expected:\n{d.log()}")


class DataFolder(boskosd.DaemonTest):
    """A data folder that cannot be made or written: exit code 1 and a line that says what to do."""

    def test_default_folder(self):
        # /var/lib/boskosd is nothing that a user without rights can make or write.
        user = self.other_user()
        default = "/var/lib/boskosd"
        if user is None and os.access(default if os.path.exists(default) else "/var/lib", os.W_OK):
            boskosd.skip_loudly(self, "this user may write /var/lib")
        boskosd.put_file(os.path.join(self.folder, "config.yaml"), boskosd.CONFIG)
        port = boskosd.free_ports(1)[0]
        d = self.daemon(user=user, usual=False, program=self.program_for_all(),
                        flags=["--port", str(port), "--health-port", "0", "--metrics-port=0"]).launch()
        self.check_refused(d, 1, "/var/lib/boskosd", "--data-dir", "--in_memory")

    def test_below_a_file(self):
        d = self.daemon(data_dir=os.path.join(self.folder, "config.yaml", "data")).launch()
        self.check_refused(d, 1, d.data_dir, "--data-dir", "--in_memory")

    def test_is_a_file(self):
        d = self.daemon(data_dir=os.path.join(self.folder, "config.yaml")).launch()
        self.check_refused(d, 1, d.data_dir, "--data-dir", "--in_memory")

    def test_without_parent(self):
        d = self.daemon(data_dir=os.path.join(self.folder, "a", "b")).launch()
        self.check_refused(d, 1, d.data_dir, "--data-dir", "--in_memory")

    def test_not_writable(self):
        data = os.path.join(self.folder, "data")
        os.mkdir(data, 0o555)
        d = self.daemon(user=self.other_user(), program=self.program_for_all()).launch()
        self.check_refused(d, 1, data, "--data-dir", "--in_memory")

    def test_modes(self):
        d = self.daemon().start()
        self.assertEqual(d.stop(), 0)
        self.assertEqual(os.stat(d.journal).st_mode & 0o777, 0o700, "the journal's folder is its user's alone")
        for name in os.listdir(d.journal):
            mode = os.stat(os.path.join(d.journal, name)).st_mode & 0o777
            self.assertEqual(mode, 0o600, f"{name} was expected to be its user's alone")


if __name__ == "__main__":
    boskosd.main()
