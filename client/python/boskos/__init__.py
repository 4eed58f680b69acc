"""A client of Boskos, for boskosd and for the original server: the standard library and nothing else.

    import boskos

    with boskos.Client("http://boskos", owner="job-1") as client:
        with client.lease("gce-project", "free", "busy", wait=3600) as project:
            print(project.name)            # heartbeats are sent; it is released as dirty on every way out

What is safe is repeated, and what is given up in doubt is settled in the background, as libboskos does it: see its manual
page. So a lost reply leaks no lease on boskosd. A request that something on the way delays until after its doubt was settled
can still be done; then a reaper takes the lease back.
"""

from .client import Client, Lease, Metric, Resource
from .errors import (AuthError, BadReply, BoskosError, Cancelled, ConnectError, KeyConflict, LeasedError, LostReply,
                     NoType, NotAvailable, NotFound, OwnerMismatch, Redirected, Refused, ServerError, StateMismatch,
                     Timeout, Unsupported)

__all__ = ["AuthError", "BadReply", "BoskosError", "Cancelled", "Client", "ConnectError", "KeyConflict", "Lease",
           "LeasedError", "LostReply", "Metric", "NoType", "NotAvailable", "NotFound", "OwnerMismatch", "Redirected",
           "Refused", "Resource", "ServerError", "StateMismatch", "Timeout", "Unsupported"]
__version__ = "0.4.0"
