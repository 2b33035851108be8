"""Reporting content. Source: client-server API, "Reporting Content"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.history import event_of
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_room_id, parse_user_id
from conduit.service.actions import report
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/report", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def report_room(ctx: Context, req: Request) -> Json:
    """Report a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport>."""
    reason = fields.text(req.json(), "reason")
    report.report_room(ctx, req.user_id, parse_room_id(req.params["roomId"]), reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def report_event(ctx: Context, req: Request) -> Json:
    """Report an event. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid>."""
    reason = fields.text(req.json(), "reason", "")
    room_id = parse_room_id(req.params["roomId"])
    report.report_event(ctx, req.user_id, room_id, event_of(req), reason)
    return {}


@routes.post("/_matrix/client/v3/users/{userId}/report", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def report_user(ctx: Context, req: Request) -> Json:
    """Report a user. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport>."""
    reason = fields.text(req.json(), "reason")
    report.report_user(ctx, req.user_id, parse_user_id(req.params["userId"]), reason)
    return {}
