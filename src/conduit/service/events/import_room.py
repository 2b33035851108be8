"""Taking a room over from elsewhere: its events and state are staged in small batches, and one last batch shows it.

Nothing reads what is staged: outliers that nobody cites yet, states that no event has, the index of a room that does not exist yet.
In a room that is shown already (its members were still to come, or its last user here had left) the index changes step by step; the numbered
state, which is what counts, changes in the last batch. `settle` may be repeated: after a crash it does what was not done.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import OUTLIER, REJECTED, EventMeta
from conduit.protocol.ids import EventId, RoomId, UserId, server_name_of
from conduit.service.context import Context
from conduit.service.events.accept import record_member
from conduit.service.events.foreign_state import Answer
from conduit.service.rooms import members, short_ids, state, state_layers, timeline

STEP = 120
"""How many rows' worth of work a batch holds: some milliseconds, far below a megabyte."""
_PLAIN_STEP = 4000
"""The same for work of less than a microsecond each."""

StateMap = dict[tuple[str, str], EventId]


class Change(NamedTuple):
    """An entry of a room's state that changes; `event` and `event_id` are 0 and empty if it goes."""

    type: str
    state_key: str
    key: int
    event: int
    event_id: EventId | None
    membership: str | None


async def stage_events(ctx: Context, answer: Answer) -> None:
    """Store the events of an answer as outliers, rejected ones as such, undecided ones not at all; what is known already stays."""
    waiting = [event_id for event_id in answer.events if event_id not in answer.undecided]
    for start in range(0, len(waiting), STEP):
        with ctx.db.batch() as batch:
            room = short_ids.ensure_room(batch, answer.room_id)
            step = waiting[start : start + STEP]
            cited = [auth for event_id in step for auth in answer.events[event_id].auth_events]
            short_ids.short_events(batch, list(dict.fromkeys(step + cited)))  # reads them in one go
            for event_id in step:
                _stage(batch, answer, event_id, room)
        await asyncio.sleep(0)


def _stage(batch: Batch, answer: Answer, event_id: EventId, room: int) -> None:
    found = answer.events[event_id]
    status = REJECTED if event_id in answer.rejected else OUTLIER
    short = short_ids.short_event(batch, event_id)
    if short is None:
        short = short_ids.give_event(batch, event_id)
    else:
        before = trees.shorteventid_meta.get(batch, short)
        if before is not None and (before.status != REJECTED or status == REJECTED):
            return
    auth = tuple([short_ids.ensure_event(batch, cited) for cited in found.auth_events])
    timeline.keep_outlier(batch, event_id, found.data, short, EventMeta(status, room, found.depth, auth))


async def stage_state(ctx: Context, entries: StateMap) -> tuple[int, dict[int, int]]:
    """Return the number of a state whose events are stored, written as one sorted layer, and the state itself in short ids."""
    short: dict[int, int] = {}
    waiting = list(entries.items())
    for start in range(0, len(waiting), STEP * 4):
        with ctx.db.batch() as batch:
            step = waiting[start : start + STEP * 4]
            events = short_ids.short_events(batch, [event_id for _, event_id in step])
            for ((event_type, state_key), event_id), event in zip(step, events, strict=True):
                key = short_ids.ensure_statekey(batch, event_type, state_key)
                short[key] = short_ids.ensure_event(batch, event_id) if event is None else event
        await asyncio.sleep(0)
    return await number_of(ctx, short), short


async def number_of(ctx: Context, entries: Mapping[int, int]) -> int:
    """Return the number of a state given in short ids, stored as one sorted layer if it is new."""
    pairs: list[bytes] = []
    items = list(entries.items())
    pack = struct.Struct(">QQ").pack
    for start in range(0, len(items), _PLAIN_STEP):
        pairs += sorted([pack(*item) for item in items[start : start + _PLAIN_STEP]])
        await asyncio.sleep(0)
    pairs.sort()  # sorted stretches: this only merges
    await asyncio.sleep(0)
    with ctx.db.batch() as batch:
        return state_layers.whole_sorted(batch, pairs)


