"""Events in the form that clients get.

Most of that form is the same for every reader and is kept as bytes, made once; what differs (age, transaction id, the reader's membership,
what may be seen of the state before) is put around those bytes when the event is rendered.

Source: client-server API, "Room event format"; room version 11, "Moving the `redacts` property".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.visibility import is_hidden
from conduit.service.rooms import short_ids, state, timeline

if TYPE_CHECKING:
    from conduit.service.rooms.visibility import Viewer

_UNSET: Any = object()


class Place(NamedTuple):
    """Where an event stands. `before` and `after` are the states around it, `None` where they are not known."""

    short: int
    position: PduId | None
    before: int | None
    after: int | None
    sent_as: tuple[str, str, str] | None
    """(user, device, transaction id) under which a local device sent it."""


class Because(NamedTuple):
    """What `unsigned` says of the redaction that applies: what stands before and behind the room id, which that has where the event itself names its room."""

    before: bytes
    behind: bytes

    def json(self, room: bytes = b"") -> bytes:
        """Return the members of `unsigned`."""
        return self.before + room + self.behind


class ClientEvent:
    """An event as clients see it, without what depends on the reader. Shared: nothing of it is changed.

    `head` is the JSON object without room id, `unsigned` and closing brace; `because` is what its `unsigned` says of the redaction that applies.
    """

    __slots__ = (
        "_place",
        "_replaced",
        "because",
        "closed",
        "event_id",
        "has_url",
        "head",
        "is_ordinary",
        "membership",
        "room_id",
        "sender",
        "state_key",
        "ts",
        "type",
    )

    def __init__(self, event: Event, because: Because | None) -> None:
        self.event_id: Final = event.event_id
        self.room_id: Final = event.room_id
        self.type: Final = event.type
        self.sender: Final = event.sender
        self.state_key: Final = event.state_key
        self.ts: Final = event.origin_server_ts
        self.membership: Final = event.membership if event.type == "m.room.member" else None
        self.has_url: Final = "url" in event.content
        self.is_ordinary: Final = event.type != "m.room.redaction" and not is_hidden(event.type, event.state_key)
        """Whether who may see it follows from the state at the event alone."""
        self.head: Final = _head(event)
        self.because: Final = because
        unsigned = b"" if because is None else b',"unsigned":{' + because.json() + b"}"
        self.closed: Final = self.head + unsigned + b"}"
        """The event for a list of state, where the room is known and nothing depends on the reader."""
        self._place: Place | None = None
        self._replaced: EventId | None = _UNSET

    def place(self, source: CacheSource, position: PduId | None = None) -> Place:
        """Return where the event stands; `position` spares the look-up to a caller who knows it."""
        place = self._place
        if place is None:
            place = _load_place(source, self, position)
            if place.after is not None:
                self._place = place  # final: an event's states never change once they are known
        return place

    def replaced(self, source: CacheSource) -> EventId | None:
        """Return the state event that this state event replaced, if there was one and the state before is known."""
        if self._replaced is _UNSET:
            before = self.place(source).before
            if self.state_key is None or before is None:
                return None
            self._replaced = state.get_id(source, before, self.type, self.state_key) if before else None
        return self._replaced


def _head(event: Event) -> bytes:
    content: dict[str, Any] = event.content
    form: dict[str, Any] = {
        "content": content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        form["state_key"] = event.state_key
    if event.redacts is not None:
        # Older clients look beside the content, newer ones inside: both find it, whatever the room version.
        form["redacts"] = event.redacts
        form["content"] = {**content, "redacts": event.redacts}
    return orjson.dumps(form)[:-1]


def _load(source: CacheSource, event_id: EventId) -> ClientEvent | None:
    event = timeline.event(source, event_id)
    return None if event is None else _form(source, event)


def _load_many(source: CacheSource, event_ids: list[EventId]) -> list[ClientEvent | None]:
    # Whoever asks for the forms of many wants to write them out, and not the events themselves.
    found = {event.event_id: event for event in timeline.events(source, event_ids, keep=False)}
    return [_form(source, found[event_id]) if event_id in found else None for event_id in event_ids]


def _form(source: CacheSource, event: Event) -> ClientEvent:
    redaction_id = trees.redacted.get(source, event.event_id)
    redaction = None if redaction_id is None else timeline.event(source, EventId(redaction_id))
    return ClientEvent(event, None if redaction is None else _because(redaction))


def _because(redaction: Event) -> Because:
    # `redacted_by` is from before the specification; Synapse gives it, and clients that look no further read it.
    by = orjson.dumps(redaction.event_id)
    return Because(b'"redacted_because":' + _head(redaction), b'},"redacted_by":' + by)


def _weigh(event: ClientEvent | None) -> int:
    return 100 if event is None else 900 + 2 * len(event.head)


_FORM: Cached[EventId, ClientEvent | None] = Cached("client_event", load=_load, weigh=_weigh, load_many=_load_many)


def _load_place(source: CacheSource, event: ClientEvent, position: PduId | None) -> Place:
    short = short_ids.short_event(source, event.event_id) or 0
    position = timeline.position(source, event.event_id) if position is None else position
    room = short_ids.short_room(source, event.room_id)
    return Place(
        short,
        position,
        trees.shorteventid_shortstatehash.get(source, short),
        trees.shorteventid_stateafter.get(source, short),
        None if room is None else trees.event_transaction.get(source, (room, short)),
    )


def get(source: CacheSource, event_id: EventId) -> ClientEvent | None:
    """Return an event, pruned if it is redacted; `None` if it is unknown or was rejected."""
    return _FORM.get(source, event_id)


def get_many(source: CacheSource, event_ids: Sequence[EventId], *, keep: bool = True) -> list[ClientEvent]:
    """Return those of the events that are known and were not rejected, in the order of their ids. `keep` is the cache's."""
    return [event for event in _FORM.get_many(source, event_ids, keep=keep) if event is not None]


