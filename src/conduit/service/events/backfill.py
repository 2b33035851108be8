"""History from before this server was in a room, and what it missed since: fetched from other servers when somebody scrolls there.

A chunk is asked for by the events that are missing. Its oldest events get their state from whoever gave it, the others follow from that; each is checked like any
other, and put where it belongs: before all live events, or right before the one behind which it was missing.

Source: server-server API, "Backfilling and retrieving missing events".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

import structlog

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import ACCEPTED, OUTLIER, REJECTED, SOFT_FAILED, EventMeta, PduId
from conduit.protocol.ids import EventId, RoomId, ServerName, server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context
from conduit.service.events import fetch, incoming, judge, resolve
from conduit.service.events.accept import fill_in
from conduit.service.events.fetch import Budget
from conduit.service.outbound.errors import RemoteError
from conduit.service.rooms import members, short_ids, state, state_layers, timeline, versions
from conduit.service.rooms.cuts import Cut

log = structlog.get_logger(__name__)

CHUNK: Final = 100
"""How many events are asked for at a time, whoever wants how few."""
MAX_NAMED: Final = 20
_BOTTOM: Final = 20
"""How many of the oldest events are looked at for what they follow."""
_MAX_BEHIND: Final = 2000
"""Through how many refused events it is looked for what lies behind them."""
_MAX_SERVERS: Final = 4
_SECONDS: Final = 30.0
_MAX_BYTES: Final = 16 << 20


class Hole(NamedTuple):
    """A place in a timeline where events are missing: before the live event `live` (0: before everything), namely these."""

    live: int
    missing: tuple[EventId, ...]


def hole_before(source: CacheSource, room_id: RoomId, start: Cut, end: Cut) -> Hole | None:
    """Return the newest place between two cuts, `start` being the later one, at which events are missing; `None` if there is none.

    What is missing before everything counts if `end` lies before all that is held.
    """
    room = short_ids.short_room(source, room_id)
    if room is None:
        return None
    row = trees.room_gap.last(source, (room,), before=start.live + 1)
    if row is not None and row[0][1] > end.live:
        return Hole(row[0][1], tuple([EventId(event_id) for event_id in row[1]]))
    first = timeline.first_position(source, room_id)
    if first is None or first.order() <= end:
        return None
    missing = _missing_at_bottom(source, room_id)
    return Hole(0, missing) if missing else None


def _missing_at_bottom(source: CacheSource, room_id: RoomId) -> tuple[EventId, ...]:
    oldest = islice(timeline.scan(source, room_id), _BOTTOM)
    return _unknown(source, [prev for _, event in oldest for prev in event.prev_events])


def _unknown(source: CacheSource, cited: Iterable[EventId]) -> tuple[EventId, ...]:
    """Return those of events that are neither held in the timeline nor refused; in place of the refused ones, what these follow."""
    return judge.missing_behind(source, cited, _MAX_BEHIND)


def _is_done(source: CacheSource, event_id: EventId) -> bool:
    if timeline.position(source, event_id) is not None:
        return True
    facts = timeline.meta(source, event_id)
    return facts is not None and facts.status in (REJECTED, SOFT_FAILED)


async def backfill(ctx: Context, room_id: RoomId, hole: Hole, *, limit: int = CHUNK) -> bool:
    """Fetch events that are missing at a place of a room's timeline; tell whether anything came. Other servers are asked in turn."""
    async with ctx.locks.history(room_id):
        missing = _unknown(ctx.db, hole.missing)
        if not missing:
            # It has come meanwhile, perhaps in a way of its own, or when it was fetched by somebody who gave up before it had its place.
            await _place(ctx, room_id, hole, [])
            return True
        version = versions.version_of(ctx.db, room_id)
        for server in helpers(ctx, room_id):
            chunk = await _fetch(ctx, server, room_id, version, missing[:MAX_NAMED], max(limit, 10))
            if chunk and await _put(ctx, server, room_id, hole, chunk):
                return True
        return False


def helpers(ctx: Context, room_id: RoomId) -> list[ServerName]:
    """Return whom to ask: first the servers of those who were there at the oldest events."""
    oldest = [server_name_of(event.sender) for _, event in islice(timeline.scan(ctx.db, room_id), _BOTTOM)]
    there = set(members.servers(ctx.db, room_id))
    first = [server for server in dict.fromkeys(oldest) if server in there]
    creator = state.current(ctx.db, room_id, "m.room.create")
    if creator is not None and server_name_of(creator.sender) in there:
        first.append(server_name_of(creator.sender))
    wanted = dict.fromkeys((*first, *sorted(there)))
    able = [server for server in wanted if server != ctx.server_name and ctx.outbound.backoff.may_try(server)]
    return able[:_MAX_SERVERS]


async def _fetch(
    ctx: Context, server: ServerName, room_id: RoomId, version: RoomVersion, missing: Sequence[EventId], limit: int
) -> dict[EventId, Event]:
    """Return events from the missing ones backwards as a server gives them, checked for themselves."""
    federation = ctx.outbound.federation
    limit = min(limit, CHUNK)
    try:
        answer = await federation.get(
            server,
            federation.path("/_matrix/federation/v1/backfill", room_id),
            {"v": list(missing), "limit": str(limit)},
            seconds=_SECONDS,
            max_bytes=_MAX_BYTES,
        )
    except RemoteError as error:
        log.info("no_history", room_id=room_id, server=server, reason=error.reason)
        return {}
    pdus = answer.get("pdus")
    some = pdus[: limit + MAX_NAMED] if isinstance(pdus, list) else []
    checked = await incoming.check_pdus(ctx, some, version, room_id=room_id, old=True)
    return _connected({one.event_id: one for one in checked if isinstance(one, Event)}, missing)


