"""What a server in a room may see of its history: the room's history visibility, applied to all of its users together.

What it may not see it gets redacted, for it needs the event to know the room's graph. The same holds for messages of users who were erased.

Source: server-server API, "Backfilling and retrieving missing events"; client-server API, "Room History Visibility".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from conduit.database.cache import CacheSource
from conduit.protocol import visibility as rules
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.service.rooms import members, partial, state, timeline, visibility

MAX_ABSENT = 20_000
"""Among how many who have left or are invited a server's users are looked for."""


class ServerViewer:
    """One server looking at one room that it is in. Short-lived: it remembers what it found, and does not notice changes.

    `erased` are the users whose messages are withheld.
    """

    __slots__ = ("_erased", "_room_id", "_server", "_source", "_users", "_verdicts")

    def __init__(
        self, source: CacheSource, room_id: RoomId, server: ServerName, *, erased: Collection[str] = ()
    ) -> None:
        self._source = source
        self._room_id = room_id
        self._server = server
        self._erased = erased
        self._verdicts: dict[int, bool] = {}
        self._users: list[UserId] | None = None

    def sees(self, event: Event) -> bool:
        """Tell whether the server may have the event as it is. State whose place is not known is seen: it is part of other events' states."""
        after = state.after(self._source, event.event_id)
        if after is None:
            return event.state_key is not None or event.server_name == self._server
        # An event that changes the visibility, or a membership, is seen by who may see either side of it.
        if self._sees_in(after):
            return True
        before = state.before(self._source, event.event_id)
        if before and before != after and self._sees_in(before):
            return True
        return self._was_sent(event)

    def _was_sent(self, event: Event) -> bool:
        """Tell whether the event was sent to the server because it is said to be in a room whose members are not all known yet: since this one has joined it."""
        known = partial.find(self._source, self._room_id)
        if known is None or self._server not in known.servers:
            return False
        join = timeline.position(self._source, known.event_id)
        place = timeline.position(self._source, event.event_id)
        return join is not None and place is not None and place.order() >= join.order()

    def was_in(self, event: Event) -> bool:
        """Tell whether the server was in the room when the event was sent: somebody of it is joined in the state before it."""
        before = state.before(self._source, event.event_id)
        return bool(before) and "join" in self._memberships(before or 0)

    def copy(self, event: Event) -> Event:
        """Return the event as the server may have it: itself, or what a redaction would leave of it."""
        if event.sender not in self._erased and self.sees(event):
            return event
        return event.redacted()

    def _sees_in(self, number: int) -> bool:
        verdict = self._verdicts.get(number)
        if verdict is None:
            verdict = self._verdicts[number] = self._judge(number)
        return verdict

    def _judge(self, number: int) -> bool:
        setting = visibility.in_state(self._source, number)
        if rules.server_may_see(setting, ()):
            return True
        return any(rules.server_may_see(setting, (membership,)) for membership in self._memberships(number))

    def _memberships(self, number: int) -> Iterator[str]:
        for user_id in self._known_users():
            event = state.get(self._source, number, "m.room.member", user_id)
            if event is not None and event.membership is not None:
                yield event.membership

    def _known_users(self) -> Iterator[UserId]:
        """Return the server's users who have or had to do with the room, those who are in it first."""
        present = members.joined_local(self._source, self._room_id, self._server)
        yield from present
        if self._users is None:
            absent = islice(members.past_and_invited(self._source, self._room_id), MAX_ABSENT)
            self._users = [user_id for user_id in absent if user_id.partition(":")[2] == self._server]
        yield from self._users
