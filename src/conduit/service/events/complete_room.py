"""The rest of a room that was joined fast: fetched in the background, until all its members are known.

Where the answer to the join held all of the state, and only its core was looked at (`core_state`), the rest is taken from there. Else the state before the join
is asked for as ids; events that are not here are fetched, checked and staged. Then, under the room's lock, the states of all events since the join are made anew on the whole
state, and each is judged again: what was let in because a member was not known is taken out.

Source: server-server API, `/state_ids`, `/state`, `/event`; `omit_members` of `send_join`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import structlog

from conduit.database.database import Batch
from conduit.database.errors import DatabaseError, DiskFull
from conduit.database.layouts import REJECTED
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.json_pieces import pieces
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context
from conduit.service.events import fetch, foreign_state, import_room, restate
from conduit.service.events.foreign_state import Answer
from conduit.service.outbound.errors import Refused, RemoteError, Unreachable
from conduit.service.rooms import members, partial, short_ids, state, timeline, versions
from conduit.service.rooms.partial import Partial

log = structlog.get_logger(__name__)

FIRST_PAUSE = 15.0
LONGEST_PAUSE = 3600.0
MAX_SERVERS = 10
"""How many servers are asked in one round."""
FEW = 40
"""Up to so many missing events are fetched one by one; more come with the whole state."""
_AT_A_TIME = 8
_SECONDS = 300.0
_STEP = 2000
_ARRAYS = frozenset({"pdus", "auth_chain"})
JOIN_ARRAYS = frozenset({"state", "auth_chain"})
"""The lists of events in the answer to a join."""


class _BrokenOff(Unreachable):
    """The server fell silent while it was asked for single events."""


async def complete(ctx: Context, room_id: RoomId, told: bytes = b"") -> None:
    """Fetch what is missing of a room, for as long as it takes. Returns when all is known, or nobody here is in the room any more.

    `told` is the answer to the join, if it holds the whole state: then nobody need be asked, unless it is no good.
    """
    if told:
        await ctx.outbound.keyring.prefetch(told)
        parts = pieces(told, JOIN_ARRAYS)
        del told  # it is large, and gone when all pieces are taken
        await _complete_as_told(ctx, room_id, parts)
    pause = FIRST_PAUSE
    stumbled: set[ServerName] = set()
    while True:
        known = partial.find(ctx.db, room_id)
        if known is None:
            return
        if not members.joined_local(ctx.db, room_id, ctx.server_name):
            with ctx.db.batch() as batch:
                partial.end(batch, room_id)
            return
        for server in _helpers(ctx, room_id, known):
            try:
                # Some single event may be what it failed at: what the whole state does not hold either is done without.
                await complete_from(ctx, room_id, known, server, few=0 if server in stumbled else FEW)
            except (RemoteError, MatrixError, DiskFull) as error:
                log.info("room_not_completed", room_id=room_id, server=server, reason=str(error))
                if isinstance(error, _BrokenOff):
                    stumbled.add(server)
            except DatabaseError:
                raise
            except Exception:
                # Whatever a server has told, it must not end this one, now and at each start.
                log.exception("room_not_completed", room_id=room_id, server=server)
            else:
                return
        await ctx.clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _helpers(ctx: Context, room_id: RoomId, known: Partial) -> list[ServerName]:
    """Return whom to ask: who has helped with the join, then the others that were in the room or have come since, those that answer first."""
    there = set(members.servers(ctx.db, room_id)).difference(known.via)
    others = sorted(there, key=lambda server: (not ctx.outbound.backoff.may_try(server), server))
    return [server for server in (*known.via, *others) if server != ctx.server_name][:MAX_SERVERS]


async def complete_from(ctx: Context, room_id: RoomId, known: Partial, server: ServerName, *, few: int = FEW) -> None:
    """Complete the room with what `server` tells of the state before the join; raises a `RemoteError` or a `MatrixError`.

    Up to `few` events are asked for one by one, more with the whole state.
    """
    version = versions.version_of(ctx.db, room_id)
    state_ids, chain_ids = await fetch.state_ids(ctx, server, room_id, known.event_id, seconds=_SECONDS, now=True)
    missing = await fetch.unknown(ctx, [*state_ids, *chain_ids])
    answer, broken_off = await _fetch(ctx, server, room_id, version, known.event_id, missing, few)
    await _keep(ctx, room_id, server, answer)
    if broken_off is not None:
        # The room is not complete without the rest. Who is asked next need not tell what has come.
        raise _BrokenOff(server, broken_off.reason)
    await _settle(ctx, room_id, known, server, answer, state_ids)


async def _complete_as_told(ctx: Context, room_id: RoomId, parts: Iterator[tuple[str, Any]]) -> None:
    """Complete the room with the pieces of the answer to its join, if they are good."""
    known = partial.find(ctx.db, room_id)
    if known is None:
        return
    server, version = known.via[0], versions.version_of(ctx.db, room_id)
    try:
        answer = await foreign_state.read(ctx, version, room_id, parts, JOIN_ARRAYS)
        await _keep(ctx, room_id, server, answer)
        await _settle(ctx, room_id, known, server, answer, list(dict.fromkeys(answer.lists["state"])))
    except (RemoteError, MatrixError, DiskFull) as error:
        log.info("room_not_completed", room_id=room_id, server=server, reason=str(error))
    except DatabaseError:
        raise
    except Exception:
        log.exception("room_not_completed", room_id=room_id, server=server)


async def _keep(ctx: Context, room_id: RoomId, server: ServerName, answer: Answer) -> None:
    """Judge the events of an answer and store them."""
    create = state.current(ctx.db, room_id, "m.room.create")
    if create is None:
        raise Unreachable(server, "the room is gone")
    await foreign_state.judge(ctx.db, answer, create)
    await import_room.stage_events(ctx, answer)


async def _settle(
    ctx: Context, room_id: RoomId, known: Partial, server: ServerName, answer: Answer, state_ids: list[EventId]
) -> None:
    """Let the state before the join be what was known of it and what `state_ids` name, and everything since follow."""
    whole = await _whole(ctx, room_id, known.event_id, state_ids, answer)
    number = await import_room.number_of(ctx, whole)
    async with ctx.locks.room(room_id):
        if partial.find(ctx.db, room_id) != known:
            return  # another join, or nobody is in the room any more
        await restate.since(ctx, room_id, known.event_id, number, answer)
    log.info("room_completed", room_id=room_id, server=server, fetched=len(answer.events), state=len(whole))


async def _fetch(
    ctx: Context,
    server: ServerName,
    room_id: RoomId,
    version: RoomVersion,
    at: EventId,
    missing: list[EventId],
    few: int,
) -> tuple[Answer, Unreachable | None]:
    """Return the missing events, each checked for itself, and why the server no longer answered if it fell silent before the last of them."""
    federation = ctx.outbound.federation
    if len(missing) > few:
        target = federation.path("/_matrix/federation/v1/state", room_id) + "?" + urlencode({"event_id": at})
        async with ctx.outbound.whole_states.place(room_id, server):
            body = (
                await federation.exchange(
                    "GET", server, target, seconds=_SECONDS, max_bytes=foreign_state.MAX_BYTES, now=True
                )
            ).body
            await ctx.outbound.keyring.prefetch(body)
            parts = pieces(body, _ARRAYS)
            del body
            return await foreign_state.read(ctx, version, room_id, parts, _ARRAYS, only=frozenset(missing)), None
    answer = Answer(version, room_id)
    broken_off: Unreachable | None = None
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(event_id: EventId) -> list[Any]:
        async with slots:
            found = await federation.get(server, federation.path("/_matrix/federation/v1/event", event_id), now=True)
        pdus = found.get("pdus")
        return pdus[:1] if isinstance(pdus, list) else []

    found = await asyncio.gather(*(one(event_id) for event_id in missing), return_exceptions=True)
    for result in found:
        if isinstance(result, Unreachable):
            broken_off = result
        elif isinstance(result, Refused):
            continue  # what only it knows cannot be had; the rest is judged without
        elif isinstance(result, BaseException):
            raise result
        else:
            await foreign_state.add(ctx, answer, "pdus", result)
    return answer, broken_off


async def _whole(
    ctx: Context, room_id: RoomId, join: EventId, state_ids: list[EventId], answer: Answer
) -> dict[int, int]:
    """Return the whole state before the join in short ids: what was known of it, and what the ids name."""
    before = state.before(ctx.db, join)
    # A join that the whole state has turned out not to allow is no longer there if the room was being completed at a crash.
    known = {} if before is None else state.ids(ctx.db, before)
    by_event = {event: key for key, event in known.items()}
    whole: dict[int, int] = dict(known)
    for start in range(0, len(state_ids), import_room.STEP):
        step = state_ids[start : start + import_room.STEP]
        shorts = fetch.known(ctx, step)
        with ctx.db.batch() as batch:
            for event_id, short in shorts.items():
                if short in by_event:
                    continue
                pair = _state_key(batch, room_id, event_id, answer)
                if pair is not None:
                    whole.setdefault(short_ids.ensure_statekey(batch, *pair), short)
        await asyncio.sleep(0)
    return whole


def _state_key(batch: Batch, room_id: RoomId, event_id: EventId, answer: Answer) -> tuple[str, str] | None:
    """Return type and state key of a state event of the room that was not rejected."""
    found = answer.found(event_id)
    if found is not None:
        return None if found.state_key is None else (found.type, found.state_key)
    facts = timeline.meta(batch, event_id)
    event = None if facts is None or facts.status == REJECTED else timeline.event(batch, event_id)
    if event is None or event.room_id != room_id or event.state_key is None:
        return None
    return event.type, event.state_key
