"""`/events`: whatever is new since a token, as one list. The older way of going on from an initial sync, or of looking into a room.

It shows what /sync does, in the same intervals of the counter, but nothing that belongs to a device. A page is bounded by its events of rooms; what
else has happened is told up to the count that the page reaches.

Source: client-server API, GET /events, "Room Previews".
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any, Final

import orjson

from conduit.protocol.filters import EVERYTHING, RoomEventFilter
from conduit.protocol.ids import DeviceId, RoomId
from conduit.service import account_data as stored
from conduit.service.context import Context
from conduit.service.keys import sight
from conduit.service.rooms import client_events, cuts, members, state, visibility
from conduit.service.rooms.client_events import ClientEvent, Recipient
from conduit.service.rooms.cuts import Cut, SyncToken
from conduit.service.rooms.reading import Reader
from conduit.service.sync import old_forms
from conduit.service.sync.long_poll import MAX_TIMEOUT_MS
from conduit.service.sync.streams import account_data, invites, presence, receipts, typing
from conduit.service.sync.window import SyncRequest, Window
from conduit.service.users import accounts

Json = dict[str, Any]

MAX_EVENTS: Final = 100

_ALL: Final = RoomEventFilter()


async def events(
    ctx: Context,
    to: Recipient,
    start: str | None,
    *,
    timeout_ms: int = 0,
    limit: int = MAX_EVENTS,
    room_id: RoomId | None = None,
) -> Json:
    """Return what came after a token, waiting for something if there is nothing: for the user, or in one room that may be a stranger's.

    Raises `InvalidParam` for a bad token, `Forbidden` for a room that the user may not look at.
    """
    ctx.presence.sync_begins(to.user_id, "online")
    try:
        return await _news(ctx, to, start, timeout_ms, limit, room_id)
    finally:
        ctx.presence.sync_ends(to.user_id, "online")


async def _news(
    ctx: Context, to: Recipient, start: str | None, timeout_ms: int, limit: int, room_id: RoomId | None
) -> Json:
    since = cuts.at_count(ctx.db.current_count()) if start is None else cuts.parse(start)
    answer: Json = {"start": start if start is not None else since.token()}
    deadline = ctx.clock.monotonic() + min(timeout_ms, MAX_TIMEOUT_MS) / 1000
    with ctx.db.watch.register(_keys(to, room_id)) as waiter:
        while True:
            chunk, end = await _between(ctx, to, since, limit, room_id)
            left = deadline - ctx.clock.monotonic()
            if chunk or timeout_ms <= 0 or left <= 0 or not await waiter.wait(left):
                answer["chunk"] = orjson.Fragment(b"[" + b",".join(chunk) + b"]")
                answer["end"] = _token(ctx, end)
                return answer
            since = end


def _keys(to: Recipient, room_id: RoomId | None) -> list[tuple[str, str]]:
    keys: list[tuple[str, str]] = [("user", to.user_id)]
    if room_id is not None:
        keys += [("room", room_id), ("sight", room_id)]
    return keys


def _token(ctx: Context, end: Cut) -> str:
    if end == cuts.at_count(end.live):
        return SyncToken(end.live, ctx.db.start_count, end.live).token()
    return end.token()


def _reader(ctx: Context, to: Recipient, room_id: RoomId) -> Reader:
    ignored = stored.ignored_users(ctx.db, to.user_id)
    return Reader(ctx.db, room_id, to, ignored=ignored, erased=accounts.erased(ctx.db))


async def _between(
    ctx: Context, to: Recipient, since: Cut, limit: int, room_id: RoomId | None
) -> tuple[list[bytes], Cut]:
    """Return what came after a cut, rendered, and the cut up to which that is all of it."""
    token = SyncToken(since.live, ctx.db.start_count, since.live)
    window = Window(ctx, SyncRequest(to.user_id, DeviceId(to.device_id), token, EVERYTHING))
    if since.live > window.upto:
        return [], since
    if room_id is not None:
        _reader(ctx, to, room_id).check_access()
    rooms = members.rooms(ctx.db, to.user_id) if room_id is None else [room_id]
    rooms = [one for one in rooms if ctx.db.watch.last(("room", one)) > since.live]
    chunk, end = _timelines(window, to, since, rooms, limit, own=room_id is None)
    window.upto = end.live
    others = _own_items(window, room_id)
    if room_id is None:
        others += [*_of_rooms(window, rooms), *await _presence_in_sight(window, rooms)]
    elif _is_open(window, room_id):
        others += [*_of_rooms(window, rooms), *_presence_in(window, room_id)]
    return [*chunk, *map(orjson.dumps, others)], end


# --- events of rooms -----------------------------------------------------------------------------------------------


def _timelines(
    window: Window, to: Recipient, since: Cut, rooms: Iterable[RoomId], limit: int, *, own: bool
) -> tuple[list[bytes], Cut]:
    """Return the oldest events after a cut. With `own` those are among them by which the user was invited, left or was removed."""
    upto = cuts.at_count(window.upto)
    merged: dict[str, tuple[tuple[int, int], Reader, ClientEvent]] = {}
    gone = _gone(window) if own else []
    for room_id in [*rooms, *gone]:
        reader = _reader(window.ctx, to, room_id)
        page = reader.page(since, min(upto, reader.newest()), limit, _ALL, backwards=False)
        shown = page.events if room_id not in gone else [*page.events, *_own_membership(window, room_id)]
        for event in shown:
            position = event.place(window.db).position
            if position is not None and since < position.order():
                merged[event.event_id] = (position.order(), reader, event)
        if page.more:
            upto = min(upto, page.end)
    within = [one for one in merged.values() if one[0] <= upto]
    oldest = heapq.nsmallest(limit, within, key=lambda one: one[0])
    if len(oldest) < len(within):
        upto = Cut(*oldest[-1][0])
    return [reader.render(event) for _, reader, event in oldest], upto


def _gone(window: Window) -> list[RoomId]:
    """Return the rooms of which the user became something else than a member, but for invites that are not to be shown."""
    moved = {change.room_id for change in members.changes(window.db, window.user_id, window.since, window.upto)}
    return [
        room_id
        for room_id in moved
        if _is_told(window, members.membership(window.db, room_id, window.user_id), room_id)
    ]


def _is_told(window: Window, membership: str | None, room_id: RoomId) -> bool:
    if membership == "invite":
        return invites.is_shown(window.db, room_id, window.user_id, window.ignored)
    return membership != "join"


def _own_membership(window: Window, room_id: RoomId) -> list[ClientEvent]:
    event_id = state.current_id(window.db, room_id, "m.room.member", window.user_id)
    event = None if event_id is None else client_events.get(window.db, event_id)
    return [] if event is None else [event]


# --- what has no place in a timeline -------------------------------------------------------------------------------


def _of_rooms(window: Window, rooms: Iterable[RoomId]) -> list[Json]:
    return [
        old_forms.in_room(event, room_id)
        for room_id in rooms
        for stream in (typing, receipts)
        for event in stream.changes(window, room_id)
    ]


def _own_items(window: Window, room_id: RoomId | None) -> list[Json]:
    return [
        event
        for room, contents in account_data.changes(window).items()
        if room_id is None or room == room_id
        for event in old_forms.items(contents, room)
    ]


def _is_open(window: Window, room_id: RoomId) -> bool:
    """Tell whether the user may see what goes on in a room now; who was in it sees its past only."""
    return members.is_joined(window.db, room_id, window.user_id) or visibility.is_world_readable(window.db, room_id)


async def _presence_in_sight(window: Window, rooms: Iterable[RoomId]) -> list[Json]:
    came = (await sight.changes(window.db, window.user_id, window.since, window.upto, rooms)).came
    return [old_forms.presence(event["sender"], event["content"]) for event in presence.changes(window, came)]


def _presence_in(window: Window, room_id: RoomId) -> list[Json]:
    changed = window.ctx.presence.changes(window.since, window.upto)
    return [
        old_forms.presence(user_id, content)
        for user_id, content in changed.items()
        if members.is_joined(window.db, room_id, user_id)
    ]
