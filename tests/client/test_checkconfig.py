#!/usr/bin/env python3
"""boskos-checkconfig, and what it says of a server against what that server then does."""

import random
import re
import time

from program_test import *  # noqa: F403


class CheckConfig(ProgramTest):
    PROGRAM = "BOSKOS_CHECKCONFIG"

    def words(self, *flags, url=False):
        return super().words(*flags, url=url)

    def against(self, *flags, text=None, **more):
        path = self.file("next", text) if text is not None else self.d.config_path
        return self.once(path, "--against", self.proxy.url, *flags, **more)

    def test_command_line(self):
        self.check_help("--config", "--against", "--strict", "--password-file", "--token-file", "--request-timeout")
        self.check_usage(((), "a FILE is needed"), (("--bogus",), "there is no such flag"),
                         (("a", "b", "--against=http://x"), "--against is for one FILE"),
                         (("--strict=maybe", "x"), "--strict"))

    def test_a_good_file(self):
        path = self.file("good", self.CONFIG + "- {type: cluster, max-count: 3}\n")
        said = f"{path}: good: 2 static entries with 6 names, 1 dynamic\n"
        self.assertEqual(self.once(path).stdout, said)
        self.assertEqual(self.once("--config", path, path).stdout, said * 2)
        done = subprocess.run(self.words("-"), input="resources: [{type: a, names: [x]}]", stdout=subprocess.PIPE,
                              text=True, timeout=PATIENCE, check=True)
        self.assertEqual(done.stdout, "stdin: good: 1 static entry with 1 name, 0 dynamic\n")

    def test_every_error_with_its_line(self):
        path = self.file("bad", "resources:\n"
                                "- state: free\n"
                                "  names: [a]\n"
                                "- type: dynamic\n"
                                "  min-count: 3\n"
                                "  max-count: 2\n"
                                "- type: static\n"
                                "  names:\n"
                                "  - A_B\n"
                                "  - a\n"
                                "  - a\n")
        good = self.file("good", self.CONFIG)
        done = self.once(path, good, code=1)
        lines = done.stderr.splitlines()
        for line, text in ((2, ".0.type: must be set"), (5, ".1.min-count: must be <= .1.max-count"),
                           (9, ".2.names.0(A_B) is invalid"), (10, ".2.names.1(a) is a duplicate")):
            self.assertTrue(any(l.startswith(f"{path}:{line}: error: {text}") for l in lines), (line, text, lines))
        self.assertIn("good: 2 static", done.stdout)

    def test_each_kind_of_bad_file(self):
        for text, said in (("", "empty config"), ("resources: 7\n", ":1: error: "), ("{", "error: "),
                           ("\x00", "error: "), ("resources: [{type: \"\\e[31m\\uFFFD\", names: [A]}]", "error: "),
                           ("a: &a [*a]\n", "error: ")):
            with self.subTest(text=text):
                done = self.once(self.file("bad", text), code=1)
                self.assertIn(said, done.stderr)
                self.assertNotIn("\x1b", done.stderr)
        done = self.once("/nonexistent", code=1)
        self.assertEqual(done.stderr, "boskos-checkconfig: /nonexistent: No such file or directory\n")
        self.assertIn("Is a directory", self.once("/tmp", code=1).stderr)

    def test_warnings(self):
        path = self.file("odd", self.CONFIG + "  colour: blue\n")
        done = self.once(path)
        self.assertRegex(done.stderr, rf"^{path}:\d+: warning: .*colour")
        self.assertIn("error: ", self.once("--strict", path, code=1).stderr)

    def test_nothing_to_do(self):
        self.assertTrue(self.against().stdout.endswith("\nadds 0, deletes 0, delays 0\n"))

    def test_what_it_would_do(self):
        self.d.acquire(owner="ann")  # car-1
        self.d.acquire(type="van", owner="bob")  # van-1
        text = ("resources:\n- {type: car, names: [car-2, car-3, car-9]}\n- {type: bus, names: [car-4, van-1]}\n"
                "- {type: cluster, min-count: 2, max-count: 3}\n")
        lines = self.against(text=text).stdout.splitlines()[1:]
        self.assertEqual(sorted(lines[:-1]), [
            "add     bus  car-4",
            "add     car  car-9",
            "add     cluster  2 new  (min-count is 2, there are 0)",
            "delay   car  car-1  (not in the config, when ann gives it back)",
            "delay   van  van-1  (its type becomes bus, when bob gives it back)",
            "delete  car  car-4  (its type becomes bus)",
            "delete  van  van-2  (not in the config)"])
        self.assertEqual(lines[-1], "adds 4, deletes 2, delays 2")
        self.assertEqual(len(self.d.resources()), 6, "something was done")

    def random_config(self, dice):
        text = "resources:\n"
        names = [f"n-{i}" for i in range(12)]
        dice.shuffle(names)
        for t in ("car", "van", "bus"):
            mine, names = names[:dice.randrange(5)], names[4:]
            if mine:
                text += f"- {{type: {t}, names: [{', '.join(mine)}]}}\n"
        for t in ("cluster", "group"):
            if dice.random() < 0.8:
                low = dice.choice((0, 1, 6))
                text += f"- {{type: {t}, state: free, min-count: {low}, max-count: {low + 1 + dice.randrange(2)}}}\n"
        return text if "type" in text else text + "- {type: car, names: [n-1]}\n"

    def apply(self, text):
        loads = self.d.figure("boskosd_config_loads_total")
        boskosd.put_file(self.d.config_path, text)
        self.eventually("the config is in force", lambda: self.d.figure("boskosd_config_loads_total") > loads)

    @slow
    def test_it_is_what_the_server_does(self):
        dice = random.Random(20261127)
        kinds = set()
        for _ in range(30):
            for name, r in self.d.resources().items():
                if r["owner"] and dice.random() < 0.5:
                    self.d.release(name, dest="free", owner="ann")
                elif dice.random() < 0.4:
                    self.d.call("POST", "/acquirebystate", state=r["state"], dest="busy", owner="ann", names=name)
            text = self.random_config(dice)
            before = self.d.resources()
            said = [re.match(r"(\w+)\s+(\S+)  (\S+)( new| more)?", l)
                    for l in self.against(text=text).stdout.splitlines()[1:-1]]
            self.apply(text)
            self.check_done(before, self.d.resources(), {m.groups() for m in said}, text)
            kinds |= {(m.group(1), m.group(4)) for m in said}
        self.assertLessEqual({("add", None), ("add", " new"), ("delete", None), ("delay", None)}, kinds)

    def check_done(self, before, after, said, text):
        def is_dead(n):
            return n not in after or after[n]["state"] == "toBeDeleted" or after[n]["type"] != before[n]["type"]
        new = {n for n, r in after.items() if n not in before or r["type"] != before[n]["type"]}
        made = [after[n]["type"] for n in new if f"{n}," not in text.replace("]", ",")]
        self.assertEqual({(after[n]["type"], n) for n in new if f"{n}," in text.replace("]", ",")},
                         {(t, n) for verb, t, n, many in said if verb == "add" and not many}, text)
        self.assertEqual({t: made.count(t) for t in made},
                         {t: int(n) for verb, t, n, many in said if verb == "add" and many}, text)
        self.assertEqual({n for n, r in before.items() if is_dead(n) and r["state"] != "toBeDeleted"},
                         {n for verb, _, n, many in said if verb == "delete"
                          if before[n]["state"] != "toBeDeleted"}, (text, before))
        for verb, _, n, many in said:
            if verb == "delay" and not many:
                self.assertEqual(after[n], before[n])

    @slow
    def test_faults(self):
        for action in FAULTS:
            with self.subTest(action=action):
                self.proxy.script = [action] * 100
                done = self.against(code=1)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn("cannot list the resources of http://127.0.0.1:", done.stderr)
        for action in ("refuse", "close", "500", "lose", "half"):
            self.proxy.script = [action]
            self.against()
        self.assertIn("empty config", self.against(text="", code=1).stderr)

    def test_a_server_that_is_too_slow(self):
        for action in ("hang", "slow:20"):
            with self.subTest(action=action):
                self.proxy.script = [action] * 100
                began = time.monotonic()
                done = self.against("--request-timeout=300ms", code=1)
                self.assertLess(time.monotonic() - began, 15)
                self.assertRegex(done.stderr, "^boskos-checkconfig: cannot list the resources of [^\n]*timed out[^\n]*\n$")
                its = subprocess.run([os.environ["BOSKOSCTL"], "config", "--server-url", self.proxy.url,
                                      "--request-timeout", "300ms", self.d.config_path], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
                self.assertEqual((its.returncode, its.stdout), (1, done.stdout))
                self.assertRegex(its.stderr, "^boskosctl: cannot list the resources of [^\n]*timed out[^\n]*\n$")
        self.proxy.script = ["slow:0.2"]
        self.against("--request-timeout=30s")

    def test_boskosctl_does_the_same(self):
        path = self.file("next", "resources:\n- {type: car, names: [car-1]}\n  x: y\n")
        odd = self.file("odd", "resources:\n- {type: car, names: [car-1], x: y}\n")

        def ctl(*words):
            return subprocess.run([os.environ["BOSKOSCTL"], "config", *words], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        for mine, its in ((("--against", self.proxy.url, odd), ("--server-url", self.proxy.url, odd)),
                          ((odd,), (odd,)), ((path,), (path,)), (("--strict", odd), ("--strict", odd))):
            done = ctl(*its)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             tuple(getattr(self.once(*mine, code=done.returncode), k)
                                   for k in ("returncode", "stdout", "stderr")))
        self.assertEqual((ctl(odd).returncode, ctl(path).returncode, ctl("--strict", odd).returncode), (0, 1, 1))
        self.assertIn("needs a FILE", ctl().stderr)
        self.assertEqual(ctl().returncode, 1)

    def test_a_full_stdout(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(self.words(self.d.config_path), stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write to stdout", done.stderr)


if __name__ == "__main__":
    main()
