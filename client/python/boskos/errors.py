"""What can go wrong. str() of an error is one line: the server's own words where it answered."""


class BoskosError(Exception):
    """Any failure of a call."""

    #: of the last reply, 0 when none came
    status: int = 0
    #: acquire, acquire_by_state, release: the server may have done it all the same. boskosd is asked in the background, and
    #: what was acquired goes back; a release is repeated
    doubted: bool = False
    #: another try may help: the server was not reached, or has a fault of its own
    transient: bool = False


class NotAvailable(BoskosError):
    """acquire: nothing to hand out."""


class NoType(NotAvailable):
    """acquire, metric: there is no resource of the type."""


class NotFound(BoskosError):
    """There is no resource of the name."""


class OwnerMismatch(BoskosError):
    """It has another owner, or none."""


class StateMismatch(BoskosError):
    """update: it is in another state."""


class KeyConflict(BoskosError):
    """acquire: the key belongs to a lease with other parameters."""


class Refused(BoskosError):
    """Any other refusal (4xx)."""


class AuthError(BoskosError):
    """User, password or token are not accepted."""


class Redirected(BoskosError):
    """A redirect: it is not followed."""


class Cancelled(BoskosError):
    """The event given to the call was set, or the client closed."""


class Unsupported(BoskosError):
    """Only boskosd can do that, and this server is not one."""


class LeasedError(BoskosError):
    """The userdata's leasedResources is no list of names."""


class ConnectError(BoskosError):
    """The server cannot be reached."""

    transient = True


class Timeout(BoskosError):
    """No answer in time."""

    transient = True


class LostReply(BoskosError):
    """The connection broke before the reply was complete."""

    transient = True


class BadReply(BoskosError):
    """What was answered is no reply of Boskos."""

    transient = True


class ServerError(BoskosError):
    """The server has a fault, or no room (5xx, 429)."""

    transient = True
