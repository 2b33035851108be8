"""Room upgrades. Source: client-server API, "Room Upgrades"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id, parse_user_id
from conduit.service.actions.upgrade_room import upgrade_room
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/upgrade", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def post_upgrade(ctx: Context, req: Request) -> Json:
    """Replace a room by one of another version. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>."""
    require_unsuspended(req)
    body = req.json()
    version = fields.text(body, "new_version")
    creators = [parse_user_id(user) for user in fields.array(body, "additional_creators", [], of=str)]
    room_id = parse_room_id(req.params["roomId"])
    replacement = await upgrade_room(ctx, req.user_id, room_id, version, additional_creators=creators)
    return {"replacement_room": replacement}
