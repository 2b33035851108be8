"""Answers that hold the whole state of a room count as many requests, as they cost as much as many."""

from __future__ import annotations

from typing import Final

from conduit.api.request import Request
from conduit.api.web import Limit
from conduit.protocol.ids import RoomId
from conduit.service.context import Context
from conduit.service.rooms import members

MEMBERS_A_REQUEST: Final = 25
"""So many members of a room count as one more request."""


def charge(ctx: Context, req: Request, room_id: RoomId) -> None:
    """Charge the asking server for the state of a room, by its members, before anything is read; raises `LimitExceeded`."""
    more = members.joined_count(ctx.db, room_id) // MEMBERS_A_REQUEST
    if more:
        req.charge(Limit.FEDERATION, requests=more)
