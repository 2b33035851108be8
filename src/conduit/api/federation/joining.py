"""Joins of other servers' users to rooms that this server is in. Source: server-server API, "Joining Rooms"."""

from __future__ import annotations

from collections.abc import AsyncIterator

from conduit.api.federation import large_answers
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes, StreamReply
from conduit.protocol.ids import EventId, parse_room_id, parse_user_id
from conduit.service.actions import resident, resident_join
from conduit.service.context import Context

routes = Routes()

OLDEST = ("1",)
"""The room versions that a server speaks which does not say so."""


@routes.get("/_matrix/federation/v1/make_join/{roomId}/{userId}", auth=Auth.SERVER)
async def make_join(ctx: Context, req: Request) -> Json:
    """Give a template for a join. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>."""
    room_id, user_id = parse_room_id(req.params["roomId"]), parse_user_id(req.params["userId"])
    spoken = req.query.all("ver") or OLDEST
    return resident.template(ctx, req.origin, room_id, user_id, "join", spoken)


@routes.put("/_matrix/federation/v2/send_join/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def send_join(ctx: Context, req: Request) -> StreamReply:
    """Take a join into the room and tell of the room. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>."""
    return StreamReply(await _join(ctx, req, omit_members=req.query.flag("omit_members")), "application/json")


@routes.put("/_matrix/federation/v1/send_join/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def send_join_v1(ctx: Context, req: Request) -> StreamReply:
    """Do the same for servers that know the first form of the answer only, which the specification has no longer."""
    return StreamReply(_in_pair(await _join(ctx, req, omit_members=None)), "application/json")


async def _join(ctx: Context, req: Request, *, omit_members: bool | None) -> AsyncIterator[bytes]:
    room_id, event_id = parse_room_id(req.params["roomId"]), EventId(req.params["eventId"])
    if not omit_members:
        large_answers.charge(ctx, req, room_id)
    event = await resident.accept(ctx, req.origin, room_id, event_id, req.json(), "join")
    return await resident_join.answer(ctx, event, omit_members=omit_members)


async def _in_pair(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"[200,"
    async for piece in pieces:
        yield piece
    yield b"]"
