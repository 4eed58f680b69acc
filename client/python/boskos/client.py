"""The client: calls with repetition, what is held, and the thread behind it."""

import calendar
import contextlib
import json
import logging
import random
import re
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from . import errors
from .transport import Reply, Transport, doubtful

log = logging.getLogger("boskos")

LAST_QUESTION_S = 2.0  # for the answer to the last question of a wait
LOOK_AFTER_S = 300.0  # a release that could not be sent for so long is looked at first
SLACK_S = 0.001
SETTLE_FIRST_S, SETTLE_MOST_S = 0.5, 30.0
PAGE = 500
HELD_MAX, PENDING_MAX = 1000000, 100000
LOST = (errors.OwnerMismatch, errors.StateMismatch, errors.NotFound)


@dataclass(frozen=True)
class Resource:
    type: str
    name: str
    state: str
    owner: str
    lastupdate: str
    userdata: Dict[str, str] = field(default_factory=dict)
    expiration_date: Optional[str] = None

    @staticmethod
    def parse(value: Any) -> "Resource":
        """From the JSON of a server. ValueError when it is none."""
        texts = [value.get(k) if isinstance(value, dict) else None
                 for k in ("type", "name", "state", "owner", "lastupdate")]
        userdata = value.get("userdata") if isinstance(value, dict) else None
        if not all(isinstance(t, str) for t in texts) or not texts[1]:
            raise ValueError("no resource")
        if userdata is not None and not isinstance(userdata, dict):
            raise ValueError("no userdata")
        return Resource(*texts, userdata=dict(userdata or {}),  # type: ignore[misc]
                        expiration_date=value.get("expiration-date"))

    @property
    def leased(self) -> List[str]:
        """The names in the userdata's leasedResources. LeasedError when it is no list of names."""
        text = self.userdata.get("leasedResources", "").strip()
        flow = re.fullmatch(r"\[(.*)\]", text, re.S)
        items = flow.group(1).split(",") if flow else [re.sub(r"^\s*-(\s|$)", "\0", line)
                                                       for line in text.splitlines() if line.strip()]
        if flow and not flow.group(1).strip():
            return []
        if not flow and any(not item.startswith("\0") for item in items):
            raise errors.LeasedError(f"{self.name}: the userdata's leasedResources is no list of names")
        names = [item.strip("\0 \t\r\n\"'") for item in items]
        if not all(re.fullmatch(r"[A-Za-z0-9]([-.A-Za-z0-9]*)", name) for name in names):
            raise errors.LeasedError(f"{self.name}: the userdata's leasedResources is no list of names")
        return names


@dataclass(frozen=True)
class Metric:
    type: str
    current: Dict[str, int]
    owner: Dict[str, int]


class Lease:
    """What the context manager `Client.lease` gives: the resource, and whether it was lost meanwhile."""

    def __init__(self, resource: Resource, leased: List[Resource]) -> None:
        self.resource, self.leased = resource, leased
        self.lost = threading.Event()

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def userdata(self) -> Dict[str, str]:
        return self.resource.userdata


class _Held:
    def __init__(self, resource: Resource, leased: Iterable[str], due: float) -> None:
        self.resource, self.leased, self.due = resource, tuple(leased), due
        self.busy = False


class _Attempt:
    """A call in progress: how often it was tried, whether it may have been done."""

    def __init__(self, end: Optional[float], waits: bool = False, cancel: Optional[threading.Event] = None) -> None:
        self.began, self.end, self.waits, self.cancel = time.monotonic(), end, waits, cancel
        self.count, self.doubted, self.late = 0, False, False

    def note(self, error: errors.BoskosError) -> None:
        self.doubted = self.doubted or error.doubted
        self.late = self.late or getattr(error, "late", False)


class _Pending:
    def __init__(self, what: str, arguments: Tuple[str, ...], attempt: _Attempt) -> None:
        self.what, self.arguments, self.attempt = what, arguments, attempt
        self.pause = SETTLE_FIRST_S
        self.due = time.monotonic() + self.pause
        self.is_dropped = False


