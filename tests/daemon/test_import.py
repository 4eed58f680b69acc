"""boskosd --import: what a Boskos on Kubernetes had, taken over by a new data folder, and the way back."""

import json
import os
import subprocess
import unittest

import boskosd

HERE = os.path.dirname(os.path.abspath(__file__))
DUMP = os.path.join(HERE, "dump.json")

CONFIG = """\
resources:
- type: gce-project
  state: free
  names: [project-01, project-02, project-03, project-05]
- type: aws-account
  names: [account-01, account-02]
- type: aws-cluster
  state: dirty
  min-count: 1
  max-count: 2
  lifespan: 48h
  needs: {aws-account: 1}
  config: {type: AWSClusterCreator, content: '{"nodes": 3}'}
"""


def dump():
    with open(DUMP, encoding="utf-8") as f:
        return json.load(f)


def essence(listed):
    """A list as `kubectl get -o json` prints it, in order, with what Boskos itself has put into its objects."""
    items = []
    for item in sorted(listed["items"], key=lambda i: (i["kind"] != "ResourceObject", i["metadata"]["name"])):
        item = dict(item, metadata={"name": item["metadata"]["name"]})
        if item["kind"] == "DRLCObject":
            item["spec"] = dict(item["spec"], needs=item["spec"]["needs"] or {})
        elif item["status"].get("userData") == {}:
            item["status"] = {key: value for key, value in item["status"].items() if key != "userData"}
        items.append(item)
    listed = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
    return json.dumps(listed, indent=4, sort_keys=True, ensure_ascii=False) + "\n"


