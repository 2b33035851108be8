"""Who came into a room, who went, and who was invited, between two counts, by the difference of the room's states then."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members, short_ids, state, timeline


class Moves(NamedTuple):
    """Users who are in the room and were not, users who were and are not, and users who were invited and are not in it yet."""

    came: set[UserId]
    went: set[UserId]
    invited: AbstractSet[UserId] = frozenset()


def between(source: CacheSource, room_id: RoomId, since: int, upto: int) -> Moves:
    """Return who came, who went and who was invited in the interval (since, upto]. Somebody who went and came again has come."""
    old, new = state.at_count(source, room_id, since) or 0, state.at_count(source, room_id, upto) or 0
    added, removed = state.diff(source, old, new)
    after, before = _memberships(source, added), _memberships(source, removed)
    joined = {user_id for user_id, membership in after.items() if membership == "join"}
    were_in = {user_id for user_id, membership in before.items() if membership == "join"}
    again = {user_id for user_id in joined & were_in if _joined_after(source, room_id, user_id, since)}
    invited = {user_id for user_id, membership in after.items() if membership == "invite"}
    return Moves(joined - were_in | again, were_in - joined, invited - before.keys())


def _joined_after(source: CacheSource, room_id: RoomId, user_id: UserId, count: int) -> bool:
    entry = members.entry(source, room_id, user_id)
    return entry is not None and entry.membership == "join" and entry.since > count


def joined_in(source: CacheSource, number: int) -> set[UserId]:
    """Return who is in the room in a state."""
    found = _memberships(source, state.ids(source, number))
    return {user_id for user_id, membership in found.items() if membership == "join"}


def _memberships(source: CacheSource, entries: Mapping[int, int]) -> dict[UserId, str]:
    keys = short_ids.statekeys_of(source, list(entries))
    shorts = [
        short for (event_type, _), short in zip(keys, entries.values(), strict=True) if event_type == "m.room.member"
    ]
    found = timeline.events(source, short_ids.events_of(source, shorts)) if shorts else []
    return {UserId(event.state_key): event.membership or "leave" for event in found if event.state_key is not None}