async def changes_to(ctx: Context, room_id: RoomId, wanted: Mapping[int, int], answer: Answer | None) -> list[Change]:
    """Return how the room's index of current state differs from the state `wanted`, given in short ids."""
    room = short_ids.short_room(ctx.db, room_id)
    assert room is not None, "the room has been staged"
    differing: list[tuple[int, int]] = []
    present: set[int] = set()
    last: int | None = None
    while True:
        rows = []
        for row in trees.roomstate.scan(ctx.db, (room,), after=last):
            rows.append(row)
            if len(rows) == _PLAIN_STEP:
                break
        for (_, key), event in rows:
            present.add(key)
            if wanted.get(key) != event:
                differing.append((key, wanted.get(key, 0)))
        await asyncio.sleep(0)
        if len(rows) < _PLAIN_STEP:
            break
        last = rows[-1][0][1]
    differing += [(key, event) for key, event in wanted.items() if key not in present]
    changes: list[Change] = []
    for start in range(0, len(differing), STEP):
        changes += _described(ctx, differing[start : start + STEP], answer)
        await asyncio.sleep(0)
    return changes


def _described(ctx: Context, step: list[tuple[int, int]], answer: Answer | None) -> Iterable[Change]:
    pairs = short_ids.statekeys_of(ctx.db, [key for key, _ in step])
    ids = iter(short_ids.events_of(ctx.db, [event for _, event in step if event]))
    for (event_type, state_key), (key, short) in zip(pairs, step, strict=True):
        event_id = next(ids) if short else None
        membership = None
        if event_type == "m.room.member":
            known = answer.found(event_id) if answer is not None and event_id is not None else None
            event = None if known is not None or event_id is None else timeline.event(ctx.db, event_id)
            said = known.membership if known is not None else None if event is None else event.membership
            membership = said or "leave"
        yield Change(event_type, state_key, key, short, event_id, membership)


async def settle(ctx: Context, room_id: RoomId, changes: list[Change]) -> list[Change]:
    """Carry out changes of a room's index and of its members of other servers, in steps. Return those of local users, which belong into the last batch."""
    own: list[Change] = []
    waiting: list[Change] = []
    for change in changes:
        is_own = change.membership is not None and server_name_of(change.state_key) == ctx.server_name
        (own if is_own else waiting).append(change)
    # What lets the room be taken for one that exists comes last of all.
    waiting.sort(key=lambda change: change.type == "m.room.create")
    for start in range(0, len(waiting), STEP):
        with ctx.db.batch() as batch:
            apply(batch, room_id, waiting[start : start + STEP])
        await asyncio.sleep(0)
    return own


def apply(batch: Batch, room_id: RoomId, changes: list[Change]) -> None:
    """Carry out changes of a room's index of current state and of its members, within a batch."""
    if not changes:
        return
    state.set_entries(batch, room_id, [(c.type, c.state_key, c.key, c.event) for c in changes])
    count = batch.next_count()
    for change in changes:
        if change.membership is not None:
            members.record(batch, room_id, UserId(change.state_key), change.membership, count=count, event=change.event)


def show(ctx: Context, batch: Batch, room_id: RoomId, number: int, own: list[Change]) -> None:
    """Make a state the room's current one, whose index has been settled but for `own`, the memberships of local users."""
    count = batch.next_count()
    apply(batch, room_id, [change._replace(membership=None) for change in own])
    for change in own:
        user_id = UserId(change.state_key)
        event = None if change.event_id is None else timeline.event(batch, change.event_id)
        if event is not None:
            record_member(ctx, batch, event, change.event, count, user_id)
        else:
            members.record(batch, room_id, user_id, "leave", count=count, event=0)
            batch.wake(("user", user_id))
    state.set_current(batch, room_id, number, count, ())


def discard(batch: Batch, room_id: RoomId) -> None:
    """Forget the index of a room that was staged and will not be shown; its events stay as outliers."""
    room = short_ids.short_room(batch, room_id)
    if room is None or state.exists(batch, room_id):
        return
    entries = [(key, event) for (_, key), event in trees.roomstate.scan(batch, (room,))]
    pairs = short_ids.statekeys_of(batch, [key for key, _ in entries])
    gone = [Change(*pair, key, 0, None, _gone(pair)) for pair, (key, _) in zip(pairs, entries, strict=True)]
    apply(batch, room_id, gone)


def _gone(pair: tuple[str, str]) -> str | None:
    return "leave" if pair[0] == "m.room.member" else None
