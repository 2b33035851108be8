"""Inviting somebody of whom only a mail address or phone number is known, through an identity server that the user chooses.

Source: client-server API, "Third-party invites".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from conduit.protocol.errors import Forbidden, MatrixError
from conduit.protocol.ids import RoomId, UserId, parse_user_id
from conduit.protocol.threepids import ThreePid
from conduit.service import events
from conduit.service.actions.invite import NEW_ROOM_SECONDS, invite
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.outbound.identity_server import IdentityServer, StoredInvite
from conduit.service.rooms import state
from conduit.service.users import profiles

log = structlog.get_logger(__name__)

_ABOUT_ROOM = {
    "room_alias": ("m.room.canonical_alias", "alias"),
    "room_avatar_url": ("m.room.avatar", "url"),
    "room_join_rules": ("m.room.join_rules", "join_rule"),
    "room_name": ("m.room.name", "name"),
    "room_type": ("m.room.create", "type"),
}
"""What the mail may say of the room -> the state event and the key in its content."""


@dataclass(frozen=True, slots=True)
class Invitee:
    """Somebody to invite, and the identity server that is to find them, with the inviter's access token there."""

    threepid: ThreePid
    id_server: str
    id_access_token: str


async def invite_by_threepid(
    ctx: Context, sender: UserId, room_id: RoomId, invitee: Invitee, *, extra: dict[str, Any] | None = None
) -> None:
    """Invite whoever has the identifier: the user to whom it is bound, or whoever binds it one day.

    Nothing is told to the identity server unless the sender may invite. Raises `Forbidden`, `InvalidParam`, and what the identity server says.
    """
    levels = state.power_levels(ctx.db, room_id) if state.exists(ctx.db, room_id) else None
    member = state.current(ctx.db, room_id, "m.room.member", sender)
    if levels is None or member is None or member.membership != "join":
        raise Forbidden("You are not in this room")
    if levels.user(sender) < levels.invite:
        raise Forbidden("Your power level does not suffice to invite")
    server = IdentityServer(ctx.outbound.http, invitee.id_server, invitee.id_access_token)
    try:
        found = await server.look_up(invitee.threepid)
        if found is not None:
            await invite(ctx, sender, room_id, parse_user_id(found), extra=extra)
            return
        stored = await server.store_invite(invitee.threepid, _details(ctx, sender, room_id))
    except RemoteError as error:
        raise as_client_error(error) from error
    await events.send(ctx, room_id, sender, "m.room.third_party_invite", _content(stored), state_key=stored.token)


async def invite_to_new_by_threepid(
    ctx: Context, creator: UserId, room_id: RoomId, invitees: Iterable[Invitee], *, is_direct: bool
) -> None:
    """Invite people to a room that was just made. It stands whatever the identity servers say; who takes long is invited in the background."""
    extra = {"is_direct": True} if is_direct else None

    async def one(invitee: Invitee) -> None:
        try:
            await invite_by_threepid(ctx, creator, room_id, invitee, extra=extra)
        except MatrixError as error:
            log.info("not_invited", room_id=room_id, id_server=invitee.id_server, reason=error.error)

    tasks = [ctx.tasks.spawn(one(invitee), name="invite to a new room") for invitee in dict.fromkeys(invitees)]
    if tasks:
        await asyncio.wait(tasks, timeout=NEW_ROOM_SECONDS)


def _details(ctx: Context, sender: UserId, room_id: RoomId) -> dict[str, Any]:
    """Return what the identity server may tell the invited of who invites where."""
    details: dict[str, Any] = {"room_id": room_id, "sender": sender}
    for name, (event_type, key) in _ABOUT_ROOM.items():
        event = state.current(ctx.db, room_id, event_type)
        details[name] = event.content.get(key) if event is not None else None
    details["sender_display_name"] = profiles.displayname(ctx.db, sender)
    details["sender_avatar_url"] = profiles.avatar_url(ctx.db, sender)
    return {name: value for name, value in details.items() if isinstance(value, str)}


def _content(stored: StoredInvite) -> dict[str, Any]:
    first = stored.public_keys[0]
    content: dict[str, Any] = {
        "display_name": stored.display_name,
        "public_key": first["public_key"],
        "public_keys": list(stored.public_keys),
    }
    if "key_validity_url" in first:
        content["key_validity_url"] = first["key_validity_url"]
    return content
