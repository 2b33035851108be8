"""Reading a room's history as one user: pages of its timeline with what the user may see, filtered and rendered.

Source: client-server API, "Getting events for a room", "Filtering", "Ignoring Users".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import orjson

from conduit.database.cache import CacheSource
from conduit.database.layouts import PduId
from conduit.protocol.errors import Forbidden
from conduit.protocol.filters import RoomEventFilter, select_fields
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.rooms import bundles, client_events, cuts, relations, state, timeline, visibility, whole_states
from conduit.service.rooms.client_events import ClientEvent, Recipient
from conduit.service.rooms.cuts import Cut
from conduit.service.rooms.visibility import Viewer

STEP = 500
"""How many events are looked at between two chances for others to run."""


class Page(NamedTuple):
    """A part of a timeline. `end` is the cut up to which it was read; `more` says whether the timeline goes on beyond."""

    events: list[ClientEvent]
    end: Cut
    more: bool


class Format(NamedTuple):
    """How a filter wants events: only some fields, or as other servers get them."""

    fields: tuple[tuple[str, ...], ...] | None = None
    federation: bool = False


PLAIN = Format()


class Reader:
    """One user reading one room, on one device, now.

    `ignored` are the senders whose messages the user does not want; `erased` are those who have gone and left their messages only to who was there.
    """

    __slots__ = ("_erased", "_format", "_to", "ignored", "room_id", "source", "user_id", "viewer")

    def __init__(
        self,
        source: CacheSource,
        room_id: RoomId,
        to: Recipient,
        *,
        ignored: Collection[str] = (),
        erased: Collection[str] = (),
        form: Format = PLAIN,
    ) -> None:
        self.source = source
        self.room_id = room_id
        self.user_id: UserId = to.user_id
        self.ignored = ignored
        self.viewer = Viewer(source, room_id, to.user_id)
        self._to = to
        self._erased = erased
        self._format = form

    def check_access(self) -> None:
        """Raise `Forbidden` unless the user is or was in the room, or anybody may read it."""
        if self.viewer.membership == "join" or self.viewer.was_joined():
            return
        if not visibility.is_world_readable(self.source, self.room_id):
            raise Forbidden("You are not allowed to view this room")

    def newest(self) -> Cut:
        """Return where the user's view of the timeline ends: at the leave for somebody who was in the room, else now."""
        if self.viewer.membership in ("leave", "ban") and not visibility.is_world_readable(self.source, self.room_id):
            event_id = state.current_id(self.source, self.room_id, "m.room.member", self.user_id)
            position = None if event_id is None else timeline.position(self.source, event_id)
            if position is not None:
                return cuts.after(position)
        return cuts.END

    def shows(self, event: ClientEvent) -> bool:
        """Tell whether the user gets an event: may see it, and does not ignore its sender. State is shown whoever sent it."""
        if event.sender in self.ignored and event.state_key is None:
            return False
        return self.viewer.sees(event)

    def is_withheld(self, event: ClientEvent) -> bool:
        """Tell whether the content of an event is withheld: its sender has been erased, and the user was not there when it was sent."""
        if event.sender not in self._erased or event.sender == self.user_id:
            return False
        after = event.place(self.source).after
        return after is None or self.viewer.membership_in(after) != "join"

    def _without_erased(self, event: ClientEvent) -> ClientEvent:
        known = timeline.event(self.source, event.event_id) if self.is_withheld(event) else None
        return event if known is None else client_events.pruned(event, known)

    def _is_current(self, event: ClientEvent) -> bool:
        if event.state_key is None:
            return False
        return state.current_id(self.source, self.room_id, event.type, event.state_key) == event.event_id

    def passes(self, event: ClientEvent, wanted: RoomEventFilter) -> bool:
        """Tell whether an event passes a filter."""
        if wanted.everything:
            return True
        if not wanted.passes_event(event.type, event.sender, event.has_url):
            return False
        return not wanted.asks_relations or self._has_relations(event, wanted)

    def _has_relations(self, event: ClientEvent, wanted: RoomEventFilter) -> bool:
        place = event.place(self.source)
        if place.position is None:
            return False
        for row in relations.in_room(self.source, place.short, place.position.room):
            if wanted.related_by_rel_types is not None and row.rel_type not in wanted.related_by_rel_types:
                continue
            if wanted.related_by_senders is None or row.sender in wanted.related_by_senders:
                return True
        return False

    def page(
        self,
        start: Cut,
        stop: Cut,
        limit: int,
        wanted: RoomEventFilter,
        *,
        backwards: bool,
        look_at: int = STEP,
        with_current_state: bool = False,
    ) -> Page:
        """Return up to `limit` events between two cuts that the user gets and wants, in reading order; looks at no more than `look_at`.

        `with_current_state` lets events of the room's present state through whether or not the user could see them when they were sent.
        """
        found: list[ClientEvent] = []
        last: PduId | None = None
        everything = wanted.everything
        entries = cuts.entries(self.source, self.room_id, start, stop, backwards=backwards)
        more = False
        for place, event_id in islice(entries, look_at):
            if len(found) == limit:
                more = True
                break
            last = place
            event = client_events.at(self.source, place, event_id)
            if event is None or not (everything or self.passes(event, wanted)):
                continue
            if self.shows(event) or (with_current_state and self._is_current(event)):
                found.append(event)
        else:
            more = next(entries, None) is not None
        if last is None:
            return Page(found, start, more)
        return Page(found, cuts.before(last) if backwards else cuts.after(last), more)

    @property
    def is_plain(self) -> bool:
        """Whether events are wanted in their usual form, without their room."""
        return self._format is PLAIN and not self._to.with_room

    # --- rendering -------------------------------------------------------------------------------------------------

    def render(self, event: ClientEvent, relations: bytes | None = None) -> bytes:
        """Return an event as JSON in the form that was asked for."""
        if event.sender in self._erased:
            event = self._without_erased(event)
        if self._format is PLAIN:
            return client_events.render(self.source, event, self._to, self.viewer, relations)
        return self._formatted(event, client_events.render(self.source, event, self._to, self.viewer, relations))

    def render_all(self, events: Iterable[ClientEvent], *, bundled: bool = True) -> orjson.Fragment:
        """Return events as a JSON array, each with its bundled aggregations unless `bundled` is False."""
        if bundled:
            rendered = [self.render(event, bundles.bundle(self, event)) for event in events]
        else:
            rendered = [self.render(event) for event in events]
        return orjson.Fragment(b"[" + b",".join(rendered) + b"]")

    def render_one(self, event: ClientEvent) -> orjson.Fragment:
        """Return one event with its bundled aggregations."""
        return orjson.Fragment(self.render(event, bundles.bundle(self, event)))

    def render_state(self, events: Iterable[ClientEvent]) -> orjson.Fragment:
        """Return state events as a JSON array; nothing in them depends on the reader."""
        return orjson.Fragment(b"[" + b",".join(self.state_forms(events)) + b"]")

    def state_forms(self, events: Iterable[ClientEvent]) -> list[bytes]:
        """Return state events as JSON, each for itself: for lists that are made in steps."""
        if self._format is not PLAIN:
            return [self._formatted(event, event.closed) for event in events]
        if self._to.with_room:
            return [client_events.with_room(event) for event in events]
        return [event.closed for event in events]

    def _formatted(self, event: ClientEvent, rendered: bytes) -> bytes:
        if self._format.federation:
            known = timeline.event(self.source, event.event_id)
            if known is not None:
                # As other servers get it, and named: since room version 3 an event does not hold its own id.
                return known.stored()
        if self._format.fields is None:
            return rendered
        form: Mapping[str, Any] = orjson.loads(rendered)
        return orjson.dumps(select_fields(form, self._format.fields))


