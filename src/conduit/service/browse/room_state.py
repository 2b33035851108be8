"""A room's state and members as one user may read them: now for who is in it, as it was left for who has left.

Source: client-server API, "Getting events for a room": `/state`, `/members`, `/joined_members`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.rooms import client_events, members, short_ids, state, state_bodies, timeline, visibility

MAX_STEPS = 100
"""How many memberships of one user are walked back to find the last time that the user was in the room."""

STEP = 250
"""How many events are read between two chances for others to run: some milliseconds."""

MEMBER = "m.room.member"


def readable(source: CacheSource, room_id: RoomId, user_id: UserId) -> int:
    """Return the number of the state that the user may read now. Raises `Forbidden` for who was never in the room, or forgot it."""
    head = state.head(source, room_id)
    if head is not None:
        if members.is_joined(source, room_id, user_id) or visibility.is_world_readable(source, room_id):
            return head.state
        left = _left(source, room_id, user_id)
        after = None if left is None else state.after(source, left.event_id)
        if after is not None:
            return after
    raise Forbidden("You are not in this room and have never been")


def readable_at(source: CacheSource, room_id: RoomId, user_id: UserId, count: int) -> int:
    """Return the number of the state at a count, if the user may read that; for who has left, at the latest that when they left.

    Raises `Forbidden` as `readable` does, and for a time of which the user may see nothing.
    """
    now = readable(source, room_id, user_id)
    then = state.at_count(source, room_id, count)
    if then is None:
        raise Forbidden("There was no such room then")
    if not members.is_joined(source, room_id, user_id):
        left = _left(source, room_id, user_id)
        place = None if left is None else timeline.position(source, left.event_id)
        if place is not None and count > place.live and not visibility.is_world_readable(source, room_id):
            return now
    setting = visibility.in_state(source, then)
    if setting in ("world_readable", "shared"):
        return then
    event = state.get(source, then, MEMBER, user_id)
    member = None if event is None else event.membership
    if member == "join" or (member == "invite" and setting == "invited"):
        return then
    raise Forbidden("You may not see the room as it was then")


def _left(source: CacheSource, room_id: RoomId, user_id: UserId) -> Event | None:
    """Return the event by which the user last left the room, having been in it; `None` if there is none, or the room is forgotten."""
    if members.membership(source, room_id, user_id) is None or not members.was_ever_joined(source, room_id, user_id):
        return None
    event_id = state.current_id(source, room_id, MEMBER, user_id)
    for _ in range(MAX_STEPS):
        event = None if event_id is None else timeline.event(source, event_id)
        before = None if event is None else state.before(source, event.event_id)
        if event is None or not before:
            return None
        former = state.get(source, before, MEMBER, user_id)
        if former is not None and former.membership == "join":
            return event
        event_id = None if former is None else former.event_id
    return None


def one(source: CacheSource, room_id: RoomId, number: int, event_type: str, state_key: str) -> Event:
    """Return one event of a state; raises `NotFound` if there is none."""
    head = state.head(source, room_id)
    if head is not None and head.state == number:
        event = state.current(source, room_id, event_type, state_key)
    else:
        event = state.get(source, number, event_type, state_key)
    if event is None:
        raise NotFound("There is no such state in the room")
    return event


def client_form(source: CacheSource, event: Event) -> bytes:
    """Return a state event as clients get it."""
    found = client_events.get(source, event.event_id)
    assert found is not None, "an event that was just read is known"
    return client_events.with_room(found)


def whole(source: CacheSource, room_id: RoomId, number: int) -> bytes:
    """Return a whole state as a JSON array of client events."""
    return state_bodies.get(
        source, room_id, number, "state", lambda: _array(source, _ids(source, room_id, number).values())
    )


def member_list(
    source: CacheSource, room_id: RoomId, number: int, *, membership: str | None = None, other_than: str | None = None
) -> bytes:
    """Return the member events of a state as `{"chunk": [...]}`.

    With `membership`, or `other_than`, or both, only those that have the one or have not the other.
    """

    def make() -> bytes:
        ids = [event_id for (event_type, _), event_id in _ids(source, room_id, number).items() if event_type == MEMBER]
        if membership is None and other_than is None:
            return b'{"chunk":' + _array(source, ids) + b"}"
        wanted = []
        for event in timeline.events(source, ids):
            has = event.membership or "leave"
            if (membership is not None and has == membership) or (other_than is not None and has != other_than):
                wanted.append(event.event_id)
        return b'{"chunk":' + _array(source, wanted) + b"}"

    return state_bodies.get(source, room_id, number, f"members {membership} {other_than}", make)


def joined_members(source: CacheSource, room_id: RoomId, user_id: UserId) -> bytes:
    """Return `{"joined": {user: {display_name, avatar_url}}}` of the room as it is. Raises `Forbidden` for who is not in it."""
    head = state.head(source, room_id)
    if head is None or not members.is_joined(source, room_id, user_id):
        raise Forbidden("You are not in this room")

    def make() -> bytes:
        joined = {}
        for event in timeline.events(source, _joined_ids(source, room_id)):
            if event.membership == "join" and event.state_key is not None:
                joined[event.state_key] = _profile(event)
        return orjson.dumps({"joined": joined})

    return state_bodies.get(source, room_id, head.state, "joined", make)


async def read_joined(source: CacheSource, room_id: RoomId, user_id: UserId) -> None:
    """Read those who are in a large room bit by bit, so that `joined_members` need not hold the loop for all of them."""
    head = state.head(source, room_id)
    if head is None or members.joined_count(source, room_id) <= STEP or not members.is_joined(source, room_id, user_id):
        return
    if not state_bodies.is_held(source, room_id, head.state, "joined"):
        ids = _joined_ids(source, room_id)
        for start in range(0, len(ids), STEP):
            timeline.events(source, ids[start : start + STEP])
            await asyncio.sleep(0)


def _joined_ids(source: CacheSource, room_id: RoomId) -> list[EventId]:
    current = state.current_ids(source, room_id)
    found = [current.get((MEMBER, user_id)) for user_id in members.joined(source, room_id)]
    return [event_id for event_id in found if event_id is not None]


def _profile(event: Event) -> dict[str, str]:
    name, avatar_url = event.content.get("displayname"), event.content.get("avatar_url")
    profile = {"display_name": name} if isinstance(name, str) else {}
    if isinstance(avatar_url, str) and avatar_url.startswith("mxc://"):
        profile["avatar_url"] = avatar_url
    return profile


def _ids(source: CacheSource, room_id: RoomId, number: int) -> dict[tuple[str, str], EventId]:
    head = state.head(source, room_id)
    if head is not None and head.state == number:
        return dict(state.current_ids(source, room_id))
    entries = state.ids(source, number)
    keys = short_ids.statekeys_of(source, list(entries))
    return dict(zip(keys, short_ids.events_of(source, list(entries.values())), strict=True))


def _array(source: CacheSource, event_ids: Iterable[EventId]) -> bytes:
    events = client_events.get_many(source, list(event_ids))
    return b"[" + b",".join([client_events.with_room(event) for event in events]) + b"]"
