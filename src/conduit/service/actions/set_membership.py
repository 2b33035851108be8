"""A member event set as plain state: the same acts as by their own endpoints, with content of the client's choice.

Source: client-server API, `PUT /rooms/{roomId}/state/m.room.member/{userId}` and "m.room.member".
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadJson, ConnectionFailed, Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId, parse_user_id
from conduit.service.actions import moderate
from conduit.service.actions.invite import invite
from conduit.service.actions.join import join
from conduit.service.actions.knock import knock
from conduit.service.actions.leave import leave
from conduit.service.actions.membership import MEMBERSHIPS
from conduit.service.context import Context


async def set_membership(
    ctx: Context, sender: UserId, room_id: RoomId, state_key: str, content: dict[str, Any], *, is_guest: bool = False
) -> EventId:
    """Bring about the membership that `content` names and return the id of the member event.

    Raises `InvalidParam` for a state key that is no user id, `BadJson` for an unknown membership, and what the act itself raises.
    """
    target = parse_user_id(state_key)
    wanted = content.get("membership")
    if not isinstance(wanted, str) or wanted not in MEMBERSHIPS:
        raise BadJson("'membership' must be one of join, invite, knock, leave and ban")
    if wanted == "ban":
        return await moderate.ban(ctx, sender, room_id, target, extra=content)
    if wanted == "invite":
        return await invite(ctx, sender, room_id, target, extra=content)
    if target == sender:
        if wanted == "join":
            return await join(ctx, sender, room_id, is_guest=is_guest, extra=content)
        if wanted == "knock":
            return await knock(ctx, sender, room_id, extra=content)
        event_id = await leave(ctx, sender, room_id, extra=content)
        if event_id is None:
            raise ConnectionFailed("You are out of the room, but no server in it could be told")
        return event_id
    if wanted != "leave":
        raise Forbidden("Nobody can join or knock for somebody else")
    if moderate.is_banned(ctx, room_id, target):
        return await moderate.unban(ctx, sender, room_id, target, extra=content)
    return await moderate.kick(ctx, sender, room_id, target, extra=content)
