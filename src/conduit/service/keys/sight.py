"""Who comes into sight and who goes out of it: users share a room with somebody, or do not any more.

A client tracks the devices of the users that it shares rooms with. So it must hear of those who are new, whose devices it does not
know or knows as they were long ago, and of those who are gone. Somebody who is invited may be sent keys of messages before they have joined.

Source: client-server API, "Tracking the device list for a user", "Extensions to /sync".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members, moves, state
from conduit.service.rooms.moves import Moves

STEP = 250
"""After how many users others get their turn."""


async def changes(
    source: CacheSource,
    observer: UserId,
    since: int,
    upto: int,
    rooms: Iterable[RoomId] | None = None,
    own: Iterable[RoomId] | None = None,
) -> Moves:
    """Return who came into sight of `observer`, who went out of it, and who was invited where `observer` is, in the interval (since, upto].

    Somebody who already shared another room may be told as having come. `rooms` narrows the rooms looked at among those that the observer is in; by
    default all are. `own` are the rooms in which the observer moved, for who knows them.
    """
    came: set[UserId] = set()
    gone: set[UserId] = set()
    invited: set[UserId] = set()
    if own is None:
        own = [change.room_id for change in members.changes(source, observer, since, upto)]
    moved_in = frozenset(own)
    for room_id in moved_in:
        was_in = _is_in(source, room_id, observer, since)
        if members.is_joined(source, room_id, observer):
            # Also for who was in it before: while out of it, one hears of nobody's devices.
            came |= members.joined(source, room_id)
            if was_in:
                gone |= (await moves.between(source, room_id, since, upto)).went
        elif was_in:
            gone |= await moves.joined_in(source, state.at_count(source, room_id, since) or 0)
    for room_id in members.rooms(source, observer) if rooms is None else rooms:
        head = state.head(source, room_id)
        if room_id not in moved_in and head is not None and head.since > since:
            moved = await moves.between(source, room_id, since, upto)
            came |= moved.came
            gone |= moved.went
            invited |= moved.invited
    for found in (came, gone, invited):
        found.discard(observer)
    return Moves(came, await _out_of_sight(source, observer, gone), invited)


async def _out_of_sight(source: CacheSource, observer: UserId, users: Iterable[UserId]) -> set[UserId]:
    """Return those of the users who share no room with the observer."""
    found = set()
    for number, user_id in enumerate(users, 1):
        if not members.share_room(source, observer, user_id):
            found.add(user_id)
        if number % STEP == 0:
            await asyncio.sleep(0)
    return found


def _is_in(source: CacheSource, room_id: RoomId, user_id: UserId, count: int) -> bool:
    number = state.at_count(source, room_id, count)
    event = state.get(source, number, "m.room.member", user_id) if number else None
    return event is not None and event.membership == "join"