class ImportTest(boskosd.DaemonTest):

    def run_import(self, d, file, text=None, flags=()):
        done = subprocess.run([d.program, "--import", file, "--data-dir", d.data_dir, *flags], input=text, text=True,
                              capture_output=True, timeout=boskosd.PATIENCE, check=False)
        return done.returncode, done.stdout, done.stderr

    def imported(self, d, file=DUMP, text=None):
        code, said, wrong = self.run_import(d, file, text)
        self.assertEqual((code, wrong), (0, ""))
        return said

    def refused(self, d, code, *texts, file="-", text=None, flags=()):
        """It ends with the code, says the texts on stderr, and has put nothing into the folder."""
        had, said, wrong = self.run_import(d, file, text, flags)
        self.assertEqual((had, said), (code, ""), wrong)
        for part in texts:
            self.assertIn(part, wrong)
        return wrong

    def replay(self, d, *words, code=0):
        program = os.path.join(os.path.dirname(d.program), "boskos-replay")
        done = subprocess.run([program, "--data-dir", d.data_dir, *words], text=True, capture_output=True,
                              timeout=boskosd.PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        return done.stdout


class Import(ImportTest):

    def test_there_and_back(self):
        d = self.daemon(config=CONFIG)
        self.assertEqual(self.imported(d), f"imported 7 resources, 3 of them owned, and 2 life cycles into "
                                           f"{d.journal}\n")
        wanted = essence(dump())
        self.assertEqual(self.replay(d, "show", "--kubernetes"), wanted)
        # What it wrote is read as the same again.
        other = self.daemon(data_dir=os.path.join(d.folder, "other"))
        self.imported(other, "-", wanted)
        self.assertEqual(self.replay(other, "show", "--kubernetes"), wanted)
        # A start and a config later the past is as it was.
        d.start()
        d.acquire(type="aws-account")
        self.assertEqual(self.replay(d, "show", "--kubernetes", "--at", "1"), wanted)
        self.assertEqual(d.stop(), 0)
        self.assertEqual(self.replay(d, "show", "--kubernetes", "--at", "1"), wanted)
        self.assertIn("are as stored", self.replay(d, "verify"))
        now = json.loads(self.replay(d, "show", "--kubernetes", "--type", "aws-cluster"))
        self.assertEqual([(i["kind"], i["metadata"]["name"]) for i in now["items"]],
                         [("ResourceObject", "6f1f7b0c-25f4-4b88-9a57-8f2f1c3d9e01"), ("DRLCObject", "aws-cluster")])
        self.assertEqual(now["items"][1]["spec"]["needs"], {"aws-account": 1})
        self.assertEqual(now["items"][1]["spec"]["config"], {"type": "AWSClusterCreator", "content": '{"nodes": 3}'})
        self.assertEqual(json.loads(self.replay(d, "show", "--kubernetes", "--at", "0"))["items"], [])
        not_yet = self.replay(d, "show", "--kubernetes", "--at", "1", "--owner", "ann", "--type", "aws-account")
        self.assertEqual(json.loads(not_yet)["items"], [])

    def test_leases_go_on(self):
        d = self.daemon(config=CONFIG)
        self.imported(d)
        d.start()
        self.assertEqual([line["kind"] for line in map(json.loads, self.replay(d, "log", "--json").splitlines())],
                         ["import", "started", "config"])
        there = d.resources()
        self.assertEqual(sorted(there), ["6f1f7b0c-25f4-4b88-9a57-8f2f1c3d9e01", "account-01", "account-02",
                                         "project-01", "project-02", "project-03", "project-05"])
        owner = "pull-kubernetes-e2e-gce-1771"
        self.assertEqual(there["project-01"]["lastupdate"], "2026-02-28T23:59:41Z")
        self.assertEqual(d.update("project-01", {"k": "v"}, owner="somebody").status, 401)
        self.assertEqual(d.update("project-01", {"k": "v"}, owner=owner).status, 200)
        self.assertEqual(d.release("project-01", dest="dirty", owner=owner).status, 200)
        self.assertEqual(d.resources()["project-01"]["userdata"], {"k": "v"})
        # Free since before the one that the config brought.
        self.assertEqual(d.acquire(type="gce-project").json["name"], "project-02")
        self.assertEqual(d.acquire(type="gce-project").json["name"], "project-05")
        # The janitor's, and the cluster with what is leased to it.
        self.assertEqual(d.release("project-03", owner="Janitor").status, 200)
        cluster = "6f1f7b0c-25f4-4b88-9a57-8f2f1c3d9e01"
        taken = d.call("POST", "/acquirebystate", state=cluster, dest=cluster, owner="pull-aws-e2e-1772",
                       names="account-02")
        self.assertEqual([r["name"] for r in taken.json], ["account-02"])
        self.assertEqual(d.release(cluster, dest="dirty", owner="pull-aws-e2e-1772").status, 200)
        self.assertNotEqual(d.resources()[cluster]["expiration-date"], "2099-03-02T10:00:00Z")
        self.assertEqual(d.kill(), -9)
        d.start()
        self.assertEqual(d.resources()["project-05"]["owner"], "ann")
        self.assertEqual(d.stop(), 0)
        self.assertIn("are as stored", self.replay(d, "verify"))

    def test_what_the_config_deletes_later(self):
        d = self.daemon(config="resources:\n- type: gce-project\n  names: [project-02]\n")
        self.imported(d)
        d.start()
        self.assertEqual(sorted(d.resources()), ["6f1f7b0c-25f4-4b88-9a57-8f2f1c3d9e01", "project-01", "project-02",
                                                 "project-03"])
        self.assertEqual(d.release("project-01", owner="pull-kubernetes-e2e-gce-1771").status, 200)
        self.assertEqual(d.release("project-03", owner="Janitor").status, 200)
        self.assertEqual(d.names("gce-project"), ["project-02"])

    def test_a_bad_config_changes_nothing(self):
        d = self.daemon(config="resources: []\n")
        self.imported(d)
        d.launch()
        self.assertEqual(d.wait(), 1)
        self.assertEqual(self.replay(d, "show", "--kubernetes"), essence(dump()))
        boskosd.put_file(d.config_path, CONFIG)
        d.start()
        self.assertEqual(d.resources()["project-01"]["owner"], "pull-kubernetes-e2e-gce-1771")

    def test_documents(self):
        items = dump()["items"]
        resources = [i for i in items if i["kind"] == "ResourceObject"]
        cycles = [i for i in items if i["kind"] == "DRLCObject"]
        wanted = essence(dump())
        both = json.dumps({"kind": "List", "items": resources}) + json.dumps({"kind": "DRLCObjectList", "items": cycles})
        one_by_one = "\n".join(json.dumps(i, indent=2) for i in reversed(items))
        folder = self.daemon().folder
        for name, text in (("both", both), ("one by one", one_by_one)):
            d = self.daemon(data_dir=os.path.join(folder, name))
            self.imported(d, "-", text)
            self.assertEqual(self.replay(d, "show", "--kubernetes"), wanted)
        d = self.daemon(data_dir=os.path.join(folder, "alone"))
        self.assertEqual(self.imported(d, "-", json.dumps(resources[3])),
                         f"imported 1 resource, 1 of them owned, and 0 life cycles into {d.journal}\n")

    def test_export(self):
        d = self.daemon(config=CONFIG)
        self.imported(d)
        d.start()
        self.assertEqual(d.stop(), 0)
        for flags in ([], ["--redact"], ["--with-userdata"]):
            for start in ([], ["--from", "2"]):
                file = os.path.join(d.folder, "-".join(["part", *flags, *start]))
                self.replay(d, "export", *flags, *start, "--to", file)
                program = os.path.join(os.path.dirname(d.program), "boskos-replay")
                done = subprocess.run([program, "--file", file, "verify"], text=True, capture_output=True,
                                      timeout=boskosd.PATIENCE, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                shown = subprocess.run([program, "--file", file, "show", "--kubernetes", "--at", "1"], text=True,
                                       capture_output=True, timeout=boskosd.PATIENCE, check=False)
                self.assertEqual(len(json.loads(shown.stdout)["items"]), 9, shown.stderr)
                for text in ("project-01", "Janitor", "AWSClusterCreator", "nodes", "aws-account"):
                    self.assertEqual(text in shown.stdout, "--redact" not in flags, text)
                self.assertEqual("kubeconfig" in shown.stdout, "--with-userdata" in flags)


class Refused(ImportTest):

    def test_not_empty(self):
        d = self.daemon(config=CONFIG)
        self.imported(d)
        self.refused(d, 1, f"{d.journal} has commands already, the last one is 1", "--data-dir", file=DUMP)
        self.assertEqual(self.replay(d, "show", "--kubernetes"), essence(dump()))
        d.start()
        self.refused(d, 1, "another boskosd", file=DUMP)
        seq = d.seq()
        self.assertEqual(d.stop(), 0)
        self.refused(d, 1, f"the last one is {seq}", file=DUMP)

    def test_bad_dumps(self):
        whole = dump()
        whole["items"][3]["status"]["state"] = ""
        whole["items"][4]["metadata"]["name"] = "project-01"
        whole["items"][7]["spec"]["max-count"] = -1
        d = self.daemon()
        wrong = self.refused(d, 1, text=json.dumps(whole))
        self.assertEqual(wrong.splitlines(), [
            "boskosd: --import: -: items[3] (ResourceObject project-01): status.state: it is empty",
            "boskosd: --import: -: items[7] (DRLCObject aws-cluster): spec.max-count: it is negative",
            "boskosd: --import: -: items[7] (DRLCObject aws-cluster): spec.min-count: it is above max-count",
            "boskosd: --import: -: items[4] (ResourceObject project-01): its name is there twice, the first time at "
            "items[3]",
            "boskosd: --import: nothing was imported"])
        for text in ("", "{", "[]", '{"kind":"List","items":[]}', "resources: []", "\udcff\0"):
            self.refused(d, 1, "nothing was imported", text=text.encode("utf-8", "surrogateescape").decode("latin-1"))
        self.assertFalse(os.path.exists(d.data_dir), "no folder was expected to be made")
        self.imported(d)

    def test_no_file(self):
        d = self.daemon()
        missing = os.path.join(d.folder, "none.json")
        self.refused(d, 2, f"boskosd: --import: {missing}: No such file", file=missing)
        self.refused(d, 2, "Is a directory", file=d.folder)
        self.assertFalse(os.path.exists(d.data_dir))

    def test_no_folder(self):
        d = self.daemon()
        below = os.path.join(d.folder, "none", "none")
        code, said, wrong = self.run_import(d, DUMP, flags=["--data-dir", below])
        self.assertEqual((code, said), (1, ""))
        self.assertIn(below, wrong)


if __name__ == "__main__":
    unittest.main()