def _metric(value: Dict[str, Any]) -> Metric:
    """From the JSON of a server. ValueError when it is none."""
    type, counts = value.get("type"), [value.get("current"), value.get("owner")]
    if not isinstance(type, str) or not all(isinstance(c, dict) for c in counts):
        raise ValueError("no metric")
    if any(not isinstance(n, int) or isinstance(n, bool) for c in counts for n in c.values()):  # type: ignore[union-attr]
        raise ValueError("no counts")
    return Metric(type, *counts)  # type: ignore[arg-type]


def _owners(value: Dict[str, Any]) -> Dict[str, str]:
    if not all(isinstance(owner, str) for owner in value.values()):
        raise ValueError("no owners")
    return value


def _resources(value: Dict[str, Any]) -> List[Resource]:
    if not isinstance(value.get("resources"), list):
        raise ValueError("no list")
    return [Resource.parse(r) for r in value["resources"]]


def _nanoseconds(text: Any) -> int:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("no time")
    seconds = calendar.timegm(time.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S"))
    return seconds * 10**9 + int((match.group(2) or "0").ljust(9, "0"))


def duration(seconds: float) -> str:
    """As Go reads it."""
    return f"{round(seconds * 1000)}ms"


class Client:
    """Boskos for one owner. Any number of threads may use it; all times are in seconds.

    url, owner: who asks whom. username and password_file, or token_file: their content is read anew before each request.
    attempts, backoff, backoff_most: how often and how fast a call that failed is repeated. poll: from one question to the
    next while an acquire waits. call_timeout: of a call with all that is repeated.

    A call that is given up although the server may have done it is settled in the background: what was acquired goes back,
    what was to be released is. A request that something on the way delays until after that can still be done, and is left
    to a reaper; so is what is in doubt at the original server, except releases.
    """

    def __init__(self, url: str, owner: str, *, username: Optional[str] = None, password_file: Optional[str] = None,
                 token_file: Optional[str] = None, ca_file: Optional[str] = None, connect_timeout: float = 10.0,
                 request_timeout: float = 30.0, call_timeout: float = 120.0, settle_timeout: float = 5.0,
                 attempts: int = 5, backoff: float = 1.0, backoff_most: float = 15.0, poll: float = 3.0) -> None:
        if not owner:
            raise ValueError("the client has no owner")
        self.owner = owner
        self.call_timeout, self.settle_timeout, self.attempts = call_timeout, settle_timeout, attempts
        self.backoff, self.backoff_most, self.poll = backoff, backoff_most, poll
        self._transport = Transport(url, username, password_file, token_file, ca_file, connect_timeout, request_timeout)
        self._changed = threading.Condition()
        self._held: Dict[str, _Held] = {}
        self._pending: List[_Pending] = []
        self._settling: Optional[_Pending] = None
        self._asked: Dict[str, int] = {}  # by how many calls of acquire_by_state just now
        self._period, self._on_lost = 0.0, None  # type: Tuple[float, Optional[Callable[[Resource, errors.BoskosError], None]]]
        self._leases: Dict[str, Lease] = {}
        self._thread: Optional[threading.Thread] = None
        self._closing = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- repetition ----

    def _attempt(self, wait: Optional[float] = 0.0, cancel: Optional[threading.Event] = None) -> _Attempt:
        if wait is None:
            return _Attempt(None, True, cancel)
        now = time.monotonic()
        return _Attempt(now + wait, True, cancel) if wait > 0 else _Attempt(now + self.call_timeout, False, cancel)

    def _send(self, a: _Attempt, method: str, action: str, parameters: List[Tuple[str, str]],
              body: Optional[bytes] = None, key: Optional[str] = None) -> Reply:
        if a.cancel is not None and a.cancel.is_set():
            raise errors.Cancelled("cancelled")
        a.count += 1
        end = a.end
        if a.waits and end is not None:
            end = max(end, time.monotonic() + LAST_QUESTION_S)
        return self._transport.send(method, action, parameters, body, key, end)

    def _again(self, a: _Attempt, error: errors.BoskosError) -> None:
        """Pauses before the next attempt; raises the error when there is none."""
        polls = a.waits and isinstance(error, (errors.NotAvailable, errors.OwnerMismatch))
        if not polls and not error.transient:
            raise error
        if not polls and not a.waits and a.count >= self.attempts:
            raise error
        pause = min(self.backoff_most, self.backoff * 2.0 ** min(a.count - 1, 20))
        pause = pause / 2 + random.random() * pause / 2
        pause = max(pause, min(getattr(error, "retry_after", 0.0), self.backoff_most))
        if polls:
            pause, a.count = self.poll * (0.8 + random.random() * 0.4), 0
        if a.end is not None:
            left = a.end - time.monotonic()
            if left <= 0 or (pause >= left and not a.waits):
                raise error
            pause = min(pause, left)
        if not polls:
            log.warning("%s; again in %.1f s", error, pause)
        if a.cancel is not None:
            if a.cancel.wait(pause):
                raise errors.Cancelled("cancelled") from error
        else:
            time.sleep(pause)

    def _repeat(self, a: _Attempt, once: Callable[[], Any]) -> Any:
        while True:
            try:
                return once()
            except errors.BoskosError as e:
                a.note(e)
                self._again(a, e)

    def _repeat_freely(self, a: _Attempt, once: Callable[[], Any]) -> Any:
        """For what may be done twice: nothing of it is left to be settled."""
        try:
            return self._repeat(a, once)
        except errors.BoskosError as e:
            e.doubted = False
            raise

    # ---- taking ----

    def _acquire_once(self, a: _Attempt, type: str, state: str, dest: str, request_id: Optional[str],
                      key: str) -> Resource:
        parameters = [("dest", dest), ("owner", self.owner), ("state", state), ("type", type)]
        if request_id is not None:
            parameters.insert(2, ("request_id", request_id))
        reply = self._send(a, "POST", "/acquire", parameters, key=key)
        try:
            return Resource.parse(reply.json(dict))
        except ValueError as e:
            raise doubtful(errors.BadReply("/acquire: the reply is no resource")) from e

    def acquire(self, type: str, state: str, dest: str, *, wait: Optional[float] = 0.0,
                request_id: Optional[str] = None, key: Optional[str] = None,
                cancel: Optional[threading.Event] = None) -> Resource:
        """Takes a resource. wait: for how long it asks again while there is none; None has no end but `cancel`.

        A server that fails meanwhile is asked again too. cancel ends it between two requests.
        """
        a = self._attempt(wait, cancel)
        used_key = key or uuid.uuid4().hex
        if request_id is None and a.waits:
            request_id = uuid.uuid4().hex
        try:
            resource = self._repeat(a, lambda: self._acquire_once(a, type, state, dest, request_id, used_key))
        except errors.BoskosError as e:
            refused = 400 <= e.status < 500
            e.doubted = a.doubted and not (refused and getattr(e, "has_seq", False) and not a.late)
            is_original = isinstance(e, errors.NotAvailable) and not getattr(e, "has_seq", False)
            if e.doubted and not is_original:  # that one knows no keys
                self._doubt("acquire", (type, state, dest, used_key), a)
            raise
        self.hold(resource)
        return resource

    def acquire_by_state(self, state: str, dest: str, names: Iterable[str], *, wait: Optional[float] = 0.0,
                         cancel: Optional[threading.Event] = None) -> List[Resource]:
        """Takes all the named ones that are in the state: all or none of them from boskosd.

        Where the error is doubted, what was taken goes back to `state` in the background, if the server is boskosd; what is
        held already stays.
        """
        wanted, a = list(names), self._attempt(wait, cancel)
        try:
            return self._acquire_by_state(a, state, dest, wanted)
        except errors.BoskosError as e:
            if e.doubted:
                self._doubt_taken(wanted, state, dest, a)
            raise

    def _acquire_by_state(self, a: _Attempt, state: str, dest: str, wanted: List[str]) -> List[Resource]:
        if not wanted or any(not n or "," in n for n in wanted):
            raise ValueError("names must not be empty, nor hold a comma")

        def once() -> List[Resource]:
            was_doubted = a.doubted
            try:
                reply = self._send(a, "POST", "/acquirebystate", [
                    ("dest", dest), ("names", ",".join(wanted)), ("owner", self.owner), ("state", state)])
                return [Resource.parse(r) for r in reply.json(list)]
            except ValueError as e:
                raise doubtful(errors.BadReply("/acquirebystate: the reply is no list of resources")) from e
            except errors.NotAvailable:
                # After a reply that was lost, a refusal may come of their being ours already.
                if was_doubted and all(self._look(n, dest, a.began) in ("ours", "unclear") for n in wanted):
                    return [self.get(n) for n in wanted]
                raise

        self._ask_for(wanted, 1)
        try:
            found = self._repeat(a, once)
            for r in found:
                self.hold(r)
            return found
        except errors.BoskosError as e:
            e.doubted = a.doubted and not (isinstance(e, errors.NotAvailable) and getattr(e, "has_seq", False))
            raise
        finally:
            self._ask_for(wanted, -1)

    def _ask_for(self, names: List[str], by: int) -> None:
        with self._changed:
            for name in names:
                self._asked[name] = self._asked.get(name, 0) + by
                if self._asked[name] == 0:
                    del self._asked[name]

    def acquire_leased(self, type: str, state: str, dest: str, *, wait: Optional[float] = 0.0,
                       cancel: Optional[threading.Event] = None) -> Tuple[Resource, List[Resource]]:
        """Takes a resource and with it those that its userdata's leasedResources names (Mason's client)."""
        resource = self.acquire(type, state, dest, wait=wait, cancel=cancel)
        names: List[str] = []
        try:
            names = resource.leased
            leased = (self._acquire_by_state(self._attempt(cancel=cancel), resource.name, dest, names)
                      if names else [])
        except errors.BoskosError as e:
            # Nobody else takes what belongs to a resource that we hold: all of it goes back at once.
            for name in (names if e.doubted else []) + [resource.name]:
                with contextlib.suppress(errors.BoskosError):
                    self.release(name, "dirty")
            raise
        self._add(resource, names)
        return resource, leased

    @contextlib.contextmanager
    def lease(self, type: str, state: str, dest: str, *, release: str = "dirty", wait: Optional[float] = None,
              heartbeat: float = 30.0, with_leased: bool = False,
              cancel: Optional[threading.Event] = None) -> Iterator[Lease]:
        """A lease for a `with` block: heartbeats meanwhile, a release on every way out.

        `lost` of what it gives is set when the lease is gone; then nothing is released.
        """
        if with_leased:
            resource, leased = self.acquire_leased(type, state, dest, wait=wait, cancel=cancel)
        else:
            resource, leased = self.acquire(type, state, dest, wait=wait, cancel=cancel), []
        lease = Lease(resource, leased)
        with self._changed:
            self._leases[resource.name] = lease
        try:
            if self._period == 0 or self._period > heartbeat:
                self.heartbeat(heartbeat, self._on_lost)
            yield lease
        finally:
            with self._changed:
                self._leases.pop(resource.name, None)
            if not lease.lost.is_set():
                self.release(resource.name, release)

    # ---- giving back ----

    def _release_once(self, a: _Attempt, name: str, dest: str) -> None:
        was_doubted = a.doubted
        if a.doubted or time.monotonic() - a.began > LOOK_AFTER_S:
            try:
                seen = self._look(name, None, a.began)
            except errors.BoskosError as e:
                a.count += 1
                if e.transient:
                    raise
                raise errors.LostReply(f"{name}: it cannot be seen whether it was released: {e}") from e
            if seen == "other" and a.doubted:
                return
            if seen in ("other", "ours"):
                raise errors.OwnerMismatch(f"{name} was released, updated or acquired since: it is not released again")
        try:
            self._send(a, "POST", "/release", [("dest", dest), ("name", name), ("owner", self.owner)])
        except (errors.OwnerMismatch, errors.NotFound):
            if not was_doubted:
                raise  # else it was the one before that did it

    def release(self, name: str, dest: str, *, cancel: Optional[threading.Event] = None) -> None:
        """Gives it back, and with it what acquire_leased took. It is not held afterwards, also when this failed:
        where the error is doubted, it is repeated in the background."""
        held = self._take(name)
        first: Optional[errors.BoskosError] = None
        for one in (name,) + (held.leased if held is not None else ()):
            self._take(one)
            with self._changed:
                self._drop(one, "taken")
            a = self._attempt(cancel=cancel)
            try:
                self._repeat(a, lambda: self._release_once(a, one, dest))
            except errors.BoskosError as e:
                e.doubted = e.transient or isinstance(e, errors.Cancelled)
                if e.doubted:
                    a.cancel = None
                    self._doubt("release", (one, dest), a)
                first = first or e
        if first is not None:
            raise first

    def release_all(self, dest: str) -> None:
        """Gives back all it holds. The first error is raised after all were tried."""
        first: Optional[errors.BoskosError] = None
        for resource in self.held():
            try:
                if resource.name in self._held:
                    self.release(resource.name, dest)
            except errors.BoskosError as e:
                first = first or e
        if first is not None:
            raise first

    # ---- the other calls ----

    def update(self, name: str, state: Optional[str] = None, userdata: Optional[Mapping[str, str]] = None) -> None:
        """A heartbeat that may leave notes: an empty value removes its key. state: the one it is in."""
        if state is None:
            with self._changed:
                held = self._held.get(name)
            if held is None:
                raise ValueError(f"{name} is not held: its state must be given")
            state = held.resource.state
        body = json.dumps(dict(userdata), sort_keys=True).encode() if userdata is not None else None
        parameters = [("name", name), ("owner", self.owner), ("state", state)]
        a = self._attempt()
        self._repeat_freely(a, lambda: self._send(a, "POST", "/update", parameters, body))

    def _ask(self, method: str, action: str, parameters: List[Tuple[str, str]],
             read: Callable[[Dict[str, Any]], Any]) -> Any:
        """What `read` makes of the JSON object that is answered. A ValueError of it is a bad reply."""
        a = self._attempt()

        def once() -> Any:
            reply = self._send(a, method, action, parameters)
            try:
                return read(reply.json(dict))
            except ValueError as e:
                raise errors.BadReply(f"{action}: what was answered is no reply of Boskos") from e

        return self._repeat_freely(a, once)

    def reset(self, type: str, state: str, expire: float, dest: str) -> Dict[str, str]:
        """Takes back what was not updated for `expire` seconds; the names with their former owners."""
        parameters = [("dest", dest), ("expire", duration(expire)), ("state", state), ("type", type)]
        owners: Dict[str, str] = self._ask("POST", "/reset", parameters, _owners)
        return owners

    def metric(self, type: str) -> Metric:
        """Counts by state and by owner."""
        metric: Metric = self._ask("GET", "/metric", [("type", type)], _metric)
        return metric

    def get(self, name: str) -> Resource:
        """One resource. boskosd only."""
        path = "/v1/resources/" + urllib.parse.quote(name, safe="")
        resource: Resource = self._ask("GET", path, [], Resource.parse)
        return resource

    def list(self, *, types: Iterable[str] = (), states: Iterable[str] = (),
             owners: Iterable[str] = ()) -> List[Resource]:
        """The resources, by name; an owner "" is nobody. boskosd only."""
        found: List[Resource] = []
        filters = ([("type", t) for t in types] + [("state", s) for s in states] + [("owner", o) for o in owners])
        while True:
            after = [("after", found[-1].name)] if found else []
            part = self._ask("GET", "/v1/resources", after + [("limit", str(PAGE))] + filters, _resources)
            found += part
            if len(part) < PAGE:
                return found

    def _look(self, name: str, state: Optional[str], since: float) -> str:
        """What happened to a resource since? "unknown" where the server is an original one, which cannot be asked."""
        path = "/v1/resources/" + urllib.parse.quote(name, safe="")
        try:
            resource = Resource.parse(self._transport.send("GET", path, []).json(dict))
            least = time.monotonic() - since
            now = _nanoseconds(self._transport.send("GET", "/v1/status", []).json(dict).get("time"))
            most = time.monotonic() - since
            age = (now - _nanoseconds(resource.lastupdate)) / 1e9
        except errors.NotFound:
            return "other"
        except errors.Unsupported:
            return "unknown"
        except ValueError as e:
            raise errors.BadReply(f"{path}: what was answered is no resource") from e
        except errors.BoskosError as e:
            doubtful(e).doubted = False  # a look changes nothing
            raise
        if resource.owner != self.owner or state not in (None, resource.state):
            return "other"
        if age < least - SLACK_S:
            return "ours"
        return "same" if age > most + SLACK_S else "unclear"

    # ---- what is held ----

    def _add(self, resource: Resource, leased: Iterable[str] = ()) -> None:
        with self._changed:
            if len(self._held) >= HELD_MAX:
                return
            self._held[resource.name] = _Held(resource, leased, time.monotonic() + self._period)
            # What was given to us anew was released, whatever we know of it.
            self._drop(resource.name, "release", "taken")
            if self._period > 0:
                self._start()
            self._changed.notify_all()

    def _take(self, name: str) -> Optional[_Held]:
        with self._changed:
            while (held := self._held.get(name)) is not None and held.busy:
                self._changed.wait()
            return self._held.pop(name, None)

    def held(self) -> List[Resource]:
        """What it holds, each as it was when acquired."""
        with self._changed:
            return [h.resource for h in self._held.values()]

    def hold(self, resource: Resource) -> None:
        """Takes a lease that came from elsewhere into the list."""
        self._add(resource)

    def forget(self, name: str) -> None:
        """Strikes it off the list: it gets no more heartbeats."""
        self._take(name)

    def heartbeat(self, period: float,
                  on_lost: Optional[Callable[[Resource, errors.BoskosError], None]] = None) -> None:
        """From now on every lease that is held gets an update each period, by a thread; 0: no more.

        on_lost is called from that thread with a lease that is gone, and why.
        """
        with self._changed:
            self._period, self._on_lost = period, on_lost
            for held in self._held.values():
                held.due = time.monotonic() + period
            if period > 0:
                self._start()
            self._changed.notify_all()

    # ---- the thread ----

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="boskos", daemon=True)
            self._thread.start()

    def _doubt(self, what: str, arguments: Tuple[str, ...], a: _Attempt) -> None:
        with self._changed:
            if len(self._pending) >= PENDING_MAX or self._closing:
                log.error("%s is left in doubt: a reaper must see to it", arguments[0])
                return
            self._pending.append(_Pending(what, arguments, a))
            self._start()
            self._changed.notify_all()

    def _doubt_taken(self, names: List[str], state: str, dest: str, a: _Attempt) -> None:
        with self._changed:
            for name in dict.fromkeys(names):
                is_pending = any(p.what == "taken" and p.arguments == (name, state, dest) for p in self._pending)
                if name not in self._held and not is_pending:
                    attempt = _Attempt(None)
                    attempt.began = a.began
                    self._doubt("taken", (name, state, dest), attempt)

    def _drop(self, name: str, *kinds: str) -> None:
        """What was in doubt of a name is so no longer. With the lock held."""
        for p in self._pending + ([self._settling] if self._settling is not None else []):
            p.is_dropped = p.is_dropped or (p.what in kinds and p.arguments[0] == name)
        self._pending = [p for p in self._pending if not p.is_dropped]
        self._changed.notify_all()

    def settle(self, timeout: float) -> bool:
        """Waits until nothing is in doubt; False when there is something left."""
        end = time.monotonic() + timeout
        with self._changed:
            for p in self._pending:
                p.due, p.pause = 0.0, SETTLE_FIRST_S / 2
            self._changed.notify_all()
            while (self._pending or self._settling is not None) and time.monotonic() < end:
                self._changed.wait(end - time.monotonic())
            return not self._pending and self._settling is None

    def _settle_one(self, p: _Pending) -> bool:
        """True when it is done."""
        p.attempt.end = time.monotonic() + self.call_timeout
        p.attempt.waits, p.attempt.cancel = False, None
        if p.what == "taken":
            return self._settle_taken(p)
        try:
            if p.what == "release":
                self._release_once(p.attempt, p.arguments[0], p.arguments[1])
                log.info("%s is released now", p.arguments[0])
                return True
            type, state, dest, key = p.arguments
            resource = self._acquire_once(p.attempt, type, state, dest, None, key)
            log.info("%s was acquired by a request whose reply was lost", resource.name)
            self._turn(p, resource.name, state)
            return False
        except errors.BoskosError as e:
            p.attempt.note(e)
            if not e.transient and p.what == "release":
                log.error("%s is not released: %s", p.arguments[0], e)
            return not e.transient

    def _settle_taken(self, p: _Pending) -> bool:
        name, state, dest = p.arguments
        try:
            seen = self._look(name, dest, p.attempt.began)
        except errors.BoskosError as e:
            log.warning("%s is in doubt still: %s", name, e)
            return False
        with self._changed:
            if name in self._asked:
                return False  # it may be what that call was given, and its doubts are the later ones
        if seen == "unknown":
            log.warning("%s may have been acquired by a request whose reply was lost, and is left in doubt: "
                        "a reaper must see to it", name)
            return True
        if seen in ("same", "other"):
            return True
        log.info("%s was acquired by a request whose reply was lost", name)
        self._turn(p, name, state)
        return False

    def _turn(self, p: _Pending, name: str, dest: str) -> None:
        """It was taken, and is to be released now."""
        with self._changed:
            p.what, p.arguments, p.attempt, p.pause = "release", (name, dest), _Attempt(None), 0.0

    def _beat(self, held: _Held) -> None:
        name, state = held.resource.name, held.resource.state
        lost: Optional[errors.BoskosError] = None
        pause = self._period
        try:
            self._transport.send("POST", "/update", [("name", name), ("owner", self.owner), ("state", state)])
        except LOST as e:
            lost = e
        except errors.BoskosError as e:
            log.warning("no heartbeat of %s: %s", name, e)
            pause = min(self._period / 4, self.backoff_most)
        with self._changed:
            held.busy = False
            held.due = time.monotonic() + pause
            # A refusal that comes late is not of what was acquired again meanwhile.
            is_lost = lost is not None and self._held.get(name) is held
            if is_lost:
                del self._held[name]
            lease, on_lost = self._leases.get(name), self._on_lost
            self._changed.notify_all()
        if lost is None or not is_lost:
            return
        log.warning("%s is lost: %s", name, lost)
        if lease is not None:
            lease.lost.set()
        if on_lost is not None:
            on_lost(held.resource, lost)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                now = time.monotonic()
                pending = min(self._pending, key=lambda p: p.due, default=None)
                beats = [h for h in self._held.values() if not h.busy] if self._period > 0 else []
                beat = min(beats, key=lambda h: h.due, default=None)
                due = min([x.due for x in (pending, beat) if x is not None], default=now + 3600.0)
                if due > now:
                    self._changed.wait(due - now)
                    continue
                if pending is not None and pending.due <= now:
                    self._pending.remove(pending)
                    self._settling, beat = pending, None
                elif beat is not None:
                    beat.busy, pending = True, None
            if beat is not None:
                self._beat(beat)
            elif pending is not None:
                self._settle_and_put(pending)

    def _settle_and_put(self, p: _Pending) -> None:
        is_done = self._settle_one(p)
        with self._changed:
            self._settling = None
            if not is_done and not p.is_dropped:
                p.due = time.monotonic() + p.pause
                p.pause = min(max(p.pause * 2, SETTLE_FIRST_S), SETTLE_MOST_S)
                self._pending.append(p)
            self._changed.notify_all()

    def close(self) -> None:
        """Settles what is in doubt, and ends the thread. Leases it holds are left as they are."""
        if self.settle_timeout > 0:
            self.settle(self.settle_timeout)
        with self._changed:
            self._closing = True
            for p in self._pending:
                log.error("%s is left in doubt: a reaper must see to it", p.arguments[0])
            self._pending.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._transport.request_timeout)
