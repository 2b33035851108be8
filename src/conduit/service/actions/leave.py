"""Leave a room, reject an invite, take back a knock; and forget a room. Source: client-server API, "Leaving rooms"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden, NotFound, Unknown
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.context import Context
from conduit.service.rooms import members, state


async def leave(
    ctx: Context, user_id: UserId, room_id: RoomId, *, reason: str | None = None, extra: dict[str, Any] | None = None
) -> EventId:
    """End the membership of `user_id`, whether join, invite or knock, and return the id of the member event.

    Leaving once more changes nothing. Raises `Forbidden` for who is banned or never had to do with the room.
    """
    membership.require_known(ctx.db, room_id)
    before = members.membership(ctx.db, room_id, user_id)
    if before == "leave":
        event_id = state.current_id(ctx.db, room_id, "m.room.member", user_id)
        if event_id is not None:
            return event_id
    if before is None:
        raise Forbidden("You are not in this room")
    content = membership.content_of(ctx.db, user_id, "leave", reason=reason, extra=extra)
    event = await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id)
    return event.event_id


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
