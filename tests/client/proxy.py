"""A proxy that does to requests what networks and broken servers do, by a script.

    proxy = Proxy(("127.0.0.1", port))   # in front of that server
    proxy.script = ["500", "lose", "pass"]   # what happens to the next requests, one each; then "pass"
    proxy.only = "/release"                  # the script is for requests of this path; others pass
    proxy.only = ("/release", "name=car-1")  # or also with this in their parameters

What can happen to a request (times in seconds):

    pass             it is forwarded, and its reply sent back
    refuse           the connection is closed at once, unread, with a reset
    close            the request is read, not forwarded, and the connection closed
    lose             it is forwarded, its reply thrown away, the connection closed: a lost reply
    half             it is forwarded; of the reply the head and half of the body are sent, then the end
    cut              it is forwarded; half of the body is sent as if it were whole
    delay:S          it waits before it is forwarded; who is gone by then has still asked
    slow:S           it is forwarded, and the reply comes after S
    hang             it is read, and nothing comes, until the client goes
    garbage          bytes that are no HTTP
    html             200 with a page
    empty            200 with nothing
    redirect         302 to another path of the proxy
    503:S            503 with Retry-After: S, not forwarded
    say:TEXT         200 with this text, not forwarded
    NNN              that status, not forwarded
    NNN!             it is forwarded, and that status comes in place of the reply

`proxy.is_original` makes the server look like the original one: it has nothing below /v1/ and numbers no commands.
`proxy.seen` has (method, target, headers, body) of every request, `proxy.down` makes it refuse everything.
Each connection has one request. Standard library only.
"""

import socket
import struct
import threading
import time

PATIENCE = 60


def read_message(s):
    """The head and the body of a request or reply with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return None, b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    size = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    while len(body) < size:
        piece = s.recv(65536)
        if not piece:
            break
        body += piece
    return head, body


def closed(head):
    """The head with a line that says that the connection ends."""
    return head + b"\r\nConnection: close\r\n\r\n"


def plain(status, body=b"", more=b""):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nContent-Type: text/html\r\n%sConnection: close\r\n\r\n%s" % (
        status, len(body), more, body)


class Proxy:
    def __init__(self, server=None):
        self.server = server
        self.script, self.seen, self.only, self.down = [], [], None, False
        self.is_original = False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_ended = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self):
        self.is_ended = True
        self.listener.close()

    def targets(self, path):
        """The targets of the requests for a path."""
        with self.lock:
            return [s[1] for s in self.seen if s[1].split("?")[0] == path]

    def _accept(self):
        while not self.is_ended:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        s.settimeout(PATIENCE)
        try:
            with s:
                self._one(s)
        except OSError:
            pass

    def _fits(self, target):
        path, _, parameters = target.partition("?")
        if self.only is None or isinstance(self.only, str):
            return self.only in (None, path)
        return path == self.only[0] and self.only[1] in parameters

    def _reset(self, s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _one(self, s):
        if self.down:
            return self._reset(s)
        with self.lock:
            if self.only is None and self.script[:1] == ["refuse"]:
                self.script.pop(0)
                return self._reset(s)
        head, body = read_message(s)
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target = lines[0].split(" ")[:2]
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
        with self.lock:
            self.seen.append((method, target, headers, body))
            action = self.script.pop(0) if self.script and self._fits(target) else "pass"
        if self.is_original and target.startswith("/v1/"):
            action = "empty"
        return self._act(s, action, head, body)

    def _ask(self, head, body):
        with socket.create_connection(self.server, timeout=PATIENCE) as up:
            up.sendall(closed(head) + body)
            return read_message(up)

    def _act(self, s, action, head, body):
        name, _, argument = action.partition(":")
        if name in ("refuse", "close"):
            return self._reset(s) if name == "refuse" else None
        if name == "hang":
            return s.recv(1)
        if name == "garbage":
            return s.sendall(b"\x00\x01 220 smtp.example.com ESMTP\r\n\r\nnothing of this is HTTP")
        if name == "html":
            return s.sendall(plain(200, b"<html><title>Sign in</title></html>"))
        if name == "empty":
            return s.sendall(plain(200))
        if name == "redirect":
            return s.sendall(plain(302, b"", b"Location: http://elsewhere.example/login\r\n"))
        if name == "503" and argument:
            return s.sendall(plain(503, b"busy\n", b"Retry-After: %s\r\n" % argument.encode()))
        if name == "say":
            return s.sendall(plain(200, argument.encode()))
        if name.isdigit():
            return s.sendall(plain(int(name), b"a fault of the proxy's\n"))
        if name == "delay":
            time.sleep(float(argument))
        return self._forward(s, name, argument, head, body)

    def _forward(self, s, name, argument, head, body):
        if self.is_original:
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"idempotency-key"))
        reply, content = self._ask(head, body)
        if self.is_original:
            reply = b"\r\n".join(line for line in reply.split(b"\r\n") if not line.lower().startswith(b"boskos-seq"))
        if name == "lose":
            return None
        if name.endswith("!"):
            return s.sendall(plain(int(name[:-1]), b"a fault of the proxy's\n"))
        if name == "slow":
            time.sleep(float(argument))
        if name == "half":
            return s.sendall(closed(reply) + content[:len(content) // 2])
        if name == "cut":
            return s.sendall(plain(200, content[:len(content) // 2]))
        return s.sendall(closed(reply) + content)
