"""Creating rooms. Source: client-server API, "Creation"."""

from __future__ import annotations

from typing import Any

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.suspension import require_unsuspended
from conduit.api.third_party import read_invitee
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomAlias, ServerName, parse_room_alias, parse_user_id
from conduit.service.actions.create_room import PRESETS, Piece, Wish, create_room
from conduit.service.actions.invite import invite_to_new
from conduit.service.actions.invite_by_threepid import Invitee, invite_to_new_by_threepid
from conduit.service.context import Context

routes = Routes()

MAX_INVITEES = 50
"""Who is invited by an address costs several requests to an identity server."""


@routes.post("/_matrix/client/v3/createRoom", auth=Auth.USER, limit=Limit.CREATE_ROOM)
async def post_create_room(ctx: Context, req: Request) -> Json:
    """Create a room. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>."""
    require_unsuspended(req)
    wish = _parse(req.json(), ctx.server_name)
    invitees = _invitees(req.json())
    room_id = create_room(ctx, req.user_id, wish)
    await invite_to_new(ctx, req.user_id, room_id, wish.invite, is_direct=wish.is_direct)
    await invite_to_new_by_threepid(ctx, req.user_id, room_id, invitees, is_direct=wish.is_direct)
    ctx.presence.active(req.user_id)
    return {"room_id": room_id}


def _parse(body: Json, server_name: ServerName) -> Wish:
    visibility = fields.text(body, "visibility", "private")
    if visibility not in ("public", "private"):
        raise InvalidParam("'visibility' must be 'public' or 'private'")
    preset = fields.text(body, "preset", None)
    if preset is not None and preset not in PRESETS:
        raise InvalidParam("Unknown 'preset'")
    return Wish(
        public=visibility == "public",
        preset=preset,
        version=fields.text(body, "room_version", None),
        alias=_alias(fields.text(body, "room_alias_name", None), server_name),
        name=fields.text(body, "name", None),
        topic=fields.text(body, "topic", None),
        invite=tuple(dict.fromkeys(parse_user_id(user) for user in fields.array(body, "invite", [], of=str))),
        is_direct=fields.flag(body, "is_direct", False),
        creation_content=fields.obj(body, "creation_content", {}),
        initial_state=tuple(_piece(item) for item in fields.array(body, "initial_state", [], of=dict)),
        power_levels=fields.obj(body, "power_level_content_override", {}),
    )


def _invitees(body: Json) -> list[Invitee]:
    invitees = [read_invitee(invite) for invite in fields.array(body, "invite_3pid", [], of=dict)]
    if len(invitees) > MAX_INVITEES:
        raise InvalidParam(f"At most {MAX_INVITEES} people can be invited by their addresses when a room is created")
    return invitees


def _alias(localpart: str | None, server_name: ServerName) -> RoomAlias | None:
    if not localpart:
        return None
    if ":" in localpart or not localpart.isprintable() or any(character.isspace() for character in localpart):
        raise InvalidParam("'room_alias_name' is the part before the colon, without spaces")
    return parse_room_alias(f"#{localpart}:{server_name}")


def _piece(item: dict[str, Any]) -> Piece:
    return Piece(fields.text(item, "type"), fields.text(item, "state_key", ""), fields.obj(item, "content"))
