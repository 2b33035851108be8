"""Invites to people by mail address or phone number: refused, for this server talks to no identity server.

Source: client-server API, "Third-party invites".
"""

from __future__ import annotations

from typing import Any, NoReturn

from conduit.api import fields
from conduit.protocol.errors import ThreepidDenied


def is_invite(body: dict[str, Any]) -> bool:
    """Tell whether the body of an /invite is of this form, and not the one with a user ID."""
    return "user_id" not in body and ("medium" in body or "address" in body or "id_server" in body)


def refuse_invite(invite: dict[str, Any]) -> NoReturn:
    """Raise: `MissingParam` or `BadJson` for a malformed invite, `ThreepidDenied` for a good one."""
    for name in ("id_server", "id_access_token", "medium", "address"):
        fields.text(invite, name)
    raise ThreepidDenied("This server invites nobody by third-party identifiers")
