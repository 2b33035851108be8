"""The event closest to a time, where this server's own history does not reach: other servers in the room are asked.

Source: client-server API, GET /timestamp_to_event; server-server API, GET /timestamp_to_event.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import structlog

from conduit.database.cache import CacheSource
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import EventId, RoomId, is_event_id
from conduit.service.browse import by_time
from conduit.service.context import Context
from conduit.service.events import backfill
from conduit.service.outbound.errors import RemoteError
from conduit.service.rooms import cuts, timeline
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.reading import Reader

log = structlog.get_logger(__name__)

MAX_FETCHES: Final = 20
"""How many chunks of history are fetched to get near to a time: what has not been fetched a client cannot look at."""
FETCH_SECONDS: Final = 15.0
"""For how long further ones are asked for."""
_MAX_SERVERS: Final = 3
_SECONDS: Final = 20.0


class Found(NamedTuple):
    """An event and its time in ms."""

    event_id: EventId
    ts: int


async def closest(ctx: Context, reader: Reader, ts: int, *, backwards: bool) -> Found:
    """Return the event at or after the time `ts` in ms, or with `backwards` at or before it, closest to it; raises `NotFound` if there is none.

    Where history is missing around that time it is fetched, as far as that is near. What lies further off is named by another server.
    """
    until = ctx.clock.monotonic() + FETCH_SECONDS
    for _ in range(MAX_FETCHES):
        here = _here(reader, ts, backwards=backwards)
        hole = _hole(ctx.db, reader.room_id, here, backwards=backwards)
        if hole is None or ctx.clock.monotonic() > until or not await backfill.backfill(ctx, reader.room_id, hole):
            break
    here = _here(reader, ts, backwards=backwards)
    if _hole(ctx.db, reader.room_id, here, backwards=backwards) is not None:
        there = await _elsewhere(ctx, reader.room_id, ts, backwards=backwards)
        if there is not None and (here is None or abs(there.ts - ts) < abs(here.ts - ts)):
            return there
    if here is None:
        raise NotFound("There is no event on that side of the time")
    return Found(here.event_id, here.ts)


def _here(reader: Reader, ts: int, *, backwards: bool) -> ClientEvent | None:
    try:
        return by_time.closest(reader, ts, backwards=backwards)
    except NotFound:
        return None


def _hole(source: CacheSource, room_id: RoomId, here: ClientEvent | None, *, backwards: bool) -> backfill.Hole | None:
    """Return where history is missing between the event found here and the time, if it is: right before it, or, for one before the time, right after it."""
    if here is None:
        return backfill.hole_before(source, room_id, cuts.START, cuts.START) if backwards else None
    place = here.place(source).position
    if place is None:
        return None
    if not backwards:
        previous = next(timeline.positions(source, room_id, before=place, reverse=True), None)
        end = cuts.START if previous is None else cuts.after(previous)
        return backfill.hole_before(source, room_id, cuts.after(place), end)
    following = next(timeline.positions(source, room_id, after=place), None)
    return (
        None if following is None else backfill.hole_before(source, room_id, cuts.after(following), cuts.after(place))
    )


async def _elsewhere(ctx: Context, room_id: RoomId, ts: int, *, backwards: bool) -> Found | None:
    federation = ctx.outbound.federation
    for server in backfill.helpers(ctx, room_id)[:_MAX_SERVERS]:
        try:
            answer = await federation.get(
                server,
                federation.path("/_matrix/federation/v1/timestamp_to_event", room_id),
                {"ts": str(ts), "dir": "b" if backwards else "f"},
                seconds=_SECONDS,
            )
        except RemoteError as error:
            log.info("no_event_by_time", room_id=room_id, server=server, reason=error.reason)
            continue
        event_id, at = answer.get("event_id"), answer.get("origin_server_ts")
        if is_event_id(event_id) and type(at) is int and (at <= ts if backwards else at >= ts):
            return Found(EventId(str(event_id)), at)
    return None
