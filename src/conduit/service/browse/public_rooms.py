"""The published room directory as it is listed and searched.

Rooms come with the most members first, and by id where these are equal. A token holds the place of the room beside which the page begins, so
that a page stays right when rooms come, go or change their size in between: no room in the same place is shown twice.

Source: client-server API, "Published room directory".
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Database
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId, is_room_alias, is_room_id
from conduit.service.rooms import directory, members, state, state_bodies

MAX_LIMIT = 500
"""The most rooms on a page, also where no limit is asked for."""

MAX_TERM = 500
"""Characters of a search term that count."""

_STEP = 50
"""After how many rooms others get their turn: one that is read from the disk takes 150 µs."""


class Query(NamedTuple):
    """What is asked of the directory."""

    limit: int = MAX_LIMIT
    since: str | None = None
    term: str = ""
    room_types: frozenset[str | None] | None = None
    """Wanted types of rooms, `None` standing for rooms without one; without a set, all."""
    network: str | None = None
    """Only rooms of this application service network (`service|network`)."""
    all_networks: bool = False
    for_servers: bool = False
    """Whether another server asks: rooms that are closed to others are of no use to it."""


class _Place(NamedTuple):
    """Where a room stands: rooms are listed in the order of these."""

    fewer: int
    """The number of members, negative."""
    room_id: str


class _Entry(NamedTuple):
    place: _Place
    chunk: dict[str, Any]


async def search(db: Database, query: Query) -> dict[str, Any]:
    """Return a page of the directory: `chunk`, `total_room_count_estimate`, and tokens to go on and back. Raises `InvalidParam` for a bad token."""
    backwards, bound = _parse(query.since)
    found = await _matching(db, query)
    # Of thousands of rooms a page shows few: those are picked out, and the rest is not put in order.
    if backwards:
        rest = [entry for entry in found if bound is None or entry.place < bound]
        page = heapq.nlargest(query.limit, rest, key=_place)[::-1]
    else:
        rest = [entry for entry in found if bound is None or entry.place > bound]
        page = heapq.nsmallest(query.limit, rest, key=_place)
    ahead, behind = len(rest) > len(page), len(found) > len(rest)
    if backwards:
        ahead, behind = behind, ahead
    chunk = [{**entry.chunk, "num_joined_members": -entry.place.fewer} for entry in page]
    answer: dict[str, Any] = {"chunk": chunk, "total_room_count_estimate": len(found)}
    if page and ahead:
        answer["next_batch"] = _token("n", page[-1].place)
    if page and behind:
        answer["prev_batch"] = _token("p", page[0].place)
    return answer


def _place(entry: _Entry) -> _Place:
    return entry.place


async def _matching(db: Database, query: Query) -> list[_Entry]:
    term = query.term[:MAX_TERM].casefold().strip()
    found = []
    for seen, room_id in enumerate(_candidates(db, query)):
        if seen % _STEP == _STEP - 1:
            await asyncio.sleep(0)
        count = members.joined_count(db, room_id)
        if not count:
            continue
        summary = _summary(db, room_id)
        if summary is None or (term and term not in summary.text):
            continue
        if query.for_servers and not summary.is_federated:
            continue
        if query.room_types is not None and summary.chunk.get("room_type") not in query.room_types:
            continue
        found.append(_Entry(_Place(-count, room_id), summary.chunk))
    return found


def _candidates(source: CacheSource, query: Query) -> Sequence[RoomId]:
    if query.network is not None:
        return directory.rooms_of_network(source, query.network)
    public = directory.public_rooms(source)
    if not query.all_networks:
        return public
    return list(dict.fromkeys([*public, *directory.rooms_of_network(source, None)]))


# --- tokens --------------------------------------------------------------------------------------------------------


def _token(direction: str, place: _Place) -> str:
    return f"{direction}{-place.fewer}_{place.room_id}"


def _parse(token: str | None) -> tuple[bool, _Place | None]:
    if token is None:
        return False, None
    count, _, room_id = token[1:].partition("_")
    if (
        token[:1] not in ("n", "p")
        or not (count.isascii() and count.isdigit())
        or len(count) > 15
        or not is_room_id(room_id)
    ):
        raise InvalidParam("Unknown pagination token")
    return token[0] == "p", _Place(-int(count), room_id)


# --- what is said of a room ----------------------------------------------------------------------------------------


def chunk_of(source: CacheSource, room_id: RoomId) -> dict[str, Any] | None:
    """Return what the directory says of a room, whether it is published or not; `None` for a room that is not known here."""
    summary = _summary(source, room_id)
    if summary is None:
        return None
    return {**summary.chunk, "num_joined_members": members.joined_count(source, room_id)}


class _Summary(NamedTuple):
    chunk: dict[str, Any]
    text: str
    """What a search looks at, case-folded."""
    is_federated: bool
    """Whether users of other servers may join."""


def _summary(source: CacheSource, room_id: RoomId) -> _Summary | None:
    head = state.head(source, room_id)
    if head is None:
        return None
    held = _SUMMARIES.peek(source, room_id)
    stamp = state_bodies.stamp(source, room_id, head.state)
    if held is None or held[0] != stamp:
        held = (stamp, _summarise(source, room_id))
        _SUMMARIES.fill(source, room_id, held)
    return held[1]


_SUMMARIES: Cached[RoomId, tuple[tuple[int, int], _Summary] | None] = Cached(
    "directory_summary", load=lambda source, room_id: None, weigh=lambda held: 1500
)


def _content(source: CacheSource, room_id: RoomId, event_type: str) -> dict[str, Any]:
    event = state.current(source, room_id, event_type)
    return {} if event is None else event.content


def _summarise(source: CacheSource, room_id: RoomId) -> _Summary:
    create = _content(source, room_id, "m.room.create")
    texts = {
        "name": _content(source, room_id, "m.room.name").get("name"),
        "topic": _content(source, room_id, "m.room.topic").get("topic"),
        "canonical_alias": _content(source, room_id, "m.room.canonical_alias").get("alias"),
        "avatar_url": _content(source, room_id, "m.room.avatar").get("url"),
        "join_rule": _content(source, room_id, "m.room.join_rules").get("join_rule", "invite"),
        "room_type": create.get("type"),
    }
    chunk: dict[str, Any] = {name: value for name, value in texts.items() if isinstance(value, str) and value}
    if not is_room_alias(chunk.get("canonical_alias")):
        chunk.pop("canonical_alias", None)
    if not chunk.get("avatar_url", "").startswith("mxc://"):
        chunk.pop("avatar_url", None)
    visibility = _content(source, room_id, "m.room.history_visibility").get("history_visibility")
    guests = _content(source, room_id, "m.room.guest_access").get("guest_access")
    chunk.update(room_id=room_id, world_readable=visibility == "world_readable", guest_can_join=guests == "can_join")
    searched = (chunk.get(name, "") for name in ("name", "topic", "canonical_alias"))
    return _Summary(chunk, "\n".join(searched).casefold(), create.get("m.federate") is not False)
