"""The servers that are measured: started in folders of their own on ports from the kernel, ended by their process ids.

Each gets the signal to end when this process dies, however it dies. Programs of Debian's packages are looked for on
the PATH and then below build/peers/root, where `./dev bench` unpacks what is not installed: so no service is started
and nothing outside of build/ is changed. Standard library only.
"""

import base64
import ctypes
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.path.join(TOP, "build", "peers", "root")
PATIENCE = 600  # seconds until something that is waited for counts as not coming
NEVER = 10**12  # commands: no snapshot
NOBODY = 65534
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class CannotMeasure(Exception):
    """Says why."""


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_parent():
    """In a child, before its program runs."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def die_and_pin():
    die_with_parent()
    os.sched_setaffinity(0, {0})


def names_of(kind, count):
    return [f"{kind}-{i:07d}" for i in range(count)]


def unpacked_libraries():
    return ":".join(sorted({os.path.dirname(p) for p in glob.glob(os.path.join(PEERS, "usr", "lib", "*", "*.so*"))}))


def find_program(name, folders=()):
    """The path of a program of a Debian package; None when it is not there."""
    for pattern in (*folders, *(os.path.join(PEERS, f.lstrip("/")) for f in folders)):
        for path in sorted(glob.glob(os.path.join(pattern, name)), reverse=True):
            if os.access(path, os.X_OK):
                return path
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found:
        return found
    for folder in ("usr/bin", "usr/sbin"):
        path = os.path.join(PEERS, folder, name)
        if os.access(path, os.X_OK):
            return path
    return None


class Server:
    """One server. `kind` is what boskos-bench calls the peer, `name` what the tables do."""

    kind = name = ""

    def __init__(self, bench):
        self.bench = bench
        self.folder = bench.make_folder(self.name)
        self.log_path = self.folder + ".log"
        self.port, self.process = 0, None

    def launch(self, command, stdout=None, new_user=None):
        environment = dict(os.environ)
        libraries = unpacked_libraries()
        if libraries and not command[0].startswith(os.path.join(TOP, "build", "release")):
            before = environment.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = libraries + (":" + before if before else "")
        more = {"user": new_user, "group": new_user, "extra_groups": []} if new_user is not None else {}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, cwd=self.folder, env=environment,
                start_new_session=True, preexec_fn=die_and_pin if self.bench.options.pin else die_with_parent, **more)
        self.bench.servers.append(self)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_for(self, what, condition, pause=0.02):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise CannotMeasure(f"{self.name} ended with {self.process.returncode}: {self.log()[-600:]}")
            if time.monotonic() > end:
                raise CannotMeasure(f"waited {PATIENCE} s for {what} of {self.name}")
            time.sleep(pause)

    def is_listening(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True

    def settle(self):
        """Waits until nothing of the last load is left to do."""

    def stop(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process is not None:
            self.process.wait()
        if self in self.bench.servers:
            self.bench.servers.remove(self)

    def end(self):
        """Ends it at once and removes what it kept."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def rss_anon(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) * 1024


