"""The state in which branches of a room meet: resolution over numbered states, small ones at once, large ones beside the loop.

    number = resolve.at_once(batch, version, states)               # None if that would take long
    number = await resolve.resolve_states(ctx, room_id, version, states)

What several states resolve to never changes, so it is remembered under their numbers. The result is stored as a difference to one of them.

Source: rooms/v1, rooms/v2 and rooms/v12, "State resolution".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog

from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import REJECTED
from conduit.protocol import state_res
from conduit.protocol.event_auth import auth_types_for
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.service.context import Context
from conduit.service.rooms import auth_chain, short_ids, state, state_layers, timeline
from conduit.utils.helper_process import Helper

log = structlog.get_logger(__name__)

AT_ONCE = 4000
"""Up to so many entries of all states together are resolved in the loop: 20 ms at the most."""
LONG_CHAIN = 500
"""If more events than that authorise those in conflict, the resolution is not for the loop either, however small the states."""
FEW_EVENTS = 1000
"""Up to so many events are looked at in a thread; more in a process of their own."""
STEP = 1000
"""Of how many events the edges are gathered between two chances for others to run."""
EVENT_STEP = 100
"""How many events are decoded between two such chances; each may have 64 KiB."""
_NO_KEY = 0
"""Stands for a state key that no room has ever had."""

_RESOLVED: Cached[tuple[int, ...], int | None] = Cached(
    "resolved_states", load=lambda source, states: None, weigh=lambda number: 200
)


def remembered(source: CacheSource, states: Sequence[int]) -> int | None:
    """Return the number of the state that the states resolve to, if it is known already: always where there is but one."""
    distinct = _distinct(states)
    if len(distinct) == 1:
        return distinct[0]
    return _RESOLVED.peek(source, distinct)


def at_once(batch: Batch, version: RoomVersion, states: Sequence[int]) -> int | None:
    """Return the number of the state that the states resolve to; `None` if there is too much in them for the loop."""
    known = remembered(batch, states)
    if known is not None:
        return known
    distinct = _distinct(states)
    sets = [state.ids(batch, number) for number in distinct]
    if sum(map(len, sets)) > AT_ONCE or _is_long(batch, sets):
        return None

    def fetch(short: int) -> Event | None:
        return timeline.event(batch, short_ids.event_of(batch, short))

    def key_of(event_type: str, state_key: str) -> int:
        return short_ids.short_statekey(batch, event_type, state_key) or _NO_KEY

    def rejected(short: int) -> bool:
        facts = timeline.facts(batch, short)
        return facts is not None and facts.status == REJECTED

    resolved = state_res.resolve(
        version, sets, fetch, auth_of=lambda short: auth_chain.auth_of(batch, short), key_of=key_of, rejected=rejected
    )
    return _store(batch, distinct, resolved)


def _is_long(source: CacheSource, sets: Sequence[Mapping[int, int]]) -> bool:
    """Tell whether very many events authorise those in conflict, or lie along the line of power levels by which they are ordered."""
    unconflicted, conflicted = state_res.split(sets)
    power_levels = short_ids.short_statekey(source, "m.room.power_levels", "")
    agreed = {unconflicted[power_levels]} if power_levels in unconflicted else set()
    return bool(conflicted) and auth_chain.is_long(source, conflicted | agreed, LONG_CHAIN)


async def resolve_states(ctx: Context, room_id: RoomId, version: RoomVersion, states: Sequence[int]) -> int:
    """Return the number of the state that the states of a room resolve to. The states may be large; needs no lock."""
    with ctx.db.batch() as batch:
        number = at_once(batch, version, states)
    if number is not None:
        return number
    distinct = _distinct(states)
    # It goes on when who asked for it has given up: what it costs is spent, and the next who asks has it at once.
    return await ctx.outbound.flights.join(
        ctx.tasks, ("resolution", distinct), lambda: _resolve_large(ctx, room_id, version, distinct)
    )


async def _resolve_large(ctx: Context, room_id: RoomId, version: RoomVersion, distinct: tuple[int, ...]) -> int:
    async with ctx.locks.large_work:
        problem = await _gather(ctx.db, version, [state.ids(ctx.db, number) for number in distinct])
        log.info("resolving_large_state", room_id=room_id, states=len(distinct), events=len(problem.events))
        if len(problem.events) <= FEW_EVENTS:
            # Large states that differ in little: less work than starting a process.
            resolved = await asyncio.to_thread(solve, problem)
        else:
            resolved = await _in_helper(problem)
        with ctx.db.batch() as batch:
            return _store(batch, distinct, resolved)


def _distinct(states: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(set(states)))


def _store(batch: Batch, states: tuple[int, ...], resolved: Mapping[int, int]) -> int:
    """Return a number for the resolved state: that of one of the states it came from if it is the same, else a new one near the newest."""
    first, *others = states
    differing = {key for other in others for part in state.diff(batch, first, other) for key in part}
    entries = {key: resolved.get(key) for key in differing}
    # Resolution may also bring back what none of the states has, out of the auth chains.
    whole = state.ids(batch, first)
    entries.update((key, event) for key, event in resolved.items() if whole.get(key) != event)
    for number in reversed(states):
        if all(state_layers.look_up(batch, number, key) == event for key, event in entries.items()):
            break
    else:
        number = state_layers.with_changes(batch, states[-1], entries)
    _RESOLVED.set(batch, states, number)
    return number


# --- large states --------------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """All that a resolution asks for, as plain data for another process."""

    version: str
    sets: list[dict[int, int]]
    keys: dict[tuple[str, str], int]
    edges: dict[int, tuple[int, ...]]
    events: dict[int, bytes]
    rejected: frozenset[int]


async def _gather(source: CacheSource, version: RoomVersion, sets: Sequence[Mapping[int, int]]) -> Problem:
    """Collect the edges below all states, and the events that may be looked at: those in conflict and whatever authorises them."""
    unconflicted, conflicted = state_res.split(sets)
    edges: dict[int, tuple[int, ...]] = {}
    rejected: set[int] = set()
    seen = {short for one in sets for short in one.values()}
    waiting = list(seen)
    while waiting:
        step, waiting = waiting[-STEP:], waiting[:-STEP]
        for short, facts in zip(step, timeline.facts_of(source, step), strict=True):
            edges[short] = () if facts is None else facts.auth
            if facts is not None and facts.status == REJECTED:
                rejected.add(short)
        new = {cited for short in step for cited in edges[short]} - seen
        seen |= new
        waiting += new
        await asyncio.sleep(0)
    power_levels = short_ids.short_statekey(source, "m.room.power_levels", "")
    wanted = _with_chain(edges, conflicted)
    if power_levels in unconflicted:
        wanted |= _with_chain(edges, [unconflicted[power_levels]])
    keys: dict[tuple[str, str], int] = {}
    events: dict[int, bytes] = {}
    for pair in (("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", "")):
        keys[pair] = short_ids.short_statekey(source, *pair) or _NO_KEY
    waiting = list(wanted)
    for start in range(0, len(waiting), EVENT_STEP):
        for event in _take(source, waiting[start : start + EVENT_STEP], events):
            pairs = auth_types_for(event.type, event.sender, event.state_key, event.content, version)
            if event.state_key is not None:
                pairs.append((event.type, event.state_key))
            for pair in pairs:
                if pair not in keys:
                    keys[pair] = short_ids.short_statekey(source, *pair) or _NO_KEY
        await asyncio.sleep(0)
    further = [unconflicted[key] for key in keys.values() if key in unconflicted and unconflicted[key] not in events]
    for start in range(0, len(further), EVENT_STEP):
        _take(source, further[start : start + EVENT_STEP], events)
        await asyncio.sleep(0)
    return Problem(version.id, [dict(one) for one in sets], keys, edges, events, frozenset(rejected))


def _with_chain(edges: Mapping[int, Sequence[int]], shorts: Iterable[int]) -> set[int]:
    found = set(shorts)
    waiting = list(found)
    while waiting:
        new = [cited for cited in edges[waiting.pop()] if cited not in found]
        found.update(new)
        waiting += new
    return found


def _take(source: CacheSource, shorts: list[int], events: dict[int, bytes]) -> list[Event]:
    ids = short_ids.events_of(source, shorts)
    by_id = dict(zip(ids, shorts, strict=True))
    found = timeline.events(source, ids)
    for event in found:
        events[by_id[event.event_id]] = event.stored()
    return found


def solve(problem: Problem) -> dict[int, int]:
    """Return the resolved state. A function of its argument, which runs anywhere."""
    version = ROOM_VERSIONS[problem.version]

    def fetch(short: int) -> Event | None:
        data = problem.events.get(short)
        return None if data is None else Event.from_stored(data, version)

    return state_res.resolve(
        version,
        problem.sets,
        fetch,
        auth_of=lambda short: problem.edges.get(short, ()),
        key_of=lambda event_type, state_key: problem.keys.get((event_type, state_key), _NO_KEY),
        rejected=problem.rejected.__contains__,
    )


async def _in_helper(problem: Problem) -> dict[int, int]:
    from concurrent.futures.process import BrokenProcessPool

    helper = Helper()
    try:
        return await asyncio.get_running_loop().run_in_executor(helper.pool, solve, problem)
    except BrokenProcessPool:
        log.warning("helper_process_failed", task="state resolution")
        return await asyncio.to_thread(solve, problem)
    finally:
        # It may still be at work, where nobody waits for the answer any more: as the server stops.
        helper.end()
