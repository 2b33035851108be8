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
    after, before = await _by_membership(source, added), await _by_membership(source, removed)
    joined, were_in = after.get("join", set()), before.get("join", set())
    again = {user_id for user_id in joined & were_in if _joined_after(source, room_id, user_id, since)}
    invited = after.get("invite", set()).difference(*before.values())
    return Moves(joined - were_in | again, were_in - joined, invited)


def _joined_after(source: CacheSource, room_id: RoomId, user_id: UserId, count: int) -> bool:
    entry = members.entry(source, room_id, user_id)
    return entry is not None and entry.membership == "join" and entry.since > count


async def joined_in(source: CacheSource, number: int) -> set[UserId]:
    """Return who is in the room in a state."""
    return (await _by_membership(source, state.ids(source, number))).get("join", set())


async def _by_membership(source: CacheSource, entries: Mapping[int, int]) -> dict[str, set[UserId]]:
    found: dict[str, set[UserId]] = {}
    async for step in whole_states.forms(source, entries, whole_states.is_member):
        for event in step:
            if event.state_key is not None:
                found.setdefault(event.membership or "leave", set()).add(UserId(event.state_key))
    return found