class Boskosd(Server):
    """Ours. `types` is {type: how many resources}."""

    kind = name = "boskos"

    def __init__(self, bench, types, snapshot_every=NEVER, log_level="error", flags=()):
        super().__init__(bench)
        self.config = self.folder + ".yaml"
        self.snapshot_every, self.log_level, self.flags = snapshot_every, log_level, list(flags)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("resources:\n")
            for kind, count in types.items():
                f.write(f"- type: {kind}\n  state: free\n  names:\n")
                f.writelines(f"  - {name}\n" for name in names_of(kind, count))
        self.start()

    def start(self):
        for _ in range(5):
            self.port, self.metrics_port = free_port(), free_port()
            self.launch([self.bench.program("boskosd"), "--config", self.config, "--data-dir", self.folder,
                         "--address", "127.0.0.1", "--port", str(self.port), "--health-port", "0", "--metrics-port",
                         str(self.metrics_port), "--request-ttl", "24h", "--snapshot-every", str(self.snapshot_every),
                         "--log-level", self.log_level, *self.flags])
            try:
                self.wait_for("an answer", lambda: self.call("GET", "/")[0] == 200)
                return
            except CannotMeasure:
                self.stop()
                if "in use" not in self.log().lower():
                    raise
        raise CannotMeasure("no port was free for boskosd")

    def call(self, method, target, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            connection.request(method, target)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def must(self, method, target):
        status, body = self.call(method, target)
        if status != 200:
            raise CannotMeasure(f"{method} {target[:80]}: {status} {body[:200]}")
        return body

    def metrics(self):
        """{name without labels: sum over its labels}"""
        page = {}
        for line in self.call("GET", "/metrics", self.metrics_port)[1].splitlines():
            match = re.match(r"([a-z_]+)(?:\{.*\})? ([0-9.e+-]+)$", line)
            if match and "_bucket{" not in line:
                page[match[1]] = page.get(match[1], 0) + float(match[2])
        return page

    def settle(self):
        """Until the shadow has followed as far as it can for now."""
        before = None
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            lag = self.metrics()["boskosd_shadow_lag_commands"]
            if lag == before:
                return
            before = lag
            time.sleep(0.1)
        raise CannotMeasure("the shadow does not come to rest")

    def take_all(self, kind, count, dest, owners):
        """Makes the first `count` free resources of a type owned, in state `dest`."""
        names = names_of(kind, count)
        for i in range(0, count, 300):
            part = ",".join(names[i:i + 300])
            self.must("POST", f"/acquirebystate?state=free&dest={dest}&owner=keeper-{i // 300 % owners}&names={part}")


class Raw(Server):
    """The journal alone behind an epoll: boskos-bench raw-server."""

    kind, name = "boskos", "raw"

    def __init__(self, bench, types):
        super().__init__(bench)
        self.launch([bench.program("boskos-bench"), "raw-server", "--data-dir", self.folder,
                     "--resources", str(types["t"])], stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise CannotMeasure(f"raw-server: {self.log()[-300:]}")
        self.port = json.loads(line)["port"]


class Boskos(Server):
    """A Boskos, or another server that takes its command line and speaks its protocol: --peer boskos=PATH."""

    kind, name = "boskos", "upstream"

    def __init__(self, bench, types):
        super().__init__(bench)
        config = os.path.join(self.folder, "config.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write("resources:\n- type: t\n  state: free\n  names:\n")
            f.writelines(f"  - {name}\n" for name in names_of("t", types["t"]))
        self.port = free_port()
        self.launch([bench.boskos, "--config", config, "--port", str(self.port), "--health-port", str(free_port()),
                     "--metrics-port", str(free_port()), "--in_memory", "--log-level", "error"])
        self.wait_for("its port", self.is_listening)


class Redis(Server):
    """With its append-only file flushed before each answer, and without snapshots."""

    kind = name = "redis"

    @staticmethod
    def program():
        return find_program("redis-server")

    def __init__(self, bench, types):
        super().__init__(bench)
        self.port = free_port()
        # A link of the package; the program goes by the name it was called by.
        self.launch([self.program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder,
                     "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"])
        self.wait_for("its port", self.is_listening)
        self.wait_for("an answer", lambda: self.command(b"PING") == b"+PONG\r\n")
        names = names_of("t", types["t"])
        for i in range(0, len(names), 1000):
            self.command(b"RPUSH", b"free", *(n.encode() for n in names[i:i + 1000]))

    def command(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            return s.recv(4096)


class Postgres(Server):
    """As it comes, but for enough connections: fsync and synchronous_commit are on."""

    kind, name = "postgres", "postgresql"
    folders = ("/usr/lib/postgresql/*/bin",)

    @classmethod
    def program(cls):
        return find_program("postgres", cls.folders) if find_program("initdb", cls.folders) else None

    def __init__(self, bench, types):
        super().__init__(bench)
        data = os.path.join(self.folder, "data")
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(self.folder, user, user)
            open(self.log_path, "ab").close()
        self.port = free_port()
        self.run([find_program("initdb", self.folders), "-D", data, "-U", "bench", "-A", "trust", "--locale=C",
                  "--encoding=UTF8", "--no-instructions"], user)
        self.launch([self.program(), "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c",
                     "unix_socket_directories=", "-c", "max_connections=400"], new_user=user)
        self.wait_for("its port", self.is_listening)
        sql = ("create table lease(name text primary key, type text not null, state text not null, owner text not "
               "null, updated timestamptz not null); insert into lease select 't-' || lpad(i::text, 7, '0'), 't', "
               f"'free', '', clock_timestamp() from generate_series(0, {types['t'] - 1}) as i; create index free on "
               "lease (type, state, updated, name) where owner = ''; analyze lease")
        end = time.monotonic() + 60
        while True:  # it listens before it lets anybody in
            try:
                query(self.port, sql)
                return
            except (OSError, CannotMeasure):
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def run(self, command, user):
        more = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
        environment = dict(os.environ, LD_LIBRARY_PATH=unpacked_libraries())
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.folder,
                              env=environment, check=False, timeout=PATIENCE, **more)
        if done.returncode != 0:
            raise CannotMeasure(f"{os.path.basename(command[0])}: {done.stderr[-500:]}")

    def stop(self, number=signal.SIGTERM):
        # SIGINT is its quick end; after a SIGKILL its children would be left for a moment.
        super().stop(signal.SIGINT)


def query(port, sql):
    """Runs a text of statements on PostgreSQL, in its protocol."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        body = (3 << 16).to_bytes(4, "big") + b"user\0bench\0database\0postgres\0\0"
        s.sendall((len(body) + 4).to_bytes(4, "big") + body)
        messages(s)
        text = sql.encode() + b"\0"
        s.sendall(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)
        messages(s)


def messages(s):
    """Reads up to the message that says that the server is ready."""
    with s.makefile("rb") as f:
        while True:
            head = f.read(5)
            if len(head) < 5:
                raise CannotMeasure("PostgreSQL ended the connection")
            body = f.read(int.from_bytes(head[1:], "big") - 4)
            if head[:1] == b"E":
                raise CannotMeasure("PostgreSQL: " + body.replace(b"\0", b" ").decode(errors="replace"))
            if head[:1] == b"Z":
                return


class Etcd(Server):
    """One member, as it comes."""

    kind = name = "etcd"

    @staticmethod
    def program():
        return find_program("etcd")

    def __init__(self, bench, types):
        super().__init__(bench)
        self.port, peer = free_port(), free_port()
        url, peer_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self.launch([self.program(), "--data-dir", os.path.join(self.folder, "data"), "--listen-client-urls", url,
                     "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
                     "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}"])
        self.wait_for("its port", self.is_listening)
        self.wait_for("an answer", self.takes_writes, 0.1)

    def takes_writes(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            text = base64.b64encode(b"probe").decode()
            connection.request("POST", "/v3/kv/put", json.dumps({"key": text, "value": text}))
            return connection.getresponse().status == 200
        finally:
            connection.close()


class Beanstalkd(Server):
    """With its log flushed before each answer."""

    kind = name = "beanstalkd"

    @staticmethod
    def program():
        return find_program("beanstalkd")

    def __init__(self, bench, types):
        super().__init__(bench)
        self.port = free_port()
        self.launch([self.program(), "-l", "127.0.0.1", "-p", str(self.port), "-b", self.folder, "-f0"])
        self.wait_for("its port", self.is_listening)


OTHERS = (Redis, Postgres, Etcd, Beanstalkd)
