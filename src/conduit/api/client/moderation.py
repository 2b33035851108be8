"""Inviting, kicking, banning. Source: client-server API, "Room membership"."""

from __future__ import annotations

from conduit.api import fields, third_party
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import RoomId, UserId, parse_room_id, parse_user_id
from conduit.service.actions import moderate
from conduit.service.actions.invite import invite
from conduit.service.actions.invite_by_threepid import invite_by_threepid
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/invite", auth=Auth.USER, limit=Limit.INVITE)
async def post_invite(ctx: Context, req: Request) -> Json:
    """Invite somebody. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>."""
    body = req.json()
    if third_party.is_invite(body):
        require_unsuspended(req)
        invitee = third_party.read_invitee(body)
        await invite_by_threepid(ctx, req.user_id, parse_room_id(req.params["roomId"]), invitee)
        return {}
    room_id, target, reason = _act(req)
    await invite(ctx, req.user_id, room_id, target, reason=reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/kick", auth=Auth.USER, limit=Limit.MESSAGE)
async def post_kick(ctx: Context, req: Request) -> Json:
    """Kick somebody. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick>."""
    room_id, target, reason = _act(req)
    await moderate.kick(ctx, req.user_id, room_id, target, reason=reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/ban", auth=Auth.USER, limit=Limit.MESSAGE)
async def post_ban(ctx: Context, req: Request) -> Json:
    """Ban somebody. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban>."""
    room_id, target, reason = _act(req)
    await moderate.ban(ctx, req.user_id, room_id, target, reason=reason)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/unban", auth=Auth.USER, limit=Limit.MESSAGE)
async def post_unban(ctx: Context, req: Request) -> Json:
    """Lift a ban. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban>."""
    room_id, target, reason = _act(req)
    await moderate.unban(ctx, req.user_id, room_id, target, reason=reason)
    return {}


def _act(req: Request) -> tuple[RoomId, UserId, str | None]:
    require_unsuspended(req)
    body = req.json()
    target = parse_user_id(fields.text(body, "user_id"))
    return parse_room_id(req.params["roomId"]), target, fields.text(body, "reason", None)
