"""Keeping a room's leaves few: an event that says nothing cites many of them, so that nobody need resolve the state over all of them any more.

Many leaves come from a split of the network, or from somebody who sends events that cite old ones.
"""

from __future__ import annotations

from typing import Final

import structlog

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.visibility import DUMMY
from conduit.service.context import Context
from conduit.service.events import receive
from conduit.service.events.build import build
from conduit.service.events.judge import Verdict
from conduit.service.rooms import leaves, members, state, versions

log = structlog.get_logger(__name__)

MAX_LEAVES: Final = 10
"""With more than so many leaves a room is folded once all that waits has been decided on."""
MAX_MEANWHILE: Final = 16
"""With more than so many it is folded before the next events are decided on: each leaf makes these dearer, and what waits may be thousands."""


async def fold(ctx: Context, room_id: RoomId, *, most: int = MAX_LEAVES) -> None:
    """Let one event of a local user take the place of the room's leaves if there are more than `most`, and somebody here may send it."""
    if len(leaves.of(ctx.db, room_id)) <= most:
        return
    for _ in range(MAX_LEAVES):
        if len(leaves.of(ctx.db, room_id)) <= MAX_LEAVES:
            return
        event = _closing(ctx, room_id)
        if event is None:
            return
        outcome = await receive.process(ctx, ctx.server_name, event)
        log.info("leaves_folded", room_id=room_id, event_id=event.event_id, verdict=outcome.verdict.value)
        if outcome.verdict is not Verdict.ACCEPTED:
            return


def _closing(ctx: Context, room_id: RoomId) -> Event | None:
    """Return an event of a local user that anybody here may send; `None` if nobody of here is in the room.

    Where nobody may speak, a user joins again as he is: others can change their profiles as often as they like there, and each change costs the more the more leaves there are.
    """
    version = versions.version_of(ctx.db, room_id)
    speaker = _speaker(ctx, room_id)
    if speaker is not None:
        return build(ctx, ctx.db, room_id, version, speaker, DUMMY, {})
    user = min(members.joined_local(ctx.db, room_id, ctx.server_name), default=None)
    join = None if user is None else state.current(ctx.db, room_id, "m.room.member", user)
    if user is None or join is None:
        return None
    content = {name: value for name, value in join.content.items() if name != "join_authorised_via_users_server"}
    return build(ctx, ctx.db, room_id, version, user, "m.room.member", content, state_key=user)


def _speaker(ctx: Context, room_id: RoomId) -> UserId | None:
    """Return a local user in the room who may send such an event; of several always the same."""
    levels = state.power_levels(ctx.db, room_id)
    needed = levels.for_message(DUMMY)
    users = members.joined_local(ctx.db, room_id, ctx.server_name)
    return min((user for user in users if levels.user(user) >= needed), default=None)
