"""Who came into a room and who went, between two counts, by the difference of the room's states then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import short_ids, state, timeline


class Moves(NamedTuple):
    """Users who are in the room and were not, and users who were and are not."""

    came: set[UserId]
    went: set[UserId]


def between(source: CacheSource, room_id: RoomId, since: int, upto: int) -> Moves:
    """Return who came and who went in the interval (since, upto]; somebody who did both is in neither."""
    old, new = state.at_count(source, room_id, since) or 0, state.at_count(source, room_id, upto) or 0
    added, removed = state.diff(source, old, new)
    after, before = _joined(source, added), _joined(source, removed)
    return Moves(after - before, before - after)


def joined_in(source: CacheSource, number: int) -> set[UserId]:
    """Return who is in the room in a state."""
    return _joined(source, state.ids(source, number))


def _joined(source: CacheSource, entries: Mapping[int, int]) -> set[UserId]:
    keys = short_ids.statekeys_of(source, list(entries))
    shorts = [
        short for (event_type, _), short in zip(keys, entries.values(), strict=True) if event_type == "m.room.member"
    ]
    found = timeline.events(source, short_ids.events_of(source, shorts)) if shorts else []
    return {UserId(event.state_key) for event in found if event.membership == "join" and event.state_key is not None}
