"""What authorises an event. Source: server-server API, "Retrieving event authorisation information"."""

from __future__ import annotations

from conduit.api.request import Request
from conduit.api.web import Auth, Routes, StreamReply
from conduit.protocol.ids import parse_event_id, parse_room_id
from conduit.service.browse import for_servers
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/federation/v1/event_auth/{roomId}/{eventId}", auth=Auth.SERVER)
async def get_event_auth(ctx: Context, req: Request) -> StreamReply:
    """Give an event's auth chain. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>."""
    event_id = parse_event_id(req.params["eventId"])
    room = for_servers.open_room(ctx, req.origin, parse_room_id(req.params["roomId"]), at=[event_id])
    chain = await for_servers.auth_chain_of(room, event_id)
    return StreamReply(for_servers.lists(room, [("auth_chain", chain)]), "application/json")