def members_for(reader: Reader, events: Iterable[ClientEvent]) -> list[ClientEvent]:
    """Return the membership of each sender as it was when the first of its `events` was sent: what lazy loading adds to a page."""
    found: dict[UserId, EventId | None] = {}
    for event in events:
        if event.sender not in found:
            place = event.place(reader.source)
            number = place.before or place.after
            member = state.get_id(reader.source, number, "m.room.member", event.sender) if number else None
            found[event.sender] = member
    return client_events.get_many(reader.source, [event_id for event_id in found.values() if event_id is not None])


async def filtered_state(
    reader: Reader, number: int, wanted: RoomEventFilter, senders: Iterable[str]
) -> orjson.Fragment:
    """Return, as a JSON array, the events of a whole state that a filter wants; with lazy loading, of the members only `senders`."""
    allowed = set(senders)

    def is_loaded(event_type: str, state_key: str) -> bool:
        return event_type != whole_states.MEMBER or state_key in allowed

    rendered: list[bytes] = []
    entries = state.ids(reader.source, number)
    async for events in whole_states.forms(reader.source, entries, is_loaded if wanted.lazy_load_members else None):
        rendered += reader.state_forms(event for event in events if reader.passes(event, wanted))
    return orjson.Fragment(b"[" + b",".join(rendered) + b"]")
