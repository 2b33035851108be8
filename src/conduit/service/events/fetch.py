"""Asking other servers for what an event builds on: the events before it, those that authorise it, the state at one of them.

What comes is checked like anything else that others send. Everything is bounded for each event that asks: requests, events, time. So an event costs a
limited amount whatever its server makes of it, and what cannot be had is left out.

Source: server-server API, "Backfilling and retrieving missing events", "Retrieving events", "Retrieving event authorization information".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import structlog

from conduit.database import trees
from conduit.database.database import Batch
from conduit.database.layouts import REJECTED
from conduit.protocol.errors import BadJson, MatrixError
from conduit.protocol.ids import EventId, RoomId, ServerName, is_event_id
from conduit.protocol.json_pieces import pieces
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.events import foreign_state, import_room, incoming
from conduit.service.events.foreign_state import Answer
from conduit.service.outbound import TOLD_PIECE
from conduit.service.outbound.errors import Refused, RemoteError
from conduit.service.outbound.turns import household
from conduit.service.rooms import leaves, members, short_ids, state, state_layers, timeline

log = structlog.get_logger(__name__)

MAX_SERVERS = 3
"""How many servers are asked for the same thing."""
MISSING_AT_A_TIME = 20
"""How many missing events are asked for in one request; others give no more."""
MAX_REQUESTS = 60
MAX_SECONDS = 300.0
MAX_OLDER = 5
"""How many events from before all that is known an event may follow."""
MAX_WHOLE_STATES = 4
"""How many whole states are fetched for one event: each may be a hundred megabytes, and what of it is valid is kept."""
FEW = 60
"""Up to so many events of a state are fetched one by one; more come with the whole state."""
MAX_IDS = 400_000
"""How many ids a state and its auth chain may have together."""
_AT_A_TIME = 8
_SECONDS = 30.0
_LONG_SECONDS = 120.0
_MAX_IDS_BYTES = 32 << 20
_MAX_STATE_BYTES = 128 << 20
_MAX_CHAIN = 2000
"""Of how many events an auth chain is looked at that authorises one event."""
_STATE_ARRAYS = frozenset({"pdus", "auth_chain"})
_ID_ARRAYS = frozenset({"pdu_ids", "auth_chain_ids"})
_STEP = 2000
_ID_STEP = 1000
_EVENT_STEP = 200
_PREFIX = "/_matrix/federation/v1/"


class Budget:
    """What may be spent on one event and all that is missing before it."""

    __slots__ = ("_ctx", "_is_wanted", "_until", "events", "origin", "requests", "whole_states")

    def __init__(self, ctx: Context, origin: ServerName, *, is_wanted: bool = False) -> None:
        """Begin to spend; `is_wanted` if somebody here has asked for it, and no other server made us."""
        self._ctx = ctx
        self._is_wanted = is_wanted
        self.origin = origin
        """Who has sent the event: it is alive, and asked even if it has failed just before."""
        self.requests = MAX_REQUESTS
        self.whole_states = MAX_WHOLE_STATES
        self.events = ctx.config.max_fetch_prev_events
        self._until = ctx.clock.monotonic() + MAX_SECONDS

    def spend(self) -> bool:
        """Take one request off; tell whether it may be made."""
        self.requests -= 1
        return self.requests >= 0 and self._ctx.clock.monotonic() < self._until

    def spend_state(self, room_id: RoomId) -> bool:
        """Take one request for the state at an event off; tell whether it may be made. All events of one owner's servers share how many there may be in a room."""
        if self._is_wanted:
            return self.spend()
        return self.spend() and not self._ctx.outbound.told_states.take((household(self.origin), room_id))

    def spend_bytes(self, number: int) -> bool:
        """Take the size of events off that are to be stored only because events build on them; tell whether they may be."""
        return not self._ctx.outbound.told_pieces.take(household(self.origin), 1 + number // TOLD_PIECE)

    def spend_whole_state(self) -> bool:
        """Take one request for a whole state off; tell whether it may be made."""
        self.whole_states -= 1
        return self.whole_states >= 0 and self.spend()


def servers_for(ctx: Context, origin: ServerName, room_id: RoomId, sender: ServerName) -> list[ServerName]:
    """Return whom to ask about a room: who has told of the event, its sender's server, and some other that is in the room."""
    others = sorted(members.servers(ctx.db, room_id)[: 10 * MAX_SERVERS])
    wanted = dict.fromkeys((origin, sender, *others))
    return [server for server in wanted if server != ctx.server_name][:MAX_SERVERS]


async def missing_events(ctx: Context, server: ServerName, event: Event, budget: Budget) -> list[Event]:
    """Return events between the room's leaves and `event`, as `server` gives them, checked; those that others cite first.

    Asks again while what has come hangs in the air, within the budget. What lies before all that is known of the room is history, and left out: on
    events of that time nobody decides anew, and as leaves they would take the state back.
    """
    oldest = _oldest_depth(ctx, event.room_id)
    found: dict[EventId, Event] = {}
    latest = [event.event_id]
    earliest = [leaf.event_id for leaf in leaves.of(ctx.db, event.room_id)][:MISSING_AT_A_TIME]
    while latest and budget.events > len(found) and budget.spend():
        limit = min(MISSING_AT_A_TIME, budget.events - len(found))
        body = {
            "earliest_events": earliest,
            "latest_events": latest[:MISSING_AT_A_TIME],
            "limit": limit,
            "min_depth": oldest,
        }
        federation = ctx.outbound.federation
        try:
            target = federation.path(_PREFIX + "get_missing_events", event.room_id)
            async with ctx.outbound.background.place(event.room_id, server):
                answer = await federation.post(server, target, body, seconds=_SECONDS, now=server == budget.origin)
        except RemoteError as error:
            log.info("no_missing_events", room_id=event.room_id, server=server, reason=error.reason)
            break
        pdus = answer.get("events")
        fresh = await _checked(ctx, pdus if isinstance(pdus, list) else [], event, limit)
        fresh = [one for one in fresh if one.event_id not in found and one.event_id != event.event_id]
        fresh = [one for one in fresh if one.depth >= oldest]
        found.update((one.event_id, one) for one in fresh)
        latest = [one.event_id for one in fresh if _hangs(ctx, one, found)]
    budget.events -= len(found)
    return in_order(found)


def _oldest_depth(ctx: Context, room_id: RoomId) -> int:
    """Return the depth of the oldest event in the room's timeline; 0 if there is none."""
    place = timeline.first_position(ctx.db, room_id)
    oldest = None if place is None else timeline.event_at(ctx.db, place)
    return 0 if oldest is None else oldest.depth


def _hangs(ctx: Context, event: Event, found: dict[EventId, Event]) -> bool:
    """Tell whether something right before an event is neither known nor fetched."""
    return any(prev not in found and state.after(ctx.db, prev) is None for prev in event.prev_events)


async def _checked(ctx: Context, pdus: list[Any], event: Event, limit: int) -> list[Event]:
    checked = await incoming.check_pdus(ctx, pdus[:limit], event.version, room_id=event.room_id)
    good = [one for one in checked if isinstance(one, Event)]
    if len(good) < len(checked):
        log.info("events_dropped", room_id=event.room_id, reasons=[one for one in checked if isinstance(one, str)])
    return good


def in_order(events: dict[EventId, Event]) -> list[Event]:
    """Return events so that each comes after those of them that it cites; what lies on a circle comes in any order."""
    ordered: list[Event] = []
    is_done: dict[EventId, bool] = {}
    for first in sorted(events.values(), key=lambda event: (event.depth, event.event_id)):
        stack = [first.event_id]
        while stack:
            event_id = stack[-1]
            if event_id in is_done:
                stack.pop()
                if not is_done[event_id]:
                    is_done[event_id] = True
                    ordered.append(events[event_id])
                continue
            is_done[event_id] = False
            stack += [prev for prev in events[event_id].prev_events if prev in events and prev not in is_done]
    return ordered


async def is_older(ctx: Context, server: ServerName, event: Event, missing: Sequence[EventId], budget: Budget) -> bool:
    """Tell whether all events of `missing`, which `event` follows, lie before what is known of the room, by what `server` shows of them. Of many it is not asked.

    `missing_events` leaves such out. Who joins while others talk is sent events that follow older ones beside the join.
    """
    if len(missing) > MAX_OLDER:
        return False
    oldest = _oldest_depth(ctx, event.room_id)
    answer = Answer(event.version, event.room_id)
    try:
        await _one_by_one(ctx, server, answer, missing, budget)
    except (RemoteError, BadJson):
        return False
    return all(one in answer.events and answer.events[one].depth < oldest for one in missing)


# --- auth events ---------------------------------------------------------------------------------------------------


async def auth_events(
    ctx: Context, server: ServerName, event: Event, missing: Sequence[EventId], budget: Budget
) -> bool:
    """Fetch auth events that are not known, with their own, and keep them as outliers, rejected ones as such; tell whether all are known now."""
    answer = Answer(event.version, event.room_id)
    if budget.spend():
        federation = ctx.outbound.federation
        try:
            target = federation.path(_PREFIX + "event_auth", event.room_id, event.event_id)
            async with ctx.outbound.background.place(event.room_id, server):
                body = await federation.get(server, target, seconds=_SECONDS, now=server == budget.origin)
            chain = body.get("auth_chain")
            if isinstance(chain, list):
                await foreign_state.add(ctx, answer, "auth_chain", chain[:_MAX_CHAIN])
        except RemoteError as error:
            log.info("no_auth_chain", room_id=event.room_id, server=server, reason=error.reason)
    # Who does not give the whole chain may give its events one by one.
    for _ in range(MAX_SERVERS):
        wanted = _still_missing(ctx, answer, missing)
        if not wanted:
            break
        try:
            if not await _one_by_one(ctx, server, answer, wanted, budget):
                break
        except (RemoteError, BadJson):
            break
    answer.retain_led_to(missing)
    await _keep(ctx, answer, budget)
    return all(timeline.meta(ctx.db, event_id) is not None for event_id in missing)


def _still_missing(ctx: Context, answer: Answer, wanted: Iterable[EventId]) -> list[EventId]:
    cited = {auth for found in answer.events.values() for auth in found.auth_events}
    both = dict.fromkeys((*wanted, *sorted(cited)))
    return [one for one in both if one not in answer.events and timeline.meta(ctx.db, one) is None]


async def _one_by_one(
    ctx: Context, server: ServerName, answer: Answer, wanted: Sequence[EventId], budget: Budget
) -> int:
    """Add events to the answer that are asked for one by one; return how many came.

    Those that the server refuses to give are left out. Raises, when what came is added, `Unreachable` if it fell silent, and `BadJson` if the budget did not suffice.
    """
    federation = ctx.outbound.federation
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(event_id: EventId) -> list[Any] | RemoteError | BadJson:
        async with slots:
            if not budget.spend():
                return BadJson("too much has been asked for already")
            try:
                target = federation.path(_PREFIX + "event", event_id)
                async with ctx.outbound.background.place(answer.room_id, server):
                    found = await federation.get(server, target, seconds=_SECONDS, now=server == budget.origin)
            except RemoteError as error:
                log.info("no_event", event_id=event_id, server=server, reason=error.reason)
                return [] if isinstance(error, Refused) else error
        pdus = found.get("pdus")
        return pdus[:1] if isinstance(pdus, list) else []

    before = len(answer.events)
    fault: RemoteError | BadJson | None = None
    for result in await asyncio.gather(*(one(event_id) for event_id in wanted)):
        if isinstance(result, list):
            await foreign_state.add(ctx, answer, "pdus", result)
        else:
            fault = result
    if fault is not None:
        raise fault
    return len(answer.events) - before


async def _keep(ctx: Context, answer: Answer, budget: Budget) -> None:
    """Store what has come, if there has not been too much of late for the events of one owner's servers."""
    create = state.current(ctx.db, answer.room_id, "m.room.create")
    if create is None or not answer.events:
        return
    if not budget.spend_bytes(sum(len(found.data) for found in answer.events.values())):
        log.warning("too_much_told", room_id=answer.room_id, origin=budget.origin, events=len(answer.events))
        return
    await foreign_state.judge(ctx.db, answer, create)
    await import_room.stage_events(ctx, answer)


# --- the state at an event -----------------------------------------------------------------------------------------


async def state_at(ctx: Context, server: ServerName, event: Event, at: EventId, budget: Budget) -> bool:
    """Fetch the state around an event `at` that `event` follows and that cannot be had with all before it; tell whether it is known now.

    The state before it is what `server` says, of which every event is checked against its auth events. The event itself is kept as an outlier. From a server that
    falls silent before all of it is told nothing is taken for the state, or what it left out would be missing there for good.
    """
    room_id = event.room_id
    try:
        told, chain = await _ids(ctx, server, room_id, at, budget)
        answer = await _fetch_state(ctx, server, event, at, [*told, *chain], budget)
        if timeline.meta(ctx.db, at) is None and at not in answer.events:
            await _one_by_one(ctx, server, answer, [at], budget)
    except (RemoteError, MatrixError) as error:
        log.info("no_state_at_event", room_id=room_id, server=server, event_id=at, reason=str(error))
        return False
    await _keep(ctx, answer, budget)
    facts = timeline.meta(ctx.db, at)
    if facts is None:
        return False
    return await _remember(ctx, room_id, at, told, is_rejected=facts.status == REJECTED)


async def _ids(
    ctx: Context, server: ServerName, room_id: RoomId, at: EventId, budget: Budget
) -> tuple[list[EventId], list[EventId]]:
    if not budget.spend_state(room_id):
        raise BadJson("too much has been asked for already")
    async with ctx.outbound.background.place(room_id, server):
        return await state_ids(ctx, server, room_id, at, now=server == budget.origin)


async def state_ids(
    ctx: Context, server: ServerName, room_id: RoomId, at: EventId, *, seconds: float = _LONG_SECONDS, now: bool
) -> tuple[list[EventId], list[EventId]]:
    """Return the ids of the state before an event and of its auth chain as `server` tells them; raises a `RemoteError`, or a `MatrixError` for an answer without that room's state.

    There may be hundreds of thousands: they are looked at in steps.
    """
    federation = ctx.outbound.federation
    target = federation.path(_PREFIX + "state_ids", room_id) + "?" + urlencode({"event_id": at})
    body = (await federation.exchange("GET", server, target, seconds=seconds, max_bytes=_MAX_IDS_BYTES, now=now)).body
    found: dict[str, dict[EventId, None]] = {name: {} for name in _ID_ARRAYS}
    parts = pieces(body, _ID_ARRAYS)
    del body
    for number, (name, value) in enumerate(parts, 1):
        if name in found:
            if number > MAX_IDS or not is_event_id(value):
                raise BadJson("the answer holds no event ids")
            found[name][value] = None
        if number % _ID_STEP == 0:
            await asyncio.sleep(0)
    if state.current_id(ctx.db, room_id, "m.room.create") not in found["pdu_ids"]:
        raise BadJson("the answer holds no state of this room")
    return list(found["pdu_ids"]), list(found["auth_chain_ids"])


async def unknown(ctx: Context, event_ids: Sequence[EventId]) -> list[EventId]:
    """Return those of the events that are not stored here, in steps: there may be very many."""
    missing: dict[EventId, None] = {}
    for start in range(0, len(event_ids), _STEP):
        step = event_ids[start : start + _STEP]
        stored = known(ctx, step)
        missing.update((event_id, None) for event_id in step if event_id not in stored)
        await asyncio.sleep(0)
    return list(missing)


def known(ctx: Context, event_ids: Sequence[EventId]) -> dict[EventId, int]:
    """Return the short ids of those of the events that are stored, rejected ones too."""
    # Read past the cache: tens of thousands of ids that are looked at once would push everything else out of it.
    shorts = trees.eventid_shorteventid.get_many(ctx.db, event_ids)
    pairs = [(event_id, short) for event_id, short in zip(event_ids, shorts, strict=True) if short is not None]
    metas = trees.shorteventid_meta.get_many(ctx.db, [short for _, short in pairs])
    return {event_id: short for (event_id, short), meta in zip(pairs, metas, strict=True) if meta is not None}


async def _fetch_state(
    ctx: Context, server: ServerName, event: Event, at: EventId, event_ids: list[EventId], budget: Budget
) -> Answer:
    missing = await unknown(ctx, event_ids)
    answer = Answer(event.version, event.room_id)
    if len(missing) <= min(FEW, budget.requests):
        try:
            await _one_by_one(ctx, server, answer, missing, budget)
        except RemoteError:
            # Perhaps it fails at one of them only. What has come is not asked for again, of nobody.
            await _keep(ctx, answer, budget)
            missing = [event_id for event_id in missing if event_id not in answer.events]
        else:
            return answer
    return await _whole_state(ctx, server, event, at, missing, budget)


async def _whole_state(
    ctx: Context, server: ServerName, event: Event, at: EventId, missing: list[EventId], budget: Budget
) -> Answer:
    if not budget.spend_whole_state():
        raise BadJson("too much has been asked for already")
    federation = ctx.outbound.federation
    target = federation.path(_PREFIX + "state", event.room_id) + "?" + urlencode({"event_id": at})
    async with ctx.outbound.whole_states.place(event.room_id, server):
        async with ctx.outbound.background.place(event.room_id, server):
            whole = await federation.exchange(
                "GET", server, target, seconds=_LONG_SECONDS, max_bytes=_MAX_STATE_BYTES, now=server == budget.origin
            )
        body = whole.body
        del whole
        await ctx.outbound.keyring.prefetch(body)
        parts = pieces(body, _STATE_ARRAYS)
        del body
        wanted = frozenset(missing)
        return await foreign_state.read(ctx, event.version, event.room_id, parts, _STATE_ARRAYS, only=wanted)


async def _remember(ctx: Context, room_id: RoomId, at: EventId, event_ids: list[EventId], *, is_rejected: bool) -> bool:
    """Write the states around an event whose state before is made of those events; what is not known or was rejected is left out."""
    head = state.head(ctx.db, room_id)
    if head is None:
        return False
    near = state.ids(ctx.db, head.state)
    by_event = {short: key for key, short in near.items()}
    told: dict[int, int] = {}
    for start in range(0, len(event_ids), _STEP):
        others = []
        for short in known(ctx, event_ids[start : start + _STEP]).values():
            key = by_event.get(short)
            if key is None:
                others.append(short)
            else:
                told.setdefault(key, short)
        await asyncio.sleep(0)
        for first in range(0, len(others), _EVENT_STEP):
            with ctx.db.batch() as batch:
                for key, short in _keys_of(batch, room_id, others[first : first + _EVENT_STEP]):
                    told.setdefault(key, short)
            await asyncio.sleep(0)
    changes: dict[int, int | None] = {key: short for key, short in told.items() if near.get(key) != short}
    changes.update((key, None) for key in near if key not in told)
    await asyncio.sleep(0)
    # A state of many differences is one of its own: as such it is made in steps.
    number = await import_room.number_of(ctx, told) if len(changes) > _STEP else None
    with ctx.db.batch() as batch:
        if state.after(batch, at) is not None:
            return True  # it was found out in another way meanwhile, and others may stand on it
        before = state_layers.with_changes(batch, head.state, changes) if number is None else number
        short = short_ids.ensure_event(batch, at)
        event = None if is_rejected else timeline.event(batch, at)
        after = before
        if event is not None and event.state_key is not None:
            after = state_layers.with_event(
                batch, before, short_ids.ensure_statekey(batch, event.type, event.state_key), short
            )
        state.set_around(batch, short, before, after)
    return True


def _keys_of(batch: Batch, room_id: RoomId, shorts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (short state key, short event) of those short events that are state of the room, and were not rejected."""
    by_id = dict(zip(short_ids.events_of(batch, shorts), shorts, strict=True))
    for event in timeline.events(batch, list(by_id)):
        if event.room_id == room_id and event.state_key is not None:
            yield short_ids.ensure_statekey(batch, event.type, event.state_key), by_id[event.event_id]
