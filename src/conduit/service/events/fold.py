"""Keeping a room's leaves few: an event that says nothing cites many of them, so that nobody need resolve the state over all of them any more.

Many leaves come from a split of the network, or from somebody who sends events that cite old ones.
"""

from __future__ import annotations

from typing import Final

import structlog

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.visibility import DUMMY
from conduit.service.context import Context
from conduit.service.events import receive
from conduit.service.events.build import build
from conduit.service.events.judge import Verdict
from conduit.service.rooms import leaves, members, state, versions

log = structlog.get_logger(__name__)

MAX_LEAVES: Final = 10
"""With more than so many leaves a room is folded."""


async def fold(ctx: Context, room_id: RoomId) -> None:
    """Let one event of a local user take the place of the room's leaves if there are too many, and somebody here may send it."""
    for _ in range(MAX_LEAVES):
        if len(leaves.of(ctx.db, room_id)) <= MAX_LEAVES:
            return
        speaker = _speaker(ctx, room_id)
        if speaker is None:
            return
        event = build(ctx, ctx.db, room_id, versions.version_of(ctx.db, room_id), speaker, DUMMY, {})
        outcome = await receive.process(ctx, ctx.server_name, event)
        log.info("leaves_folded", room_id=room_id, event_id=event.event_id, verdict=outcome.verdict.value)
        if outcome.verdict is not Verdict.ACCEPTED:
            return


def _speaker(ctx: Context, room_id: RoomId) -> UserId | None:
    """Return a local user in the room who may send such an event; of several always the same."""
    levels = state.power_levels(ctx.db, room_id)
    needed = levels.for_message(DUMMY)
    users = members.joined_local(ctx.db, room_id, ctx.server_name)
    return min((user for user in users if levels.user(user) >= needed), default=None)
