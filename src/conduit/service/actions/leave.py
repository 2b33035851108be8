"""Leave a room, reject an invite, take back a knock; and forget a room. Source: client-server API, "Leaving rooms"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden, NotFound, Unknown
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.events import remote_membership
from conduit.service.rooms import members, state


async def leave(
    ctx: Context, user_id: UserId, room_id: RoomId, *, reason: str | None = None, extra: dict[str, Any] | None = None
) -> EventId | None:
    """End the membership of `user_id`, whether join, invite or knock, and return the id of the member event.

    `None` is returned where another server would have had to take the leave and none could: the user is out all the same. Leaving once more changes
    nothing. Raises `Forbidden` for who is banned or never had to do with the room.
    """
    before = members.membership(ctx.db, room_id, user_id)
    if before == "leave":
        return state.current_id(ctx.db, room_id, "m.room.member", user_id)
    if before is None:
        raise Forbidden("You are not in this room")
    content = membership.content_of(ctx.db, user_id, "leave", reason=reason, extra=extra)
    if before in ("invite", "knock") and not _is_known_here(ctx, user_id, room_id, before):
        async with ctx.locks.entry(room_id):
            if members.membership(ctx.db, room_id, user_id) == before:
                servers = membership.servers_for(ctx, room_id, user_id)
                left = await remote_membership.leave(ctx, user_id, room_id, servers, content)
                return None if left is None else left.event_id
    event = await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id)
    return event.event_id


def _is_known_here(ctx: Context, user_id: UserId, room_id: RoomId, before: str) -> bool:
    """Tell whether the state of a room that this server is in holds the invite or the knock."""
    if not membership.is_here(ctx, room_id):
        return False
    event = state.current(ctx.db, room_id, "m.room.member", user_id)
    return event is not None and event.membership == before


def forget(ctx: Context, user_id: UserId, room_id: RoomId) -> None:
    """Let a room that the user has left vanish for them.

    Raises `Unknown` while they are in it or invited, `NotFound` for a room that they never had to do with.
    """
    before = members.membership(ctx.db, room_id, user_id)
    if before is None:
        if members.is_forgotten(ctx.db, room_id, user_id):
            return
        raise NotFound("You have never been in this room")
    if before not in ("leave", "ban"):
        raise Unknown(f"User {user_id} is in room {room_id}")
    with ctx.db.batch() as batch:
        members.forget(batch, room_id, user_id)
