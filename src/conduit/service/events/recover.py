"""What was under way when the server stopped: rooms that are still to be completed, and membership events whose fate is not known.

Runs in the background, and goes on with joins that have to be taken back while the server runs.
"""

from __future__ import annotations

import structlog

from conduit.database.errors import DiskFull
from conduit.protocol.errors import MatrixError
from conduit.service.context import Context
from conduit.service.events import complete_room, import_room, intents, remote_join, remote_membership
from conduit.service.events.intents import Intent
from conduit.service.outbound.errors import RemoteError, Unreachable
from conduit.service.rooms import members, partial

log = structlog.get_logger(__name__)

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 3600.0
GIVE_UP_MS = 7 * 86_400_000
"""For how long it is tried to tell another server what has become of an event that may have reached it."""


async def run(ctx: Context) -> None:
    """Complete what is incomplete; then wait for joins that are to be taken back. Runs until cancelled."""
    for room_id in partial.rooms(ctx.db):
        ctx.tasks.spawn(complete_room.complete(ctx, room_id), name="members of a room")
    left = {(intent.room_id, intent.user_id) for intent in intents.all_of(ctx.db)}
    pause = FIRST_PAUSE
    with ctx.db.watch.register([("intents", "")]) as waiter:
        while True:
            open_ones = 0
            for intent in intents.all_of(ctx.db):
                if intent.undo or (intent.room_id, intent.user_id) in left:
                    open_ones += not await settle(ctx, intent)
            # Woken by a new one; a pause only where somebody could not be reached.
            woken = await waiter.wait(pause if open_ones else None)
            pause = FIRST_PAUSE if woken else min(pause * 2, LONGEST_PAUSE)


async def settle(ctx: Context, intent: Intent) -> bool:
    """Complete an intent or undo it; tell whether nothing remains to be done."""
    async with ctx.locks.entry(intent.room_id):
        now = intents.find(ctx.db, intent.room_id, intent.user_id)
        if now is None or now.event != intent.event or now.undo != intent.undo:
            return True  # another deed has taken its place
        try:
            await _settle(ctx, intent)
        except DiskFull:
            return False
        except (RemoteError, MatrixError) as error:
            log.info("intent_open", room_id=intent.room_id, user_id=intent.user_id, reason=str(error))
            lost = isinstance(error, Unreachable)
            if lost and ctx.clock.now_ms() - intent.event.origin_server_ts < GIVE_UP_MS:
                return False
        with ctx.db.batch() as batch:
            if intent.membership == "join":
                import_room.discard(batch, intent.room_id)
            elif intent.membership == "leave":
                remote_membership.record(batch, intent.room_id, intent.user_id, "leave")
            intents.end(batch, intent.room_id, intent.user_id)
        return True


async def _settle(ctx: Context, intent: Intent) -> None:
    room_id, user_id = intent.room_id, intent.user_id
    if intent.membership == "leave":
        await remote_membership.send_leave(ctx, intent.server, intent.event)
    elif intent.membership == "knock":
        await remote_membership.send_knock(ctx, intent.server, intent.event)
    elif members.is_joined(ctx.db, room_id, user_id):
        return
    elif intent.undo:
        await remote_membership.leave_quietly(ctx, intent.server, user_id, room_id)
    else:
        await remote_join.resume(ctx, intent)
