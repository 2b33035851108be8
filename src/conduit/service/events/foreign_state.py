"""The state of a room as another server tells it: every event checked for itself, then against those that authorise it.

An answer may hold tens of thousands of events. It is taken apart piece by piece, and of each event only what the rules ask for is kept as
objects; the rest waits as bytes for the database. Work is done in steps, between which others get their turn.

Source: server-server API, "Checks performed on receipt of a PDU"; CVE-2022-39374, CVE-2022-31152.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator
from itertools import chain
from typing import Any

import structlog

from conduit.database.cache import CacheSource
from conduit.protocol import event_auth
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context
from conduit.service.events import incoming
from conduit.service.rooms import timeline

log = structlog.get_logger(__name__)

CHECK_STEP = 250
"""How many events are checked together: enough that handing them to threads and back costs little beside."""
AUTH_STEP = 100
MAX_BYTES = 128 << 20
"""How large an answer with the state of a room may be."""
_DECODED = 1000
"""How many events of an answer are kept decoded."""


_Waiting = tuple[str, Any, bytes | None]
"""An event that is to be checked: in which list it stands, and its essence if that was needed before."""


class Found:
    """A checked event, as the bytes that are stored; it is decoded when the rules ask for it. What leads to others is at hand."""

    __slots__ = ("auth_events", "data", "depth", "membership", "state_key", "type")

    def __init__(self, event: Event, data: bytes, names: dict[str, str]) -> None:
        """Keep what is needed of an event. Texts that many events share are taken from `names`, so that each is kept once."""
        # A copy: what the encoder returns may hold four kilobytes whatever its length.
        self.data = bytes(memoryview(data))
        self.type = names.setdefault(event.type, event.type)
        self.state_key = event.state_key
        self.auth_events = tuple([EventId(names.setdefault(auth, auth)) for auth in event.auth_events])
        self.depth = event.depth
        self.membership = event.membership if event.type == "m.room.member" else None


class Answer:
    """What another server has told: events by id, which of them it listed as what, and whatever else it said."""

    def __init__(self, version: RoomVersion, room_id: RoomId) -> None:
        self.version = version
        self.room_id = room_id
        self.events: dict[EventId, Found] = {}
        self.lists: dict[str, list[EventId]] = {}
        self.others: dict[str, Any] = {}
        self.rejected: dict[EventId, str] = {}
        """Events that the auth rules refuse, or that cannot be authorised, and why."""
        self.undecided: set[EventId] = set()
        """Those of `rejected` of which it is not known what the rules say: something that they build on was not told."""
        self.refused = 0
        """How many events were no good in themselves, and dropped."""
        self._names: dict[str, str] = {}
        self._decoded: dict[EventId, Event] = {}

    def put(self, name: str, event: Event) -> None:
        """Add a checked event to the list `name`."""
        event_id = EventId(self._names.setdefault(event.event_id, event.event_id))
        self.lists[name].append(event_id)
        if event_id not in self.events:
            self.events[event_id] = Found(event, event.stored(), self._names)

    def retain_led_to(self, starts: Iterable[EventId]) -> None:
        """Drop all events but those named and those that they lead to: a server can put anything beside them that is validly signed."""
        found: set[EventId] = set()
        waiting = [event_id for event_id in starts if event_id in self.events]
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found.add(event_id)
                waiting += [auth for auth in self.events[event_id].auth_events if auth in self.events]
        self.events = {event_id: event for event_id, event in self.events.items() if event_id in found}
        self.lists = {name: [one for one in listed if one in found] for name, listed in self.lists.items()}

    def event(self, event_id: EventId) -> Event:
        """Return an event of this answer, rejected or not."""
        event = self._decoded.pop(event_id, None)
        if event is None:
            event = Event.from_stored(self.events[event_id].data, self.version)
            if len(self._decoded) >= _DECODED:
                del self._decoded[next(iter(self._decoded))]
        self._decoded[event_id] = event  # what was used last goes last
        return event

    def found(self, event_id: EventId) -> Found | None:
        """Return what is at hand of an event of this answer that has not been rejected."""
        return None if event_id in self.rejected else self.events.get(event_id)

    def accepted(self, event_id: EventId) -> Event | None:
        """Return an event of this answer that has not been rejected."""
        return None if self.found(event_id) is None else self.event(event_id)


async def read(
    ctx: Context,
    version: RoomVersion,
    room_id: RoomId,
    parts: Iterable[tuple[str, Any]],
    arrays: frozenset[str],
    *,
    only: Container[EventId] | None = None,
) -> Answer:
    """Return the events under the keys `arrays` of a JSON object (`json_pieces.pieces`), each checked for itself; bad ones are dropped.

    With `only`, events with other ids are passed over unchecked: they are known. Raises `NotJson` or `BadJson` for what is no such object.
    """
    answer = Answer(version, room_id)
    answer.lists = {name: [] for name in arrays}
    waiting: list[_Waiting] = []
    looked_at = 0
    for key, value in parts:
        if key not in arrays:
            answer.others[key] = value
            continue
        looked_at += 1
        essence = None if only is None else incoming.essence_of(value, version)
        if only is None:
            waiting.append((key, value, None))
        elif essence is not None and essence[0] in only:
            waiting.append((key, value, essence[1]))
        if looked_at % CHECK_STEP == 0:
            await _check(ctx, answer, waiting)
            waiting = []
            await asyncio.sleep(0)
    await _check(ctx, answer, waiting)
    return answer


async def add(ctx: Context, answer: Answer, name: str, pdus: Iterable[Any]) -> None:
    """Check further events and add them to the answer's list `name`."""
    waiting: list[_Waiting] = [(name, pdu, None) for pdu in pdus]
    answer.lists.setdefault(name, [])
    for start in range(0, len(waiting), CHECK_STEP):
        await _check(ctx, answer, waiting[start : start + CHECK_STEP])


