"""Set state of a room. Source: client-server API, `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`, "Guest Access"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service import events
from conduit.service.actions import content_checks
from conduit.service.actions.expel_guests import expel_guests
from conduit.service.actions.set_membership import set_membership
from conduit.service.context import Context
from conduit.service.rooms import members


async def set_state(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    event_type: str,
    state_key: str,
    content: dict[str, Any],
    *,
    is_guest: bool = False,
    origin_server_ts: int | None = None,
) -> EventId:
    """Set one piece of state and return the id of its event; state that is already so stays as it is.

    Raises `Forbidden` for who is not in the room or may not send this, `BadJson` and `TooLarge` for content that cannot be an event,
    and what `content_checks` and `set_membership` raise.
    """
    if event_type == "m.room.member":
        return await set_membership(ctx, sender, room_id, state_key, content, is_guest=is_guest)
    if not members.is_joined(ctx.db, room_id, sender):
        raise Forbidden("You are not in this room")
    await content_checks.check_state(ctx, room_id, event_type, state_key, content)
    event = await events.send(
        ctx, room_id, sender, event_type, content, state_key=state_key, origin_server_ts=origin_server_ts
    )
    ctx.presence.active(sender)
    if event_type == "m.room.guest_access" and not state_key and content.get("guest_access") != "can_join":
        await expel_guests(ctx, room_id)
    return event.event_id
