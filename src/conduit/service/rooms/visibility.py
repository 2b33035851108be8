"""Who may see which events of a room.

What decides is the room's history visibility and the user's membership in the state at the event. Both are looked up by bisection in that state, once
for each state and reader: whole states are never loaded, and a run of messages shares one state.

Source: client-server API, "Room History Visibility".
"""

from __future__ import annotations

from conduit.database.cache import Cached, CacheSource
from conduit.protocol import visibility as rules
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.rooms import members, redactions, short_ids, state, state_layers, timeline
from conduit.service.rooms.client_events import ClientEvent

_MAX_STEPS = 100
"""How many memberships of one user are walked back to find the last time that the user was in the room."""


def _load(source: CacheSource, number: int) -> str:
    event = state.get(source, number, "m.room.history_visibility") if number else None
    return rules.visibility_of(None if event is None else event.content)


_VISIBILITY: Cached[int, str] = Cached("history_visibility", load=_load, weigh=lambda value: 60)


def in_state(source: CacheSource, number: int) -> str:
    """Return the history visibility that holds in a state."""
    return _VISIBILITY.get(source, number)


def current(source: CacheSource, room_id: RoomId) -> str:
    """Return the room's history visibility now."""
    head = state.head(source, room_id)
    return rules.DEFAULT if head is None else _VISIBILITY.get(source, head.state)


def is_world_readable(source: CacheSource, room_id: RoomId) -> bool:
    """Tell whether anybody may read the room as it is now."""
    head = state.head(source, room_id)
    return head is not None and _VISIBILITY.get(source, head.state) == "world_readable"


def last_leave(source: CacheSource, room_id: RoomId, user_id: UserId) -> Event | None:
    """Return the event by which a user who is out of the room went out of it, if they were in it at all: others may have followed, such as a ban."""
    event_id = state.current_id(source, room_id, "m.room.member", user_id)
    for _ in range(_MAX_STEPS):
        event = None if event_id is None else timeline.event(source, event_id)
        before = None if event is None else state.before(source, event.event_id)
        if event is None or not before:
            return None
        former = state.get(source, before, "m.room.member", user_id)
        if former is not None and former.membership == "join":
            return event
        event_id = None if former is None else former.event_id
    return None


class Viewer:
    """One user looking at one room. Short-lived: it remembers what it found, and does not notice changes."""

    __slots__ = (
        "_entry",
        "_last_joined",
        "_memberships",
        "_own_key",
        "_source",
        "_verdicts",
        "membership",
        "room_id",
        "user_id",
    )

    def __init__(self, source: CacheSource, room_id: RoomId, user_id: UserId) -> None:
        self._source = source
        self.room_id = room_id
        self.user_id = user_id
        self._entry = members.entry(source, room_id, user_id)
        self.membership = None if self._entry is None else self._entry.membership
        """The user's membership now; `None` for somebody who never had any, or forgot the room."""
        self._own_key: int | None = None
        self._memberships: dict[int, str] = {}
        self._verdicts: dict[int, bool | None] = {}
        self._last_joined: tuple[int, int] | bool | None = False

    def was_joined(self) -> bool:
        """Tell whether the user is or was in the room, and has not forgotten it."""
        return self.membership is not None and members.was_ever_joined(self._source, self.room_id, self.user_id)

    def membership_in(self, number: int) -> str:
        """Return the user's membership in a state; `leave` if there is none."""
        found = self._memberships.get(number)
        if found is None:
            found = self._memberships[number] = self._find_membership(number) or "leave"
        return found

    def _find_membership(self, number: int) -> str | None:
        source = self._source
        head = state.head(source, self.room_id)
        if head is not None and head.state == number and self._entry is not None:
            return self._entry.membership
        if self._own_key is None:
            self._own_key = short_ids.short_statekey(source, "m.room.member", self.user_id) or 0
        short = state_layers.look_up(source, number, self._own_key) if number and self._own_key else None
        if short is None:
            return None
        if self._entry is not None and self._entry.event == short:
            return self._entry.membership
        event = timeline.event(source, short_ids.event_of(source, short))
        return None if event is None else event.membership

    def sees(self, event: ClientEvent) -> bool:
        """Tell whether the user may see an event. One whose state is not known is shown to nobody but its sender, a redaction without effect to nobody."""
        place = event.place(self._source)
        if event.is_ordinary:
            if place.after is not None and self._verdicts.get(place.after):
                return True  # what is asked of nearly every event of a page
        elif rules.is_hidden(event.type, event.state_key) or not redactions.is_shown(self._source, event.event_id):
            return False
        if place.after is None:
            return event.sender == self.user_id
        # An event that changes the visibility, or the user's own membership, is seen by who may see either side of it.
        # Every other event has the same two facts on both sides, so that both may be asked always.
        if self._sees_in(place.after, event):
            return True
        return place.before is not None and place.before != place.after and self._sees_in(place.before, event)

    def _sees_in(self, number: int, event: ClientEvent) -> bool:
        if number in self._verdicts:
            verdict = self._verdicts[number]
        else:
            verdict = self._verdicts[number] = self._judge(number)
        return self._joined_since(event) if verdict is None else verdict

    def _judge(self, number: int) -> bool | None:
        """Return whether the state alone lets the user see; `None` if it depends on whether the user joined later."""
        setting = _VISIBILITY.get(self._source, number)
        if self.membership == "join" and rules.may_see(setting, "leave", joined_since=True):
            return True
        membership = self.membership_in(number)
        if rules.may_see(setting, membership, joined_since=False):
            return True
        return None if rules.may_see(setting, membership, joined_since=True) else False

    def _joined_since(self, event: ClientEvent) -> bool:
        """Tell whether the user has been in the room at any time after the event."""
        if self.membership == "join":
            return True
        if self._last_joined is False:
            self._last_joined = self._find_last_joined()
        position = event.place(self._source).position
        return isinstance(self._last_joined, tuple) and position is not None and position.order() < self._last_joined

    def _find_last_joined(self) -> tuple[int, int] | None:
        source = self._source
        if not members.was_ever_joined(source, self.room_id, self.user_id):
            return None
        event_id = state.current_id(source, self.room_id, "m.room.member", self.user_id)
        for _ in range(_MAX_STEPS):
            event = None if event_id is None else timeline.event(source, event_id)
            if event is None:
                return None
            if event.membership == "join":
                position = timeline.position(source, event.event_id)
                return None if position is None else position.order()
            before = state.before(source, event.event_id)
            event_id = state.get_id(source, before, "m.room.member", self.user_id) if before else None
        return None
