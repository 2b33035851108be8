"""What suspended users may not do. Source: client-server API, "Account suspension"."""

from __future__ import annotations

from conduit.api.request import Request
from conduit.protocol.errors import UserSuspended


def is_suspended(req: Request) -> bool:
    """Tell whether the caller's account is suspended."""
    return req.requester is not None and req.requester.suspended


def require_unsuspended(req: Request) -> None:
    """Raise `UserSuspended` if the caller is."""
    if is_suspended(req):
        raise UserSuspended("You cannot perform this action while suspended")
