"""The states of a room made anew from some event on: its members have become known, and so what stood on less is put right.

For each event since then the state before and after it is worked out again, and the event is judged on it. What the rules refuse now
was let in only because something was not known: it leaves the timeline and is kept as rejected. Then the room's current state follows from its leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

import structlog

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import REJECTED, EventMeta, PduId
from conduit.protocol import event_auth
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import import_room, resolve
from conduit.service.events.foreign_state import Answer
from conduit.service.rooms import leaves, members, partial, redactions, short_ids, state, state_layers, timeline

log = structlog.get_logger(__name__)

STEP = 40
"""How many events are taken at a time."""


async def since(ctx: Context, room_id: RoomId, join: EventId, whole: int, answer: Answer) -> None:
    """Let `whole` be the state before the event `join`, and everything after it follow; end the room's being partial.

    Held: the room's lock. May be repeated after a crash. `answer` holds events that were staged just now.
    """
    after: dict[EventId, int] = {}
    refused: list[PduId] = []
    begin = timeline.position(ctx.db, join)
    place: PduId | None = None
    while True:
        rows = _next(ctx, room_id, begin, place)
        if not rows:
            break
        for place, event in rows:
            before = whole if event.event_id == join else await _before(ctx, event, after)
            with ctx.db.batch() as batch:
                number = _restate(batch, event, before)
            after[event.event_id] = before if number is None else number
            if number is None:
                refused.append(place)
        await asyncio.sleep(0)
    # Only when all stands on the whole: after a crash nobody could tell any more what is to stand on an event that is gone, nor, should it be the join, what came after it.
    await _reject(ctx, refused)
    with ctx.db.batch() as batch:
        leaves.refresh(batch, room_id)
    states = [leaf.state for leaf in leaves.of(ctx.db, room_id) if leaf.state]
    current = await _resolved(ctx, room_id, list(dict.fromkeys(states)) or [whole])
    changes = await import_room.changes_to(ctx, room_id, state.ids(ctx.db, current), answer)
    own = await import_room.settle(ctx, room_id, changes)
    with ctx.db.batch() as batch:
        import_room.show(ctx, batch, room_id, current, own)
        partial.end(batch, room_id, since=begin.live if begin is not None else 0, until=batch.next_count())
        batch.wake(("sight", room_id))
        members.wake(batch, room_id, ctx.server_name)


def _next(ctx: Context, room_id: RoomId, begin: PduId | None, last: PduId | None) -> list[tuple[PduId, Event]]:
    """Return some events after `last`, or from `begin` on."""
    if last is not None:
        return list(islice(timeline.scan(ctx.db, room_id, after=last), STEP))
    first = None if begin is None else timeline.event_at(ctx.db, begin)
    return [] if first is None or begin is None else [(begin, first)]


async def _before(ctx: Context, event: Event, after: dict[EventId, int]) -> int:
    """Return the state before an event, from the new states after those that it follows; what others told of it stays."""
    states = [after[previous] for previous in event.prev_events if previous in after]
    if len(states) < len(event.prev_events):
        known = state.before(ctx.db, event.event_id)
        if known:
            states.append(known)
    return await _resolved(ctx, event.room_id, list(dict.fromkeys(states)))


async def _resolved(ctx: Context, room_id: RoomId, states: Sequence[int]) -> int:
    if len(states) == 1:
        return states[0]
    return await resolve.resolve_states(ctx, room_id, state.version_of(ctx.db, room_id), states)


def _restate(batch: Batch, event: Event, before: int) -> int | None:
    """Write the states around an event, and return the one after it; `None`, and nothing is written, if the rules refuse it."""
    try:
        event_auth.authorise(event, event.version, lambda kind, key: state.get(batch, before, kind, key))
    except Forbidden as error:
        log.info("event_rejected", room_id=event.room_id, event_id=event.event_id, reason=error.error)
        return None
    short = short_ids.ensure_event(batch, event.event_id)
    after = before
    if event.state_key is not None:
        after = state_layers.with_event(
            batch, before, short_ids.ensure_statekey(batch, event.type, event.state_key), short
        )
    state.set_around(batch, short, before, after)
    return after


async def _reject(ctx: Context, places: Sequence[PduId]) -> None:
    """Take events out of the timeline, the newest first: what takes the place of a leaf that goes is then looked at in its turn."""
    for place in reversed(places):
        with ctx.db.batch() as batch:
            event = timeline.event_at(batch, place)
            if event is not None:
                _withdraw(batch, event, short_ids.ensure_event(batch, event.event_id), place)
        await asyncio.sleep(0)


def _withdraw(batch: Batch, event: Event, short: int, place: PduId) -> None:
    redactions.unindex(batch, event, place)
    facts = timeline.facts(batch, short)
    auth = () if facts is None else facts.auth
    timeline.withdraw(batch, event, short, place, EventMeta(REJECTED, place.room, event.depth, auth))
    trees.shorteventid_shortstatehash.delete(batch, short)
    trees.shorteventid_stateafter.delete(batch, short)
    leaves.drop(batch, event)
