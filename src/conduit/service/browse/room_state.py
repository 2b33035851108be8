"""A room's state and members as one user may read them: now for who is in it, as it was left for who has left.

Source: client-server API, "Getting events for a room": `/state`, `/members`, `/joined_members`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Mapping

import orjson

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.rooms import client_events, members, state, state_bodies, timeline, visibility, whole_states
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.rooms.whole_states import MEMBER, Wanted, is_member, listed

MAX_WHOLE = 30_000
"""Up to so many entries a state has whose lists are made whole, and kept for the next who asks; larger ones are sent as they are read."""

Body = bytes | AsyncIterator[bytes]
"""A list as JSON: whole, or in pieces as it is read."""


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

    Before the room was known here that is the empty one. Raises `Forbidden` as `readable` does, and for a time of which the user may see nothing.
    """
    now = readable(source, room_id, user_id)
    then = state.at_count(source, room_id, count)
    if then is None:
        return 0
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
    return visibility.last_leave(source, room_id, user_id)


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


async def whole(ctx: Context, room_id: RoomId, number: int) -> Body:
    """Return a whole state as a JSON array of client events."""
    entries = state.ids(ctx.db, number)
    return await _body(ctx, room_id, number, "state", lambda: listed(b"[", _with_room(ctx.db, entries), b"]"))


async def member_list(
    ctx: Context, room_id: RoomId, number: int, *, membership: str | None = None, other_than: str | None = None
) -> Body:
    """Return the member events of a state as `{"chunk": [...]}`.

    With `membership`, or `other_than`, or both, only those that have the one or have not the other.
    """
    entries = state.ids(ctx.db, number)

    def passes(event: ClientEvent) -> bool:
        if membership is None and other_than is None:
            return True
        has = event.membership or "leave"
        return (membership is not None and has == membership) or (other_than is not None and has != other_than)

    def make() -> AsyncIterator[bytes]:
        return listed(b'{"chunk":[', _with_room(ctx.db, entries, is_member, passes), b"]}")

    return await _body(ctx, room_id, number, f"members {membership} {other_than}", make)


async def joined_members(ctx: Context, room_id: RoomId, user_id: UserId) -> Body:
    """Return `{"joined": {user: {display_name, avatar_url}}}` of the room as it is. Raises `Forbidden` for who is not in it."""
    head = state.head(ctx.db, room_id)
    if head is None or not members.is_joined(ctx.db, room_id, user_id):
        raise Forbidden("You are not in this room")
    entries, joined = state.ids(ctx.db, head.state), members.joined(ctx.db, room_id)

    def make() -> AsyncIterator[bytes]:
        return listed(b'{"joined":{', _profiles(ctx.db, entries, joined), b"}}")

    return await _body(ctx, room_id, head.state, "joined", make)


async def _body(
    ctx: Context, room_id: RoomId, number: int, kind: str, make: Callable[[], AsyncIterator[bytes]]
) -> Body:
    if len(state.ids(ctx.db, number)) > MAX_WHOLE:
        return make()
    return await state_bodies.get(ctx.locks.body(room_id), ctx.db, room_id, number, kind, make)


async def _with_room(
    source: CacheSource,
    entries: Mapping[int, int],
    wanted: Wanted | None = None,
    passes: Callable[[ClientEvent], bool] = lambda event: True,
) -> AsyncIterator[list[bytes]]:
    async for step in whole_states.forms(source, entries, wanted):
        yield [client_events.with_room(event) for event in step if passes(event)]


async def _profiles(
    source: CacheSource, entries: Mapping[int, int], joined: Container[str]
) -> AsyncIterator[list[bytes]]:
    async for step in whole_states.ids(source, entries, lambda kind, key: kind == MEMBER and key in joined):
        yield [
            orjson.dumps(event.state_key) + b":" + orjson.dumps(_profile(event))
            for event in timeline.events(source, step, keep=False)
            if event.membership == "join"
        ]


def _profile(event: Event) -> dict[str, str]:
    name, avatar_url = event.content.get("displayname"), event.content.get("avatar_url")
    profile = {"display_name": name} if isinstance(name, str) else {}
    if isinstance(avatar_url, str) and avatar_url.startswith("mxc://"):
        profile["avatar_url"] = avatar_url
    return profile
