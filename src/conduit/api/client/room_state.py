"""Reading and setting the state of rooms. Source: client-server API, "Getting events for a room", "Sending events to a room"."""

from __future__ import annotations

import orjson

from conduit.api.client.room_send import timestamp
from conduit.api.request import Json, Request
from conduit.api.suspension import is_suspended, require_unsuspended
from conduit.api.web import Auth, Limit, RawReply, Reply, Routes, StreamReply, json_reply
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import parse_room_id
from conduit.service.actions.set_state import set_state
from conduit.service.browse import room_state
from conduit.service.context import Context
from conduit.service.rooms import members, partial

routes = Routes()

WHOLE_SECONDS = 60.0
"""For how long the state of a room that was joined fast is waited for; then what is known of it is given."""

_STATE = "/_matrix/client/v3/rooms/{roomId}/state"


@routes.put(
    _STATE + "/{eventType}",
    _STATE + "/{eventType}/{stateKey}",
    auth=Auth.USER,
    limit=Limit.MESSAGE,
    allow_guests=True,
)
async def put_state(ctx: Context, req: Request) -> Json:
    """Set one piece of state. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>."""
    room_id, event_type, state_key = parse_room_id(req.params["roomId"]), *_key(req)
    content = req.json()
    if is_suspended(req) and not (event_type == "m.room.member" and content.get("membership") == "leave"):
        require_unsuspended(req)
    assert req.requester is not None
    event_id = await set_state(
        ctx,
        req.user_id,
        room_id,
        event_type,
        state_key,
        content,
        is_guest=req.requester.is_guest,
        origin_server_ts=timestamp(req),
    )
    return {"event_id": event_id}


@routes.get(_STATE, auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_state(ctx: Context, req: Request) -> RawReply | StreamReply:
    """Show the whole state of a room. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>."""
    room_id = parse_room_id(req.params["roomId"])
    if members.is_joined(ctx.db, room_id, req.user_id):
        await partial.whole(ctx.db, room_id, WHOLE_SECONDS)
    number = room_state.readable(ctx.db, room_id, req.user_id)
    return json_reply(await room_state.whole(ctx, room_id, number))


@routes.get(
    _STATE + "/{eventType}",
    _STATE + "/{eventType}/{stateKey}",
    auth=Auth.USER,
    limit=Limit.READ,
    allow_guests=True,
)
async def get_one_state(ctx: Context, req: Request) -> Reply:
    """Show one piece of state. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey>."""
    room_id = parse_room_id(req.params["roomId"])
    form = req.query.text("format", "content")
    if form not in ("content", "event"):
        raise InvalidParam("'format' must be 'content' or 'event'")
    number = room_state.readable(ctx.db, room_id, req.user_id)
    event = room_state.one(ctx.db, room_id, number, *_key(req))
    if form == "content":
        return Reply(event.content)
    return Reply(orjson.Fragment(room_state.client_form(ctx.db, event)))


def _key(req: Request) -> tuple[str, str]:
    return req.params["eventType"], req.params.get("stateKey", "")
