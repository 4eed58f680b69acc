"""What the tests of boskos-replay share: folders in memory, what is in one, and running a program on it."""

import concurrent.futures
import hashlib
import os
import stat
import subprocess
import tempfile

JOBS = 2  # programs at a time
SECONDS_MAX = 60  # a program may take: what hangs does so for ever


def temporary():
    """A folder that is removed at the end of its `with`, in memory where that can be had."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="boskos-replay-", dir=memory)


def look(top):
    """A file, or everything below a folder: for each name its mode, size, time of change, and a hash of its content."""
    found = {}
    places = [top]
    for path, names, files in os.walk(top):
        places += [os.path.join(path, name) for name in names + files]
    for place in places:
        status = os.lstat(place)
        content = ""
        if stat.S_ISREG(status.st_mode):
            with open(place, "rb") as f:
                content = hashlib.sha256(f.read()).hexdigest()
        name = os.path.relpath(place, top)
        found[name] = (stat.filemode(status.st_mode), status.st_size, status.st_mtime_ns, content)
    return found


def changes(before, after):
    """What differs between two looks, one line each."""
    return [f"{name}: {before.get(name, 'not there')} -> {after.get(name, 'not there')}"
            for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


class Ended:
    """How a program ended: its exit code, below 0 for a signal, None when it had to be killed."""

    def __init__(self, command, seconds=SECONDS_MAX):
        self.command = command
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}) as process:
            try:
                self.out, self.err = process.communicate(timeout=seconds)
                self.code = process.returncode
            except subprocess.TimeoutExpired:
                process.kill()
                self.out, self.err = process.communicate()
                self.code = None

    def __str__(self):
        how = "killed, it took too long" if self.code is None else f"exit code {self.code}"
        return f"{' '.join(self.command)}: {how}\n{self.err.decode(errors='replace')[:2000]}"


def each(work, items):
    """work(item) of all items, JOBS at a time; what comes of them in the items' order, as it comes."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
