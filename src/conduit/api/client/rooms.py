"""The members of rooms, and the caller's rooms. Source: client-server API, "Getting events for a room", "Room membership"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, RawReply, Routes, StreamReply, json_reply
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId, parse_room_id
from conduit.service.browse import room_state
from conduit.service.context import Context
from conduit.service.rooms import cuts, members, partial

routes = Routes()

WHOLE_SECONDS = 60.0
"""For how long the members of a room are waited for that are still to come; then those known are given."""
_MEMBERSHIPS = frozenset({"join", "invite", "knock", "leave", "ban"})


@routes.get("/_matrix/client/v3/rooms/{roomId}/members", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_members(ctx: Context, req: Request) -> RawReply | StreamReply:
    """List the members of a room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>."""
    room_id = parse_room_id(req.params["roomId"])
    membership, other_than = _filter(req, "membership"), _filter(req, "not_membership")
    await _all_known(ctx, req, room_id)
    at = req.query.text("at")
    if at:
        count = partial.as_whole(ctx.db, room_id, cuts.parse(at).live)
        number = room_state.readable_at(ctx.db, room_id, req.user_id, count)
    else:
        number = room_state.readable(ctx.db, room_id, req.user_id)
    return json_reply(await room_state.member_list(ctx, room_id, number, membership=membership, other_than=other_than))


async def _all_known(ctx: Context, req: Request, room_id: RoomId) -> None:
    """Wait for the members of a room that was joined fast: a client asks once, and then encrypts for whom it was told of."""
    if members.is_joined(ctx.db, room_id, req.user_id):
        await partial.whole(ctx.db, room_id, WHOLE_SECONDS)


def _filter(req: Request, name: str) -> str | None:
    value = req.query.text(name)
    if value is not None and value not in _MEMBERSHIPS:
        raise InvalidParam(f"'{name}' must be one of join, invite, knock, leave and ban")
    return value


@routes.get("/_matrix/client/v3/rooms/{roomId}/joined_members", auth=Auth.USER, limit=Limit.READ)
async def get_joined_members(ctx: Context, req: Request) -> RawReply | StreamReply:
    """List who is in a room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>."""
    room_id = parse_room_id(req.params["roomId"])
    await _all_known(ctx, req, room_id)
    return json_reply(await room_state.joined_members(ctx, room_id, req.user_id))


@routes.get("/_matrix/client/v3/joined_rooms", auth=Auth.USER, limit=Limit.READ)
async def get_joined_rooms(ctx: Context, req: Request) -> Json:
    """List the caller's rooms. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>."""
    return {"joined_rooms": members.rooms(ctx.db, req.user_id)}