async def _check(ctx: Context, answer: Answer, waiting: list[_Waiting]) -> None:
    if not waiting:
        return
    names, pdus, essences = zip(*waiting, strict=True)
    checked = await incoming.check_pdus(ctx, pdus, answer.version, room_id=answer.room_id, essences=essences)
    for name, event in zip(names, checked, strict=True):
        if isinstance(event, str):
            answer.refused += 1
            log.debug("event_dropped", room_id=answer.room_id, reason=event)
            continue
        answer.put(name, event)


async def judge(source: CacheSource, answer: Answer, create: Event) -> None:
    """Fill `answer.rejected`: each event against the auth events that it cites, in the order in which they lead to each other.

    What cites an event that is neither in the answer nor accepted here cannot be authorised: it is of no use, but undecided, or who leaves something out of
    an answer could have us refuse the events of others. `create` is the room's.
    """
    for done, event_id in enumerate(_auth_first(answer), 1):
        event = answer.event(event_id)
        reason = _fault(source, answer, event, create)
        if reason is not None:
            answer.rejected[event_id] = reason
            if any(_is_undecided(source, answer, auth) for auth in event.auth_events):
                answer.undecided.add(event_id)
            log.info("event_rejected", room_id=answer.room_id, event_id=event_id, reason=reason)
        if done % AUTH_STEP == 0:
            await asyncio.sleep(0)


def _fault(source: CacheSource, answer: Answer, event: Event, create: Event) -> str | None:
    cited = []
    for event_id in event.auth_events:
        if event_id in answer.rejected:
            return "an auth event was rejected"
        auth = answer.accepted(event_id) or known(source, answer.room_id, event_id)
        if auth is None:
            return "an auth event is missing"
        cited.append(auth)
    return fault(event, cited, create)


def _is_undecided(source: CacheSource, answer: Answer, event_id: EventId) -> bool:
    """Tell whether nothing is known of an event that another cites, neither from the answer nor here."""
    if event_id in answer.events:
        return event_id in answer.undecided
    return timeline.meta(source, event_id) is None


def fault(event: Event, cited: list[Event], create: Event) -> str | None:
    """Return why the accepted events that `event` cites do not authorise it, or `None` if they do."""
    by_key = {(auth.type, auth.state_key): auth for auth in cited}
    if event.version.room_id_is_create_hash:
        by_key.setdefault(("m.room.create", ""), create)
    try:
        event_auth.check_auth_events(event, event.version, cited)
        event_auth.authorise(event, event.version, lambda kind, key: by_key.get((kind, key)))
    except Forbidden as error:
        return error.error
    if event.type == "m.room.create" and event.event_id != create.event_id:
        return "the room has another create event"
    return None


def known(source: CacheSource, room_id: RoomId, event_id: EventId) -> Event | None:
    """Return an event of the room that was accepted here before, in its timeline or as an outlier."""
    try:
        event = timeline.event(source, event_id)
    except NotFound:
        return None  # of a room of which there is no state, such as the invite to this one
    return event if event is not None and event.room_id == room_id else None


def _auth_first(answer: Answer) -> Iterator[EventId]:
    """Yield the events of an answer so that each comes after those that it cites; what lies on a circle comes in any order."""
    events = answer.events
    state: dict[EventId, bool] = {}
    # Auth chains last: of what only leads to others each comes right before the first of these, and is still at hand.
    names = sorted(answer.lists, key=lambda name: name == "auth_chain")
    for first in chain.from_iterable(answer.lists[name] for name in names):
        stack = [first]
        while stack:
            event_id = stack[-1]
            if event_id in state:
                stack.pop()
                if not state[event_id]:
                    state[event_id] = True
                    yield event_id
                continue
            state[event_id] = False
            stack += [auth for auth in events[event_id].auth_events if auth in events and auth not in state]


def create_of(answer: Answer, name: str) -> Event | None:
    """Return the create event of the room in the answer's list `name`; `None` if there is none, or more than one."""
    found = {event_id for event_id in answer.lists[name] if answer.events[event_id].type == "m.room.create"}
    create = answer.event(found.pop()) if len(found) == 1 else None
    return create if create is not None and create.room_id == answer.room_id and create.state_key == "" else None


async def as_state(answer: Answer, name: str) -> dict[tuple[str, str], EventId]:
    """Return the accepted state events that the answer lists under `name`, by type and state key; the first of two alike counts."""
    state: dict[tuple[str, str], EventId] = {}
    for done, event_id in enumerate(answer.lists[name]):
        found = answer.found(event_id)
        if found is not None and found.state_key is not None:
            state.setdefault((found.type, found.state_key), event_id)
        if done % 5000 == 4999:
            await asyncio.sleep(0)
    return state