def at(source: CacheSource, position: PduId, event_id: EventId | None = None) -> ClientEvent | None:
    """Return the event at a place in a timeline; `event_id` spares the look-up to a caller who knows it."""
    if event_id is None:
        event_id = timeline.id_at(source, position)
    event = None if event_id is None else _FORM.get(source, event_id)
    if event is not None and event._place is None:
        event.place(source, position)
    return event


def pruned(form: ClientEvent, event: Event) -> ClientEvent:
    """Return the form of an event without its content, as if it had been redacted: for who ignores its sender."""
    bare = ClientEvent(event.redacted(), form.because)
    bare._place = form._place
    return bare


def begin(batch: Batch, event: Event, place: Place) -> None:
    """Keep the form of an event that is being accepted and was not known: many are about to read it."""
    form = ClientEvent(event, None)
    form._place = place
    _FORM.set(batch, event.event_id, form)


def forget(batch: Batch, event_id: EventId) -> None:
    """Let the event be made anew: it is being redacted."""
    _FORM.forget(batch, event_id)


# --- rendering -----------------------------------------------------------------------------------------------------


class Recipient(NamedTuple):
    """Who gets the events: a user, on a device, now. `with_room` says whether each event names its room."""

    user_id: UserId
    device_id: str
    now_ms: int
    with_room: bool = True


def render(
    source: CacheSource, event: ClientEvent, to: Recipient, viewer: Viewer | None, relations: bytes | None = None
) -> bytes:
    """Return an event as JSON for one reader.

    `viewer` knows what the reader may see; without one, the reader's membership and the content before are left out.
    `relations` is the value of `m.relations`.
    """
    place = event.place(source)
    sent_as = place.sent_as
    is_echo = sent_as is not None and sent_as[0] == to.user_id and sent_as[1] == to.device_id
    if not (to.with_room or is_echo or relations or event.because or event.state_key is not None or viewer is None):
        # Nearly all that is ever shown are messages of which there is nothing else to say.
        membership = b"" if place.after is None else _MEMBERSHIPS.get(viewer.membership_in(place.after), b"")
        return b'%s,"unsigned":{"age":%d%s}}' % (event.head, to.now_ms - event.ts, membership)
    parts = [event.head]
    if to.with_room:
        parts.append(_room_member(event.room_id))
    parts.append(b',"unsigned":{"age":%d' % (to.now_ms - event.ts))
    if is_echo and sent_as is not None:
        parts.append(b',"transaction_id":' + orjson.dumps(sent_as[2]))
    if viewer is not None:
        if place.after is not None:
            parts.append(_MEMBERSHIPS.get(viewer.membership_in(place.after), b""))
        if event.state_key is not None:
            _append_former(source, event, viewer, parts)
    if event.because is not None:
        parts.append(b"," + event.because.json(_room_member(event.room_id) if to.with_room else b""))
    if relations is not None:
        parts.append(b',"m.relations":' + relations)
    parts.append(b"}}")
    return b"".join(parts)


_MEMBERSHIPS: Final = {
    name: b',"membership":"%s"' % name.encode() for name in ("join", "leave", "invite", "ban", "knock")
}


def _room_member(room_id: RoomId) -> bytes:
    return b',"room_id":' + orjson.dumps(room_id)


def _append_former(source: CacheSource, event: ClientEvent, viewer: Viewer, parts: list[bytes]) -> None:
    former_id = event.replaced(source)
    if former_id is None:
        return
    parts.append(b',"replaces_state":' + orjson.dumps(former_id))
    former = _FORM.get(source, former_id)
    known = timeline.event(source, former_id)
    if former is not None and known is not None and viewer.sees(former):
        parts.append(b',"prev_content":' + orjson.dumps(known.content))


def with_room(event: ClientEvent) -> bytes:
    """Return a state event that names its room, with nothing that depends on the reader."""
    room = _room_member(event.room_id)
    if event.because is None:
        return event.head + room + b"}"
    return event.head + room + b',"unsigned":{' + event.because.json(room) + b"}}"
