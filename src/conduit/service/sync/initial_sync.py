"""The older way of learning what there is: `/initialSync` for all rooms or one, and `/events` to go on from there.

Deprecated by the specification, kept for previews of rooms and for old clients; built from the same parts as /sync.

Source: client-server API, GET /initialSync, GET /rooms/{roomId}/initialSync, GET /events.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Any, Final

import orjson

from conduit.protocol.filters import RoomEventFilter
from conduit.protocol.ids import RoomId
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.rooms import client_events, cuts, directory, members, state
from conduit.service.rooms.client_events import ClientEvent, Recipient
from conduit.service.rooms.cuts import Cut, SyncToken
from conduit.service.rooms.reading import Reader, filtered_state
from conduit.service.sync.long_poll import MAX_TIMEOUT_MS
from conduit.service.users import accounts

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100
MAX_EVENTS: Final = 100

_EVERYTHING: Final = RoomEventFilter()


def _reader(ctx: Context, to: Recipient, room_id: RoomId) -> Reader:
    ignored = account_data.ignored_users(ctx.db, to.user_id)
    return Reader(ctx.db, room_id, to, ignored=ignored, erased=accounts.erased(ctx.db))


def _events(items: dict[str, Any]) -> list[Json]:
    return [{"type": event_type, "content": content} for event_type, content in items.items()]


def room_initial_sync(ctx: Context, to: Recipient, room_id: RoomId, limit: int) -> Json:
    """Return one room as the user may see it: its state, the newest events. Raises `Forbidden` for who may not look at it."""
    reader = _reader(ctx, to, room_id)
    reader.check_access()
    return _room(ctx, reader, limit)


def _room(ctx: Context, reader: Reader, limit: int) -> Json:
    newest = min(reader.newest(), cuts.at_count(ctx.db.current_count()))
    page = reader.page(newest, cuts.START, limit, _EVERYTHING, backwards=True)
    number = state.at_count(ctx.db, reader.room_id, newest.live) or 0
    room: Json = {
        "room_id": reader.room_id,
        "messages": {
            "start": page.end.token(),
            "end": newest.token(),
            "chunk": reader.render_all(reversed(page.events), bundled=False),
        },
        "state": reader.render_state(filtered_state(reader, number, _EVERYTHING, ())),
        "visibility": "public" if directory.is_public(ctx.db, reader.room_id) else "private",
        "account_data": _events(account_data.all_of(ctx.db, reader.user_id, reader.room_id)),
    }
    if reader.viewer.membership in ("invite", "join", "leave", "ban"):
        room["membership"] = reader.viewer.membership
    return room


async def initial_sync(ctx: Context, to: Recipient, limit: int, *, archived: bool) -> Json:
    """Return all rooms of the user, invites among them, with presence and account data."""
    token = SyncToken(ctx.db.current_count(), ctx.db.start_count, ctx.db.current_count()).token()
    rooms: list[Json] = []
    wanted = ("join", "leave", "ban") if archived else ("join",)
    for membership in wanted:
        for room_id in list(members.rooms(ctx.db, to.user_id, membership)):
            reader = _reader(ctx, to, room_id)
            if membership == "join" or reader.viewer.was_joined():
                rooms.append(_room(ctx, reader, limit))
            await asyncio.sleep(0)
    rooms += [_invite(ctx, to, room_id) for room_id in members.rooms(ctx.db, to.user_id, "invite")]
    seen = ctx.presence.changes(0, ctx.db.current_count())
    presence = [
        {"type": "m.presence", "sender": user_id, "content": content}
        for user_id, content in seen.items()
        if user_id == to.user_id or members.share_room(ctx.db, to.user_id, user_id)
    ]
    own = _events(account_data.all_of(ctx.db, to.user_id, ""))
    return {"end": token, "rooms": rooms, "presence": presence, "account_data": own}


def _invite(ctx: Context, to: Recipient, room_id: RoomId) -> Json:
    room: Json = {"room_id": room_id, "membership": "invite"}
    event_id = state.current_id(ctx.db, room_id, "m.room.member", to.user_id)
    event = None if event_id is None else client_events.get(ctx.db, event_id)
    if event is not None:
        room["invite"] = orjson.Fragment(client_events.with_room(event))
    return room


async def events(ctx: Context, to: Recipient, start: str | None, timeout_ms: int, room_id: RoomId | None) -> Json:
    """Return the events that came after a token, waiting for one if there is none: of the user's rooms, or of one room that may be a stranger's.

    Raises `InvalidParam` for a bad token, `Forbidden` for a room that the user may not look at.
    """
    now = ctx.db.current_count()
    since = cuts.at_count(now) if start is None else cuts.parse(start)
    deadline = ctx.clock.monotonic() + min(timeout_ms, MAX_TIMEOUT_MS) / 1000
    keys = [("user", to.user_id), *([("room", room_id)] if room_id is not None else [])]
    with ctx.db.watch.register(keys) as waiter:
        while True:
            upto = cuts.at_count(ctx.db.current_count())
            found, end = _between(ctx, to, since, upto, room_id)
            left = deadline - ctx.clock.monotonic()
            if found or timeout_ms <= 0 or left <= 0 or not await waiter.wait(left):
                chunk = orjson.Fragment(b"[" + b",".join(found) + b"]")
                return {"start": start if start is not None else since.token(), "end": end.token(), "chunk": chunk}


def _between(ctx: Context, to: Recipient, since: Cut, upto: Cut, room_id: RoomId | None) -> tuple[list[bytes], Cut]:
    """Return the oldest events between two cuts, rendered, and the cut up to which that is all of them."""
    rooms = members.rooms(ctx.db, to.user_id) if room_id is None else [room_id]
    merged: list[tuple[tuple[int, int], Reader, ClientEvent]] = []
    for one in rooms:
        if ctx.db.watch.last(("room", one)) <= since.live:
            continue
        reader = _reader(ctx, to, one)
        if room_id is not None:
            reader.check_access()
        page = reader.page(since, min(upto, reader.newest()), MAX_EVENTS, _EVERYTHING, backwards=False)
        for event in page.events:
            position = event.place(ctx.db).position
            merged.append(((0, 0) if position is None else position.order(), reader, event))
        if page.more:
            upto = min(upto, page.end)
    oldest = heapq.nsmallest(MAX_EVENTS, (one for one in merged if one[0] <= upto), key=lambda one: one[0])
    if len(oldest) == MAX_EVENTS:
        upto = min(upto, Cut(*oldest[-1][0]))
    return [reader.render(event) for _, reader, event in oldest], upto
