"""Full-text search over the messages, names and topics in the rooms that a user is or was in.

An event is found if it holds all words of the search term. Encrypted rooms have no words here.

Source: client-server API, "Server Side Search".
"""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from conduit.database.layouts import PduId
from conduit.protocol.errors import BadJson, InvalidParam, MissingParam
from conduit.protocol.filters import RoomEventFilter, parse_room_event_filter
from conduit.protocol.ids import RoomId, UserId
from conduit.service.browse import history
from conduit.service.context import Context
from conduit.service.rooms import client_events, members, search_index, state, timeline
from conduit.service.rooms.client_events import ClientEvent, Recipient
from conduit.service.rooms.reading import Page, Reader, filtered_state

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100
MAX_CONTEXT: Final = 50
MAX_TERM: Final = 500
"""Characters: each word is looked for in each room, and then in each event that holds the rarest of them."""
MAX_CANDIDATES: Final = 20_000
"""How many matches one search looks at: what lies beyond is not ranked and not counted."""
STEP: Final = 100

_KEYS: Final = {"content.body": "m.room.message", "content.name": "m.room.name", "content.topic": "m.room.topic"}
_GROUPS: Final = ("room_id", "sender")
_BATCH = re.compile(r"r([0-9]{1,9})(?:_(room_id|sender)_(.{1,400}))?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How much of what stands around a result is wanted."""

    before: int
    after: int
    profiles: bool


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search, parsed."""

    term: str
    types: frozenset[str]
    wanted: RoomEventFilter
    by_rank: bool
    around: Surroundings | None
    include_state: bool
    group_by: tuple[str, ...]
    limit: int


class Batch(NamedTuple):
    """Where a page of results starts, and in which group, if in one."""

    offset: int = 0
    key: str = ""
    value: str = ""

    def token(self) -> str:
        """Return the text that stands for this page."""
        return f"r{self.offset}" + (f"_{self.key}_{self.value}" if self.key else "")


class Hit(NamedTuple):
    """A result before it is rendered."""

    rank: float
    reader: Reader
    event: ClientEvent


def parse_batch(token: str | None) -> Batch:
    """Return the page that a `next_batch` token means, or raise `InvalidParam`."""
    if token is None:
        return Batch()
    match = _BATCH.fullmatch(token)
    if match is None:
        raise InvalidParam("Unknown pagination token")
    return Batch(int(match[1]), match[2] or "", match[3] or "")


def parse(body: Mapping[str, Any]) -> Criteria | None:
    """Return the search for events in a request, `None` if there is none. Raises `BadJson`, `MissingParam` or `InvalidParam`."""
    categories = body.get("search_categories")
    if categories is None:
        raise MissingParam("Missing required field 'search_categories'")
    if not isinstance(categories, dict):
        raise BadJson("'search_categories' must be an object")
    criteria = categories.get("room_events")
    if criteria is None:
        return None
    if not isinstance(criteria, dict):
        raise BadJson("'room_events' must be an object")
    term = criteria.get("search_term")
    if term is None:
        raise MissingParam("Missing required field 'search_term'")
    order = criteria.get("order_by", "rank")
    if not isinstance(term, str) or order not in ("rank", "recent"):
        raise BadJson("'search_term' must be a string and 'order_by' be 'rank' or 'recent'")
    if len(term) > MAX_TERM:
        raise InvalidParam(f"'search_term' may have at most {MAX_TERM} characters")
    wanted = parse_room_event_filter(criteria.get("filter"))
    return Criteria(
        term=term,
        types=_types(criteria.get("keys")),
        wanted=wanted,
        by_rank=order == "rank",
        around=_surroundings(criteria.get("event_context")),
        include_state=_flag(criteria, "include_state"),
        group_by=_group_by(criteria.get("groupings")),
        limit=min(DEFAULT_LIMIT if wanted.limit is None else max(wanted.limit, 1), MAX_LIMIT),
    )


def _types(keys: object) -> frozenset[str]:
    if keys is None:
        return frozenset(_KEYS.values())
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in _KEYS for key in keys):
        raise BadJson(f"'keys' may hold {', '.join(_KEYS)}")
    return frozenset(_KEYS[key] for key in keys)


def _surroundings(value: object) -> Surroundings | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadJson("'event_context' must be an object")
    limits = [value.get(name, 5) for name in ("before_limit", "after_limit")]
    if not all(isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0 for limit in limits):
        raise BadJson("The limits of 'event_context' must be non-negative integers")
    return Surroundings(min(limits[0], MAX_CONTEXT), min(limits[1], MAX_CONTEXT), _flag(value, "include_profile"))


def _group_by(groupings: object) -> tuple[str, ...]:
    if groupings is None:
        return ()
    listed = groupings.get("group_by", []) if isinstance(groupings, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) and one.get("key") in _GROUPS for one in listed):
        raise BadJson("'group_by' must be an array of objects with a 'key' of 'room_id' or 'sender'")
    return tuple(dict.fromkeys(one["key"] for one in listed))


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadJson(f"'{name}' must be a boolean")
    return value


# --- searching -----------------------------------------------------------------------------------------------------


async def search(ctx: Context, to: Recipient, criteria: Criteria, batch: Batch) -> Json:
    """Return the `room_events` part of the answer."""
    words = search_index.words(criteria.term)
    hits = await _hits(ctx, to, criteria, words)
    if batch.key:
        hits = [hit for hit in hits if _group(hit, batch.key) == batch.value]
    shown = hits[batch.offset : batch.offset + criteria.limit]
    results = [await _result(hit, criteria) for hit in shown]
    answer: Json = {"count": len(hits), "highlights": sorted(words), "results": results}
    if len(hits) > batch.offset + criteria.limit:
        answer["next_batch"] = batch._replace(offset=batch.offset + criteria.limit).token()
    if criteria.group_by:
        answer["groups"] = {key: _groups(hits, shown, key) for key in criteria.group_by}
    if criteria.include_state:
        readers = {hit.reader.room_id: hit.reader for hit in shown}
        answer["state"] = {room_id: await _state(reader) for room_id, reader in readers.items()}
    return answer


async def _hits(ctx: Context, to: Recipient, criteria: Criteria, words: set[str]) -> list[Hit]:
    """Return every match that the user gets, best first."""
    readers = {
        room_id: history.view_room(ctx, to, room_id)
        for room_id in _rooms(ctx, to.user_id)
        if criteria.wanted.passes_room(room_id)
    }
    hits: list[Hit] = []
    places = await _places(ctx, list(readers), criteria.term)
    for looked_at, (room_id, place) in enumerate(places):
        if looked_at == MAX_CANDIDATES:
            break
        reader = readers[room_id]
        event = client_events.at(ctx.db, place)
        if event is not None and event.type in criteria.types and _gets(reader, event, criteria):
            hits.append(Hit(_rank(ctx, event, words), reader, event))
        if looked_at % STEP == STEP - 1:
            await asyncio.sleep(0)
    if criteria.by_rank:
        hits.sort(key=lambda hit: hit.rank, reverse=True)  # stable: among equals the newest stays first
    return hits


def _gets(reader: Reader, event: ClientEvent, criteria: Criteria) -> bool:
    return reader.passes(event, criteria.wanted) and reader.shows(event) and not reader.is_withheld(event)


def _rooms(ctx: Context, user_id: UserId) -> Iterator[RoomId]:
    yield from members.rooms(ctx.db, user_id)
    for membership in ("leave", "ban"):
        for room_id in members.rooms(ctx.db, user_id, membership):
            if members.was_ever_joined(ctx.db, room_id, user_id):
                yield room_id


async def _places(ctx: Context, rooms: list[RoomId], term: str) -> Iterator[tuple[RoomId, PduId]]:
    """Return the matches of all rooms, newest first."""
    found = []
    for number, room_id in enumerate(rooms, 1):
        places: list[tuple[tuple[int, int], RoomId, PduId]] = []
        async with aclosing(search_index.find(ctx.db, room_id, term)) as steps:
            async for step in steps:
                places += [(place.order(), room_id, place) for place in step]
                if len(places) >= MAX_CANDIDATES:
                    break
        places.sort(reverse=True)  # in order already, but for those that Conduit has indexed
        found.append(places)
        if number % STEP == 0:
            await asyncio.sleep(0)
    return ((room_id, place) for _, room_id, place in heapq.merge(*found, reverse=True))


def _rank(ctx: Context, event: ClientEvent, words: set[str]) -> float:
    """Return how much of an event's text is what was searched for, between 0 and 1."""
    known = timeline.event(ctx.db, event.event_id)
    text = None if known is None else search_index.text_of(known)
    held = search_index.words(text) if text else set()
    return round(len(words & held) / len(held), 6) if held else 0.0


# --- the answer ----------------------------------------------------------------------------------------------------


async def _result(hit: Hit, criteria: Criteria) -> Json:
    result: Json = {"rank": hit.rank, "result": hit.reader.render_one(hit.event)}
    around = criteria.around
    if around is not None:
        before, after = await history.surroundings(
            hit.reader, hit.event, around.before, around.after, history.EVERYTHING
        )
        result["context"] = _context(hit, before, after, around)
    return result


def _context(hit: Hit, before: Page, after: Page, around: Surroundings) -> Json:
    context: Json = {
        "start": before.end.token(),
        "end": after.end.token(),
        "events_before": hit.reader.render_all(before.events),
        "events_after": hit.reader.render_all(after.events),
    }
    if around.profiles:
        senders = {event.sender for event in (hit.event, *before.events, *after.events)}
        context["profile_info"] = {sender: _profile(hit, sender) for sender in sorted(senders)}
    return context


def _profile(hit: Hit, sender: UserId) -> Json:
    number = hit.event.place(hit.reader.source).after
    event = state.get(hit.reader.source, number, "m.room.member", sender) if number else None
    content = {} if event is None else event.content
    profile = {name: content.get(name) for name in ("displayname", "avatar_url")}
    return {name: value for name, value in profile.items() if isinstance(value, str)}


def _group(hit: Hit, key: str) -> str:
    return hit.event.room_id if key == "room_id" else hit.event.sender


def _groups(hits: list[Hit], shown: list[Hit], key: str) -> Json:
    """Return the groups of the results shown; a group with more results than are shown has a token for them."""
    total: dict[str, int] = {}
    for hit in hits:
        total[_group(hit, key)] = total.get(_group(hit, key), 0) + 1
    groups: Json = {}
    for hit in shown:
        value = _group(hit, key)
        group = groups.setdefault(value, {"order": len(groups) + 1, "results": []})
        group["results"].append(hit.event.event_id)
    for value, group in groups.items():
        if total[value] > len(group["results"]):
            group["next_batch"] = Batch(len(group["results"]), key, value).token()
    return groups


async def _state(reader: Reader) -> Any:
    """Return the state of the room as the user may know it: now, or as it was when the user left."""
    head = state.head(reader.source, reader.room_id)
    number = 0 if head is None else head.state
    if reader.viewer.membership != "join":
        number = state.at_count(reader.source, reader.room_id, reader.newest().live) or 0
    return await filtered_state(reader, number, history.EVERYTHING, ())
