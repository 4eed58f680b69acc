"""One request and its reply, as a value or an error. A connection for each: nothing is sent twice unseen.

Something between may answer in the server's place. A refusal, and a good reply that says nothing, are believed from a
Boskos only: see `code_of`.
"""

import base64
import http.client
import json
import re
import socket
import ssl
import time
import urllib.parse
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import errors

REPLY_BYTES_MAX = 512 * 1024 * 1024
PIECE = 65536
LOGGED = ("/acquire", "/acquirebystate", "/release", "/update", "/reset")
# By what words a Boskos refuses what. Where there is boskosd's number, they only tell two refusals apart, and the first
# stands for any other words.
REFUSALS: Dict[Tuple[int, str], Tuple[Tuple[bytes, type], ...]] = {
    (401, "/acquire"): ((b"owner mismatch", errors.OwnerMismatch),),
    (401, "/release"): ((b"owner mismatch", errors.OwnerMismatch),),
    (401, "/update"): ((b"owner mismatch", errors.OwnerMismatch),),
    (404, "/acquire"): ((b"no available resource", errors.NotAvailable),
                        (b"resource type .*does not exist", errors.NoType)),
    (404, "/acquirebystate"): ((b"no available resource", errors.NotAvailable),),
    (404, "/release"): ((b"no available resource", errors.NotFound),),
    (404, "/update"): ((b"no available resource", errors.NotFound),),
    (404, "/metric"): ((b"no available resource", errors.NoType),),
    (409, "/acquire"): ((b"belongs to a lease that was acquired with other parameters", errors.KeyConflict),),
    (409, "/update"): ((b"state mismatch", errors.StateMismatch),),
}
NOT_DONE = (b"the server's disk is full.", b"the server is shutting down.")  # a 503 of boskosd itself


