"""Bodies that name people by mail address or phone number.

Source: client-server API, "Third-party invites" and "Adding Account Administrative Contact Information".
"""

from __future__ import annotations

from typing import Any

from conduit.api import fields
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import is_server_name
from conduit.protocol.threepids import ThreePid, canonical
from conduit.service.actions.invite_by_threepid import Invitee


def is_invite(body: dict[str, Any]) -> bool:
    """Tell whether the body of an /invite is of this form, and not the one with a user ID."""
    return "user_id" not in body and ("medium" in body or "address" in body or "id_server" in body)


def read_invitee(invite: dict[str, Any]) -> Invitee:
    """Return who is to be invited; raises `MissingParam`, `BadJson` or `InvalidParam`."""
    id_server, token = id_server_of(invite), fields.text(invite, "id_access_token")
    return Invitee(read_threepid(invite), id_server, token)


def read_threepid(body: dict[str, Any]) -> ThreePid:
    """Return the identifier that `medium` and `address` are; raises `MissingParam`, `BadJson` or `InvalidParam`."""
    return canonical(fields.text(body, "medium"), fields.text(body, "address"))


def id_server_of(body: dict[str, Any]) -> str:
    """Return the name of the identity server; raises `MissingParam`, `BadJson` or `InvalidParam`."""
    name = fields.text(body, "id_server")
    if not is_server_name(name):
        raise InvalidParam("'id_server' is the host name of an identity server, perhaps with a port")
    return name
