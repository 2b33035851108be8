"""Invite somebody to a room. Source: client-server API, "Room membership" and "Invite permission"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from conduit.protocol.errors import Forbidden, MatrixError
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.events import remote_invite
from conduit.service.rooms import members, server_access, state

log = structlog.get_logger(__name__)

NEW_ROOM_SECONDS = 10.0
"""For how long the making of a room waits for other servers to take its invites."""


async def invite(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    target: UserId,
    *,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> EventId:
    """Invite `target` and return the id of the member event; the same invite once more changes nothing.

    Raises `Forbidden` for what the room's rules refuse, `InviteBlocked` for those who want none, and what the server of the user says if that is another.
    """
    if not members.is_joined(ctx.db, room_id, sender):
        raise Forbidden("You are not in this room")
    membership.require_invitable(ctx, target)
    await membership.require_known_member(ctx, room_id, target)
    content = membership.content_of(ctx.db, target, "invite", reason=reason, extra=extra)
    if server_name_of(target) != ctx.server_name:
        _require_federated(ctx, room_id, server_name_of(target))
        return (await remote_invite.send(ctx, room_id, sender, target, content)).event_id
    event = await events.send(ctx, room_id, sender, "m.room.member", content, state_key=target)
    return event.event_id


def _require_federated(ctx: Context, room_id: RoomId, server: ServerName) -> None:
    create = state.current(ctx.db, room_id, "m.room.create")
    if create is not None and create.content.get("m.federate") is False:
        raise Forbidden("The room is closed to other servers")
    if not server_access.is_allowed(ctx.db, room_id, server):
        raise Forbidden("The room's access control list denies the server of that user")


async def invite_to_new(
    ctx: Context, creator: UserId, room_id: RoomId, targets: Iterable[UserId], *, is_direct: bool
) -> None:
    """Invite users of other servers to a room that was just made. It stands whatever they say; who takes long is invited in the background."""
    extra = {"is_direct": True} if is_direct else None

    async def one(target: UserId) -> None:
        try:
            await invite(ctx, creator, room_id, target, extra=extra)
        except MatrixError as error:
            log.info("not_invited", room_id=room_id, user_id=target, reason=error.error)

    others = [target for target in dict.fromkeys(targets) if server_name_of(target) != ctx.server_name]
    tasks = [ctx.tasks.spawn(one(target), name="invite to a new room") for target in others]
    if tasks:
        await asyncio.wait(tasks, timeout=NEW_ROOM_SECONDS)
