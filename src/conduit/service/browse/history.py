"""A room's history for a user: pages of it, the surroundings of one event, one event.

Source: client-server API, "Getting events for a room", "Event Context".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import orjson

from conduit.protocol.errors import BadJson, NotFound, NotJson
from conduit.protocol.filters import RoomEventFilter, parse_room_event_filter
from conduit.protocol.ids import EventId, RoomId
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.events import backfill
from conduit.service.rooms import client_events, cuts, state
from conduit.service.rooms.client_events import ClientEvent, Recipient
from conduit.service.rooms.cuts import Cut
from conduit.service.rooms.reading import STEP, Page, Reader, filtered_state, members_for
from conduit.service.users import accounts

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 1000
MAX_CONTEXT: Final = 200
MAX_LOOKED_AT: Final = 5000
"""How many events one request looks at, however few of them pass; then the page ends early, with a token to go on from."""

MAX_FETCHES: Final = 3
"""How often other servers are asked for what is missing in one page."""

EVERYTHING: Final = RoomEventFilter()


def open_room(ctx: Context, to: Recipient, room_id: RoomId) -> Reader:
    """Return the user's view of a room. Raises `Forbidden` unless the user is or was in it, or anybody may read it."""
    reader = view_room(ctx, to, room_id)
    reader.check_access()
    return reader


def view_room(ctx: Context, to: Recipient, room_id: RoomId) -> Reader:
    """Return the user's view of a room, in which there may be nothing to see."""
    ignored = account_data.ignored_users(ctx.db, to.user_id)
    return Reader(ctx.db, room_id, to, ignored=ignored, erased=accounts.erased(ctx.db))


def parse_filter(text: str | None) -> RoomEventFilter:
    """Return the filter that the query parameter of a page holds as JSON; raises `NotJson` or `BadJson`."""
    if not text:
        return EVERYTHING
    try:
        value = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise NotJson("'filter' is not valid JSON") from error
    if not isinstance(value, dict):
        raise BadJson("'filter' must be a JSON object")
    return parse_room_event_filter(value)


async def messages(
    ctx: Context,
    reader: Reader,
    start: str | None,
    stop: str | None,
    wanted: RoomEventFilter,
    *,
    limit: int,
    backwards: bool,
) -> Json:
    """Return a page of history. A page that holds only what the user may not see is empty, and goes on all the same."""
    newest = reader.newest()
    first = _first_cut(ctx, newest, start, backwards=backwards)
    last = (cuts.START if backwards else newest) if stop is None else cuts.parse(stop)
    answer: Json = {"start": start if start is not None else first.token(), "chunk": []}
    if not wanted.passes_room(reader.room_id) or wanted.passes_nothing:
        return answer
    page = await _read(reader, min(first, newest), last, limit, wanted, backwards=backwards)
    if backwards:
        page = await _with_fetched(ctx, reader, page, min(first, newest), last, limit, wanted)
    answer["chunk"] = reader.render_all(page.events)
    # Forwards there may always be more to come, so whoever has got something gets a place to go on from.
    if page.more or (page.events and not backwards):
        answer["end"] = page.end.token()
    if wanted.lazy_load_members:
        answer["state"] = reader.render_state(members_for(reader, page.events))
    return answer


def _first_cut(ctx: Context, newest: Cut, start: str | None, *, backwards: bool) -> Cut:
    if start is not None:
        return cuts.parse(start)
    if not backwards:
        return cuts.START
    return min(newest, cuts.at_count(ctx.db.current_count()))


async def _read(reader: Reader, start: Cut, stop: Cut, limit: int, wanted: RoomEventFilter, *, backwards: bool) -> Page:
    """Return one page made of several short looks, with pauses between them."""
    found: list[ClientEvent] = []
    looked_at = 0
    while True:
        page = reader.page(start, stop, limit - len(found), wanted, backwards=backwards)
        found += page.events
        looked_at += STEP
        if not page.more or len(found) >= limit or looked_at >= MAX_LOOKED_AT:
            return Page(found, page.end, page.more)
        start = page.end
        await asyncio.sleep(0)


async def _with_fetched(
    ctx: Context, reader: Reader, page: Page, start: Cut, stop: Cut, limit: int, wanted: RoomEventFilter
) -> Page:
    """Return a page that goes backwards as it is once what is missing in its reach has been fetched from other servers."""
    for _ in range(MAX_FETCHES):
        end = page.end if page.more or len(page.events) >= limit else stop
        hole = backfill.hole_before(ctx.db, reader.room_id, start, end)
        if hole is None or not await backfill.backfill(ctx, reader.room_id, hole):
            break
        page = await _read(reader, start, stop, limit, wanted, backwards=True)
    return page


def find(reader: Reader, event_id: EventId) -> ClientEvent:
    """Return an event of the room that the user gets; raises `NotFound` for any other."""
    event = client_events.get(reader.source, event_id)
    if event is None or event.room_id != reader.room_id or not reader.shows(event) or _is_hidden(reader, event):
        raise NotFound("There is no such event, or you may not see it")
    return event


def _is_hidden(reader: Reader, event: ClientEvent) -> bool:
    """Tell whether an event has come from elsewhere and was not wanted: it is in no timeline, and not in the present state either."""
    if event.place(reader.source).position is not None or event.sender == reader.user_id:
        return False
    return (
        event.state_key is None
        or state.current_id(reader.source, reader.room_id, event.type, event.state_key) != event.event_id
    )


async def context(reader: Reader, event_id: EventId, wanted: RoomEventFilter, limit: int) -> Json:
    """Return an event with what came right before and after it, and the room's state at the last of these."""
    event = find(reader, event_id)
    before, after = await surroundings(reader, event, limit // 2, limit - limit // 2, wanted)
    shown = [event, *before.events, *after.events]
    newest = after.events[-1] if after.events else event
    return {
        "start": before.end.token(),
        "end": after.end.token(),
        "event": reader.render_one(event),
        "events_before": reader.render_all(before.events),
        "events_after": reader.render_all(after.events),
        "state": await _state_at(reader, newest, wanted, shown),
    }


async def surroundings(
    reader: Reader, event: ClientEvent, before: int, after: int, wanted: RoomEventFilter
) -> tuple[Page, Page]:
    """Return the pages right before (backwards) and right after an event; raises `NotFound` for one outside of the timeline."""
    position = event.place(reader.source).position
    if position is None:
        raise NotFound("The event is not in the room's timeline")
    begin, end = cuts.before(position), cuts.after(position)
    if not wanted.passes_room(reader.room_id) or wanted.passes_nothing:
        return Page([], begin, False), Page([], end, False)
    earlier = (
        await _read(reader, begin, cuts.START, before, wanted, backwards=True) if before else Page([], begin, True)
    )
    later = await _read(reader, end, reader.newest(), after, wanted, backwards=False) if after else Page([], end, True)
    return earlier, later


async def _state_at(
    reader: Reader, event: ClientEvent, wanted: RoomEventFilter, shown: Iterable[ClientEvent]
) -> orjson.Fragment:
    number = event.place(reader.source).after or 0
    return await filtered_state(reader, number, wanted, [event.sender for event in shown])
