"""Who came into a room, who went, and who was invited, between two counts, by the difference of the room's states then."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members, state, whole_states


class Moves(NamedTuple):
    """Users who are in the room and were not, users who were and are not, and users who were invited and are not in it yet."""

    came: set[UserId]
    went: set[UserId]
    invited: AbstractSet[UserId] = frozenset()


async def between(source: CacheSource, room_id: RoomId, since: int, upto: int) -> Moves:
    """Return who came, who went and who was invited in the interval (since, upto]. Somebody who went and came again has come."""
    old, new = state.at_count(source, room_id, since) or 0, state.at_count(source, room_id, upto) or 0
    added, removed = state.diff(source, old, new)
    after, before = await _memberships(source, added), await _memberships(source, removed)
    joined = {user_id for user_id, membership in after.items() if membership == "join"}
    were_in = {user_id for user_id, membership in before.items() if membership == "join"}
    again = {user_id for user_id in joined & were_in if _joined_after(source, room_id, user_id, since)}
    invited = {user_id for user_id, membership in after.items() if membership == "invite"}
    return Moves(joined - were_in | again, were_in - joined, invited - before.keys())


def _joined_after(source: CacheSource, room_id: RoomId, user_id: UserId, count: int) -> bool:
    entry = members.entry(source, room_id, user_id)
    return entry is not None and entry.membership == "join" and entry.since > count


async def joined_in(source: CacheSource, number: int) -> set[UserId]:
    """Return who is in the room in a state."""
    found = await _memberships(source, state.ids(source, number))
    return {user_id for user_id, membership in found.items() if membership == "join"}


async def _memberships(source: CacheSource, entries: Mapping[int, int]) -> dict[UserId, str]:
    found: dict[UserId, str] = {}
    async for step in whole_states.forms(source, entries, whole_states.is_member):
        for event in step:
            if event.state_key is not None:
                found[UserId(event.state_key)] = event.membership or "leave"
    return found
