"""Joining and knocking. Source: client-server API, "Joining rooms", "Knocking on rooms"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.third_party import refuse_proof
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId, parse_room_alias, parse_room_id
from conduit.service.actions.aliases import resolve
from conduit.service.actions.join import join
from conduit.service.actions.knock import knock
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/join", auth=Auth.USER, limit=Limit.JOIN, allow_guests=True)
async def join_by_id(ctx: Context, req: Request) -> Json:
    """Join a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>."""
    return await _join(ctx, req, parse_room_id(req.params["roomId"]))


@routes.post("/_matrix/client/v3/join/{roomIdOrAlias}", auth=Auth.USER, limit=Limit.JOIN, allow_guests=True)
async def join_by_id_or_alias(ctx: Context, req: Request) -> Json:
    """Join a room by id or alias. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>."""
    return await _join(ctx, req, _find(ctx, req.params["roomIdOrAlias"]))


@routes.post("/_matrix/client/v3/knock/{roomIdOrAlias}", auth=Auth.USER, limit=Limit.JOIN)
async def post_knock(ctx: Context, req: Request) -> Json:
    """Knock on a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>."""
    require_unsuspended(req)
    reason = fields.text(req.json(optional=True), "reason", None)
    room_id = _find(ctx, req.params["roomIdOrAlias"])
    await knock(ctx, req.user_id, room_id, reason=reason)
    return {"room_id": room_id}


async def _join(ctx: Context, req: Request, room_id: RoomId) -> Json:
    require_unsuspended(req)
    body = req.json(optional=True)
    refuse_proof(body)
    reason = fields.text(body, "reason", None)
    # Clients may put more into their member event, as by setting it as state.
    extra = {name: value for name, value in body.items() if name not in ("reason", "third_party_signed")}
    assert req.requester is not None
    await join(ctx, req.user_id, room_id, is_guest=req.requester.is_guest, reason=reason, extra=extra)
    ctx.presence.active(req.user_id)
    return {"room_id": room_id}


def _find(ctx: Context, identifier: str) -> RoomId:
    if identifier.startswith("!"):
        return parse_room_id(identifier)
    if identifier.startswith("#"):
        return resolve(ctx, parse_room_alias(identifier))
    raise InvalidParam("Neither a room ID nor a room alias")