class Secret:
    """The content of a file, read anew before each request; what was there before counts while it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, encoding="utf-8") as f:
            self.value = f.read().strip()

    def get(self) -> str:
        try:
            with open(self.path, encoding="utf-8") as f:
                self.value = f.read().strip()
        except OSError:
            pass
        return self.value


class Reply:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.has_seq = re.fullmatch(r"[0-9]{1,19}", headers.get("boskos-seq", "").strip()) is not None

    @property
    def text(self) -> str:
        """Why it was refused, in one line."""
        text = self.body.decode("utf-8", "replace")
        if self.headers.get("content-type", "").startswith("application/problem+json"):
            try:
                text = str(json.loads(text)["detail"])
            except (ValueError, KeyError, TypeError):
                pass
        text = " ".join(text.split())[:400]
        return text if text and "<" not in text else f"the server answered with status {self.status}"

    def json(self, kind: type) -> Any:
        """The body. ValueError when it is no JSON value of the kind."""
        try:
            value = json.loads(self.body)
        except RecursionError as e:
            raise ValueError("JSON that is nested too deep") from e
        if not isinstance(value, kind):
            raise ValueError("JSON of another kind")
        return value


def doubtful(error: errors.BoskosError, late: bool = False) -> errors.BoskosError:
    """The server may have done it. late: it may also do it yet."""
    error.doubted = True
    error.late = late  # type: ignore[attr-defined]
    return error


def refusal_of(action: str, reply: Reply) -> type:
    """The class of the error that a 401, 404 or 409 says."""
    rules = REFUSALS.get((reply.status, action), ())
    for words, kind in rules:
        if re.search(words, reply.body, re.DOTALL):
            return kind
    if rules and reply.has_seq:
        return rules[0][1]
    return errors.AuthError if reply.status == 401 else errors.BadReply


def code_of(action: str, reply: Reply, is_boskosd: bool) -> Optional[type]:
    """The class of the error that a reply is, None for a good one.

    boskosd numbers every reply to a command that is logged. Where it is known that the server is boskosd, a reply without
    is not its reply. The original server has no numbers: what refuses must do so in its words.
    """
    status = reply.status
    if is_boskosd and action in LOGGED and status in (200, 401, 404, 409) and not reply.has_seq:
        return errors.BadReply
    if action.startswith("/v1/") and (status == 404 or (status == 200 and not reply.body)):
        if status == 404 and "problem+json" in reply.headers.get("content-type", ""):
            return errors.NotFound
        return errors.BadReply if is_boskosd else errors.Unsupported
    if status == 200:
        return errors.BadReply if action in ("/release", "/update") and reply.body else None
    if status in (401, 404, 409):
        return refusal_of(action, reply)
    if status in (403, 407):
        return errors.AuthError
    if status == 429 or status >= 500:
        return errors.ServerError
    if status >= 400:
        return errors.Refused
    return errors.Redirected if status >= 300 else errors.BadReply


class Transport:
    def __init__(self, url: str, username: Optional[str], password_file: Optional[str], token_file: Optional[str],
                 ca_file: Optional[str], connect_timeout: float, request_timeout: float) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f'"{url}" is not the URL of a server: http://HOST:PORT or https://HOST:PORT')
        if (username is None) != (password_file is None):
            raise ValueError("username and password_file must be given together")
        if username is not None and token_file is not None:
            raise ValueError("a username and a token exclude each other")
        self.url, self.parts, self.prefix = url.rstrip("/"), parts, parts.path.rstrip("/")
        self.username = username
        self.password = Secret(password_file) if password_file is not None else None
        self.token = Secret(token_file) if token_file is not None else None
        self.context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self.connect_timeout, self.request_timeout = connect_timeout, request_timeout
        self.is_boskosd = False  # for good, once a reply had a number

    def _headers(self, body: Optional[bytes], key: Optional[str]) -> Dict[str, str]:
        headers = {"User-Agent": "boskos-python/0.4.0"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        if self.password is not None:
            pair = f"{self.username}:{self.password.get()}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        elif self.token is not None:
            headers["Authorization"] = "Bearer " + self.token.get()
        return headers

    def _connect(self, end: float) -> http.client.HTTPConnection:
        timeout = max(0.001, min(self.connect_timeout, end - time.monotonic()))
        host, port = self.parts.hostname or "", self.parts.port
        c: http.client.HTTPConnection
        if self.context is not None:
            c = http.client.HTTPSConnection(host, port, timeout=timeout, context=self.context)
        else:
            c = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            c.connect()
        except (OSError, http.client.HTTPException) as e:
            c.close()
            raise errors.ConnectError(f"{self.url}: {e}") from e
        return c

    def _read(self, c: http.client.HTTPConnection, end: float) -> Reply:
        def left() -> float:
            seconds = end - time.monotonic()
            if seconds <= 0:
                raise socket.timeout("timed out")
            return seconds

        assert c.sock is not None
        sock = c.sock  # http.client forgets it when the server closes after the reply
        sock.settimeout(left())
        response = c.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        body = bytearray()
        while not response.isclosed():
            sock.settimeout(left())
            piece = response.read(PIECE)
            if not piece:
                break
            body += piece
            if len(body) > REPLY_BYTES_MAX:
                raise errors.BadReply(f"{self.url}: the reply is too large")
        size = headers.get("content-length", "")
        if size.isdigit() and len(body) < int(size):
            raise http.client.IncompleteRead(bytes(body))
        return Reply(response.status, headers, bytes(body))

    def send(self, method: str, action: str, parameters: List[Tuple[str, str]], body: Optional[bytes] = None,
             key: Optional[str] = None, end: Optional[float] = None) -> Reply:
        """The reply of a good call; an error for everything else."""
        until = time.monotonic() + self.request_timeout
        until = until if end is None else min(until, end)
        query = urllib.parse.urlencode(parameters)
        connection = self._connect(until)
        try:
            headers = self._headers(body, key)
            connection.request(method, self.prefix + action + ("?" + query if query else ""),
                               body if body is not None or method == "GET" else b"", headers)
            reply = self._read(connection, until)
        except socket.timeout as e:
            raise doubtful(errors.Timeout(f"{self.url}: no answer in time"), late=True) from e
        except (http.client.BadStatusLine, http.client.LineTooLong) as e:
            is_closed = isinstance(e, http.client.RemoteDisconnected)
            kind = errors.LostReply if is_closed else errors.BadReply
            raise doubtful(kind(f"{self.url}: {'the connection was closed' if is_closed else 'no HTTP'}")) from e
        except (OSError, http.client.HTTPException) as e:
            raise doubtful(errors.LostReply(f"{self.url}: the connection broke: {e!r}")) from e
        finally:
            connection.close()
        return self._judge(action, reply)

    def _judge(self, action: str, reply: Reply) -> Reply:
        self.is_boskosd = self.is_boskosd or reply.has_seq
        kind = code_of(action, reply, self.is_boskosd)
        if kind is None:
            return reply
        if kind is errors.Redirected:
            where = reply.headers.get("location", "nowhere")
            error = kind(f"{self.url} redirects ({reply.status}) to {where}: give the URL of the server itself")
        elif kind is errors.BadReply:
            error = kind(f"{self.url}{action}: what was answered is no reply of Boskos (status {reply.status})")
        elif kind is errors.Unsupported:
            error = kind(f"{self.url} is not boskosd: it has no {action}")
        else:
            error = kind(reply.text)
        error.status = reply.status
        error.has_seq = reply.has_seq
        retry = reply.headers.get("retry-after", "")
        error.retry_after = float(retry) if retry.isdigit() and len(retry) < 6 else 0.0
        # A 5xx may come from something between that had no patience, unless it is boskosd's own.
        is_own = reply.has_seq or (reply.status == 503 and reply.body.strip() in NOT_DONE)
        if kind is errors.BadReply or (reply.status >= 500 and not is_own):
            doubtful(error, late=kind is errors.ServerError)
        raise error
