"""What other servers in a room ask for: its events, its state, and how they hang together.

Every answer is given to a server that is in the room, or was when the event in question was sent, and about events of that room only. Messages that it may not see come redacted (`rooms.server_sight`).

Source: server-server API, "Retrieving events", "Backfilling and retrieving missing events", "Retrieving event authorisation information"; CVE-2022-39335.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

from conduit.database.cache import CacheSource
from conduit.database.layouts import SOFT_FAILED
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.service.actions.resident import require_resident
from conduit.service.context import Context
from conduit.service.rooms import cuts, dropped, federated, members, partial, short_ids, state, timeline
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.cuts import Cut
from conduit.service.rooms.server_sight import ServerViewer
from conduit.service.users import accounts

MAX_BACKFILL = 100
"""How many events one request for history gets at most."""
MAX_MISSING = 20
"""How many missing events one request gets at most."""
MAX_WALKED = 2000
"""How many events a request may make the server look at."""


class Room:
    """A room as a server that is in it asks for it, now."""

    __slots__ = ("_viewer", "origin", "room_id", "source", "version")

    def __init__(
        self,
        source: CacheSource,
        room_id: RoomId,
        version: RoomVersion,
        origin: ServerName,
        erased: Collection[str] = (),
    ) -> None:
        self.source = source
        self.room_id = room_id
        self.version = version
        self.origin = origin
        self._viewer = ServerViewer(source, room_id, origin, erased=erased)

    def find(self, event_id: EventId) -> Event:
        """Return an event of the room; raises `NotFound` for one that is not known, was rejected, or belongs to another room."""
        event = self.look_up(event_id)
        if event is None:
            raise NotFound(f"Could not find event {event_id}")
        return event

    def look_up(self, event_id: EventId) -> Event | None:
        """Return an event of the room, or `None`."""
        event = timeline.event(self.source, event_id)
        return event if event is not None and event.room_id == self.room_id else None

    def is_history(self, event: Event) -> bool:
        """Tell whether an event has a place of its own in the room's graph here, and did not just come for the sake of others."""
        if timeline.position(self.source, event.event_id) is not None:
            return True
        facts = timeline.meta(self.source, event.event_id)
        return (
            facts is not None and facts.status == SOFT_FAILED and state.before(self.source, event.event_id) is not None
        )

    def show(self, events: Iterable[Event]) -> list[bytes]:
        """Return events in the form for the asking server, redacted where it may not see more."""
        return [self._viewer.copy(event).federation() for event in events]

    def was_in(self, event_id: EventId) -> bool:
        """Tell whether the asking server was in the room when an event was sent."""
        event = self.look_up(event_id)
        return event is not None and self._viewer.was_in(event)

    def newest(self) -> Cut:
        """Return where the timeline ends for the asking server, which is in the room."""
        return cuts.END

    def shows(self, event: ClientEvent) -> bool:
        """Tell whether the asking server may have the event as it is."""
        found = self.look_up(event.event_id)
        return found is not None and self._viewer.copy(found) is found


def open_room(ctx: Context, origin: ServerName, room_id: RoomId, *, at: Sequence[EventId] = ()) -> Room:
    """Return the room for a server that asks for something in it.

    What led to the events `at` is told to every server that was in the room then, and whether or not this one is still in it: else nobody could
    follow how somebody came out of the room, nor take the last event of those who left it.
    So it is for a while with everything to a server that resolution has put out without such an event (`rooms.dropped`).
    Raises `NotFound` for a room that nobody of this server is in, `Forbidden` if the asking server is not in it, or shut out by its access control list.
    """
    if at and state.exists(ctx.db, room_id):
        version = require_resident(ctx, origin, room_id, or_former=True)
        room = Room(ctx.db, room_id, version, origin, accounts.erased(ctx.db))
        if all(map(room.was_in, at)):
            return room
    version = require_resident(ctx, origin, room_id)
    is_in = members.has_server(ctx.db, room_id, origin)
    if not is_in and not dropped.may_ask(ctx.db, room_id, origin, ctx.clock.now_ms()):
        raise Forbidden("Your server is not in the room")
    return Room(ctx.db, room_id, version, origin, accounts.erased(ctx.db))


