"""The members of rooms, and the caller's rooms. Source: client-server API, "Getting events for a room", "Room membership"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, RawReply, Routes
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import parse_room_id
from conduit.service.browse import room_state
from conduit.service.context import Context
from conduit.service.rooms import cuts, members

routes = Routes()

_MEMBERSHIPS = frozenset({"join", "invite", "knock", "leave", "ban"})


@routes.get("/_matrix/client/v3/rooms/{roomId}/members", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_members(ctx: Context, req: Request) -> RawReply:
    """List the members of a room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>."""
    room_id = parse_room_id(req.params["roomId"])
    membership, other_than = _filter(req, "membership"), _filter(req, "not_membership")
    at = req.query.text("at")
    if at:
        number = room_state.readable_at(ctx.db, room_id, req.user_id, cuts.parse(at).live)
    else:
        number = room_state.readable(ctx.db, room_id, req.user_id)
    body = room_state.member_list(ctx.db, room_id, number, membership=membership, other_than=other_than)
    return RawReply(body, "application/json")


def _filter(req: Request, name: str) -> str | None:
    value = req.query.text(name)
    if value is not None and value not in _MEMBERSHIPS:
        raise InvalidParam(f"'{name}' must be one of join, invite, knock, leave and ban")
    return value


@routes.get("/_matrix/client/v3/rooms/{roomId}/joined_members", auth=Auth.USER, limit=Limit.READ)
async def get_joined_members(ctx: Context, req: Request) -> RawReply:
    """List who is in a room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>."""
    room_id = parse_room_id(req.params["roomId"])
    return RawReply(room_state.joined_members(ctx.db, room_id, req.user_id), "application/json")


@routes.get("/_matrix/client/v3/joined_rooms", auth=Auth.USER, limit=Limit.READ)
async def get_joined_rooms(ctx: Context, req: Request) -> Json:
    """List the caller's rooms. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>."""
    return {"joined_rooms": members.rooms(ctx.db, req.user_id)}
