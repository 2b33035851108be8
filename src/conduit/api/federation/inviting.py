"""Invites of other servers' users to ours. Source: server-server API, "Inviting to a room"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Reply, Routes
from conduit.protocol.errors import IncompatibleRoomVersion, UnsupportedRoomVersion
from conduit.protocol.ids import EventId, parse_room_id
from conduit.protocol.room_versions import ROOM_VERSIONS, room_version
from conduit.service.actions.receive_invite import receive_invite
from conduit.service.context import Context
from conduit.service.outbound.turns import household

routes = Routes()


def _charge(req: Request, pdu: Json) -> None:
    """Let the servers of one owner invite a user no faster than a local user may invite others."""
    target = pdu.get("state_key")
    if isinstance(target, str):
        req.charge(Limit.INVITE, f"{household(req.origin)} {target}")


@routes.put("/_matrix/federation/v2/invite/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def put_invite(ctx: Context, req: Request) -> Json:
    """Take an invite. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>."""
    room_id, event_id = parse_room_id(req.params["roomId"]), EventId(req.params["eventId"])
    body = req.json()
    named = fields.text(body, "room_version")
    try:
        version = room_version(named)
    except UnsupportedRoomVersion as error:
        raise IncompatibleRoomVersion(
            "This server does not speak the version of that room", room_version=named
        ) from error
    room_state = fields.array(body, "invite_room_state", [])
    pdu = fields.obj(body, "event")
    _charge(req, pdu)
    return {"event": await receive_invite(ctx, req.origin, room_id, event_id, pdu, version, room_state)}


@routes.put("/_matrix/federation/v1/invite/{roomId}/{eventId}", auth=Auth.SERVER, holds_events=True)
async def put_invite_v1(ctx: Context, req: Request) -> Reply:
    """Take an invite in the first form, which is for rooms of the versions 1 and 2. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid>."""
    room_id, event_id = parse_room_id(req.params["roomId"]), EventId(req.params["eventId"])
    pdu = req.json()
    unsigned = fields.obj(pdu, "unsigned", {})
    room_state = fields.array(unsigned, "invite_room_state", [])
    _charge(req, pdu)
    # The two versions have the same format of events.
    signed = await receive_invite(ctx, req.origin, room_id, event_id, pdu, ROOM_VERSIONS["1"], room_state)
    return Reply([200, {"event": signed}])