def one_event(ctx: Context, origin: ServerName, event_id: EventId) -> bytes:
    """Return an event of any room that the asking server is in; raises `NotFound` or `Forbidden`."""
    event = timeline.event(ctx.db, event_id)
    if event is None or not state.exists(ctx.db, event.room_id):
        raise NotFound(f"Could not find event {event_id}")
    [shown] = open_room(ctx, origin, event.room_id, at=[event_id]).show([event])
    return shown


# --- state ---------------------------------------------------------------------------------------------------------


async def state_at(room: Room, event_id: EventId) -> tuple[list[int], list[int]]:
    """Return the short events of the state before an event, and those of their auth chains; raises `NotFound` if it is not known."""
    event = room.find(event_id)
    before = state.before(room.source, event.event_id) if room.is_history(event) else None
    is_known = bool(before) or (before == 0 and event.type == "m.room.create")
    if before is None or not is_known or partial.is_partial(room.source, room.room_id):
        raise NotFound(f"The state at event {event_id} is not known")
    shorts = list(state.ids(room.source, before).values())
    return shorts, sorted(await federated.auth_chain(room.source, shorts))


async def auth_chain_of(room: Room, event_id: EventId) -> list[int]:
    """Return the short events that authorise an event, directly or not, oldest first."""
    event = room.find(event_id)
    short = short_ids.short_event(room.source, event.event_id)
    return [] if short is None else sorted(await federated.auth_chain(room.source, [short]))


async def lists(room: Room, named: Sequence[tuple[str, Iterable[int]]], *, ids: bool = False) -> AsyncIterator[bytes]:
    """Yield the pieces of a JSON object that holds a list of events, or of their ids, for each name."""
    before = b"{"
    for name, shorts in named:
        yield before + b'"' + name.encode() + b'":['
        found = federated.id_pieces(room.source, shorts) if ids else federated.pieces(room.source, shorts, room.version)
        async for piece in found:
            yield piece
        before = b"],"
    yield b"]}"


# --- history -------------------------------------------------------------------------------------------------------


def backfill(room: Room, event_ids: Sequence[EventId], limit: int) -> list[bytes]:
    """Return the events named and those before them, newest first by depth, `limit` at most in all. Unknown ones, and those of other rooms, are passed over."""
    limit = min(limit, MAX_BACKFILL)
    seen: set[EventId] = set()
    waiting: list[tuple[int, int, Event]] = []

    def put(candidates: Iterable[EventId]) -> None:
        for event_id in candidates:
            if event_id in seen or len(seen) >= MAX_WALKED:
                continue
            seen.add(event_id)
            event = room.look_up(event_id)
            if event is not None and room.is_history(event):
                heapq.heappush(waiting, (-event.depth, -(short_ids.short_event(room.source, event_id) or 0), event))

    put(event_ids)
    found: list[Event] = []
    while waiting and len(found) < limit:
        event = heapq.heappop(waiting)[2]
        found.append(event)
        put(event.prev_events)
    return room.show(found)


def missing_events(
    room: Room, latest: Sequence[EventId], earliest: Iterable[EventId], limit: int, min_depth: int
) -> list[bytes]:
    """Return the events before `latest`, breadth first, but for `earliest` and what lies below `min_depth`; `limit` at most, oldest first."""
    limit = min(limit, MAX_MISSING)
    seen = {*earliest, *latest}
    waiting: deque[EventId] = deque()
    for event_id in latest:
        event = room.look_up(event_id)
        if event is not None:
            waiting.extend(event.prev_events)
    found: list[Event] = []
    while waiting and len(found) < limit and len(seen) < MAX_WALKED:
        event_id = waiting.popleft()
        if event_id in seen:
            continue
        seen.add(event_id)
        event = room.look_up(event_id)
        if event is None or event.depth < min_depth or not room.is_history(event):
            continue
        found.append(event)
        waiting.extend(event.prev_events)
    found.sort(key=lambda event: event.depth)
    return room.show(found)
