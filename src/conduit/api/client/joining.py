"""Joining and knocking. Source: client-server API, "Joining rooms", "Knocking on rooms"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import (
    RoomId,
    ServerName,
    UserId,
    is_server_name,
    parse_room_alias,
    parse_room_id,
    parse_user_id,
)
from conduit.service.actions.aliases import look_up
from conduit.service.actions.join import join
from conduit.service.actions.knock import knock
from conduit.service.actions.redeem_invite import redeem
from conduit.service.browse import remote_summaries
from conduit.service.context import Context

routes = Routes()

MAX_VIA = 50
"""How many servers a client may name; further ones are not looked at."""


@routes.post("/_matrix/client/v3/rooms/{roomId}/join", auth=Auth.USER, limit=Limit.JOIN, allow_guests=True)
async def join_by_id(ctx: Context, req: Request) -> Json:
    """Join a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>."""
    return await _join(ctx, req, parse_room_id(req.params["roomId"]), _via(req))


@routes.post("/_matrix/client/v3/join/{roomIdOrAlias}", auth=Auth.USER, limit=Limit.JOIN, allow_guests=True)
async def join_by_id_or_alias(ctx: Context, req: Request) -> Json:
    """Join a room by id or alias. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>."""
    return await _join(ctx, req, *await _find(ctx, req))


@routes.post("/_matrix/client/v3/knock/{roomIdOrAlias}", auth=Auth.USER, limit=Limit.JOIN)
async def post_knock(ctx: Context, req: Request) -> Json:
    """Knock on a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>."""
    require_unsuspended(req)
    reason = fields.text(req.json(optional=True), "reason", None)
    room_id, via = await _find(ctx, req)
    await knock(ctx, req.user_id, room_id, via=via, reason=reason)
    return {"room_id": room_id}


async def _join(ctx: Context, req: Request, room_id: RoomId, via: list[ServerName]) -> Json:
    require_unsuspended(req)
    body = req.json(optional=True)
    signed = fields.obj(body, "third_party_signed", None)
    if signed is not None:
        await redeem(ctx, req.user_id, room_id, parse_user_id(fields.text(signed, "sender")), signed)
    reason = fields.text(body, "reason", None)
    # Clients may put more into their member event, as by setting it as state.
    extra = {name: value for name, value in body.items() if name not in ("reason", "third_party_signed")}
    assert req.requester is not None
    is_guest = req.requester.is_guest
    await join(
        ctx,
        req.user_id,
        room_id,
        via=via,
        is_guest=is_guest,
        guests_welcome=is_guest and await _are_guests_welcome(ctx, req.user_id, room_id, via),
        reason=reason,
        extra=extra,
    )
    ctx.presence.active(req.user_id)
    return {"room_id": room_id}


async def _are_guests_welcome(ctx: Context, user_id: UserId, room_id: RoomId, via: list[ServerName]) -> bool:
    """Tell whether guests may enter a room, by what the servers in it say if it is not here."""
    summary = await remote_summaries.find(ctx, room_id, user_id, via)
    return summary is not None and summary.get("guest_can_join") is True


def _via(req: Request) -> list[ServerName]:
    """Return the servers that the client names, by the present and by the former name of the parameter; what is none is passed over."""
    named = [*req.query.all("via"), *req.query.all("server_name")]
    return [ServerName(name) for name in named[:MAX_VIA] if is_server_name(name)]


async def _find(ctx: Context, req: Request) -> tuple[RoomId, list[ServerName]]:
    """Return the room that the request names, and servers that are known to be in it."""
    identifier = req.params["roomIdOrAlias"]
    if identifier.startswith("!"):
        return parse_room_id(identifier), _via(req)
    if identifier.startswith("#"):
        place = await look_up(ctx, parse_room_alias(identifier), afresh=True)
        return place.room_id, [*_via(req), *place.servers]
    raise InvalidParam("Neither a room ID nor a room alias")
