"""Change a profile, and tell the user's rooms. Source: client-server API, "Profiles", "Events on Change of Profile Information".

The profile is stored first and told with the user's presence; then a member event goes to every joined room, one after another. While that is under way a row in
`profile_pending` stands for it, so a restart goes on where it was. Each event takes the profile as it is when it is sent: of two changes that
follow each other quickly, the later one is what every room ends with.
"""

from __future__ import annotations

from typing import Any

import structlog

from conduit.database import trees
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId, UserId
from conduit.service import events
from conduit.service.context import Context
from conduit.service.rooms import members, state
from conduit.service.users import accounts, profiles

log = structlog.get_logger(__name__)

AT_ONCE = 30
"""Rooms that are told before the request is answered; the others follow in the background."""

_MEMBER = "m.room.member"
_NOT_REPEATED = frozenset({"join_authorised_via_users_server", "third_party_invite", "is_direct", "reason"})
"""Parts of a member event that belong to the act of joining, not to being joined."""


async def change_profile(ctx: Context, user_id: UserId, changes: dict[str, Any]) -> None:
    """Set the fields in `changes`, which have been checked; `profiles.REMOVED` removes one. Rooms hear of a new name or avatar.

    Raises `ProfileTooLarge`.
    """
    with ctx.db.batch() as batch:
        before = profiles.member_fields(batch, user_id)
        for name, value in changes.items():
            profiles.set_field(batch, user_id, name, value)
        rooms = members.rooms(batch, user_id)
        after = profiles.member_fields(batch, user_id)
        is_visible = after != before
        if is_visible and rooms:
            trees.profile_pending.put(batch, user_id, True)
    if not is_visible:
        return
    ctx.presence.show_profile(user_id, after)
    if len(rooms) <= AT_ONCE:
        await tell_rooms(ctx, user_id)
    elif rooms:
        ctx.tasks.spawn(tell_rooms(ctx, user_id), name=f"profile of {user_id}")


async def tell_rooms(ctx: Context, user_id: UserId) -> None:
    """Bring the member events of all joined rooms up to the profile."""
    async with ctx.locks.user(user_id):
        for room_id in members.rooms(ctx.db, user_id):
            await _tell(ctx, user_id, room_id)
        with ctx.db.batch() as batch:
            trees.profile_pending.delete(batch, user_id)


def resume(ctx: Context) -> None:
    """Go on, after a start, with what was not finished."""
    for user_id in trees.profile_pending.keys(ctx.db):
        ctx.tasks.spawn(tell_rooms(ctx, UserId(user_id)), name=f"profile of {user_id}")


async def _tell(ctx: Context, user_id: UserId, room_id: RoomId) -> None:
    current = state.current(ctx.db, room_id, _MEMBER, user_id)
    if current is None or current.membership != "join" or accounts.is_deactivated(ctx.db, user_id):
        return
    shown = (profiles.DISPLAYNAME, profiles.AVATAR_URL)
    content = {k: v for k, v in current.content.items() if k not in _NOT_REPEATED and k not in shown}
    content |= profiles.member_fields(ctx.db, user_id)
    try:
        await events.send(ctx, room_id, user_id, _MEMBER, content, state_key=user_id)
    except MatrixError as error:
        # The room's own rules: it keeps the old name, and the others are told all the same.
        log.info("profile_not_told", room_id=room_id, user_id=user_id, error=error.error)