def _connected(found: dict[EventId, Event], missing: Iterable[EventId]) -> dict[EventId, Event]:
    """Return those of the events that the missing ones lead to."""
    connected: dict[EventId, Event] = {}
    waiting = [event_id for event_id in missing if event_id in found]
    while waiting:
        event_id = waiting.pop()
        if event_id not in connected:
            connected[event_id] = found[event_id]
            waiting += [prev for prev in found[event_id].prev_events if prev in found]
    return connected


async def _put(ctx: Context, server: ServerName, room_id: RoomId, hole: Hole, chunk: dict[EventId, Event]) -> bool:
    """Give every event of a chunk its state and its place; tell whether any has been decided on now, if only to be refused."""
    budget = Budget(ctx, server, is_wanted=True)
    ordered = fetch.in_order(chunk)
    put: list[tuple[Event, int, int]] = []
    decided = 0
    for event in ordered:
        if _is_done(ctx.db, event.event_id) or judge.follows_other_room(ctx.db, event):
            continue
        before = await _state_before(ctx, server, event, budget)
        if before is None:
            log.info("history_without_state", room_id=room_id, event_id=event.event_id)
            continue
        unknown = [auth for auth in event.auth_events if timeline.meta(ctx.db, auth) is None]
        if unknown and not await fetch.auth_events(ctx, server, event, unknown, budget):
            continue
        with ctx.db.batch() as batch:
            if _is_done(batch, event.event_id):
                continue  # it came in another way meanwhile
            after = _settle(batch, event, before)
        decided += 1
        if after is not None:
            put.append((event, before, after))
    await _place(ctx, room_id, hole, put)
    return decided > 0


async def _state_before(ctx: Context, server: ServerName, event: Event, budget: Budget) -> int | None:
    numbers = [state.after(ctx.db, prev) for prev in event.prev_events]
    known = [number for number in numbers if number is not None]
    if event.type == "m.room.create":
        return 0
    if known and len(known) == len(numbers):
        return await resolve.resolve_states(ctx, event.room_id, event.version, known)
    told = state.before(ctx.db, event.event_id)
    if told is not None:
        return told
    with ctx.db.batch() as batch:
        _keep(batch, event, OUTLIER)
    if not await fetch.state_at(ctx, server, event, event.event_id, budget):
        return None
    return state.before(ctx.db, event.event_id)


def _settle(batch: Batch, event: Event, before: int) -> int | None:
    """Return the state after an event, which is written; `None` for one that the rules refuse, which is kept as such."""
    short = short_ids.ensure_event(batch, event.event_id)
    reason = judge.rejection(batch, event, before)
    if reason is not None:
        log.info("event_not_accepted", room_id=event.room_id, event_id=event.event_id, reason=reason)
        facts = timeline.facts(batch, short)
        _keep(batch, event, REJECTED if facts is None else SOFT_FAILED)
        state.set_around(batch, short, before, before)
        return None
    after = before
    if event.state_key is not None:
        key = short_ids.ensure_statekey(batch, event.type, event.state_key)
        after = state_layers.with_event(batch, before, key, short)
    _keep(batch, event, OUTLIER)
    state.set_around(batch, short, before, after)
    return after


def _keep(batch: Batch, event: Event, status: int) -> None:
    room = short_ids.ensure_room(batch, event.room_id)
    short = short_ids.ensure_event(batch, event.event_id)
    facts = timeline.facts(batch, short)
    if facts is not None and facts.status in (status, ACCEPTED):
        return
    auth = tuple([short_ids.ensure_event(batch, event_id) for event_id in event.auth_events])
    timeline.put_outlier(batch, event, short, EventMeta(status, room, event.depth, auth))


async def _place(ctx: Context, room_id: RoomId, hole: Hole, put: list[tuple[Event, int, int]]) -> None:
    """Write a chunk into the timeline, newest event first, and what is missing before it now."""
    async with ctx.locks.room(room_id):
        with ctx.db.batch() as batch:
            room = short_ids.ensure_room(batch, room_id)
            live = 0
            if hole.live:
                earlier = next(timeline.positions(batch, room_id, before=PduId(room, hole.live), reverse=True), None)
                live = 0 if earlier is None else earlier.live
            for event, before, after in reversed(put):
                if timeline.position(batch, event.event_id) is None:
                    # Greater numbers lie further back.
                    place = PduId(room, live, batch.next_count())
                    fill_in(batch, event, place, state_before=before, state_after=after)
            if hole.live:
                behind = [prev for event, _, _ in put for prev in event.prev_events]
                left = _unknown(batch, [*hole.missing, *behind])
                if left:
                    trees.room_gap.put(batch, (room, hole.live), list(left))
                else:
                    trees.room_gap.delete(batch, (room, hole.live))
