"""What other servers tell of rooms: their directories, and summaries of rooms and of what is below a space.

Whatever they say is reduced to the keys that the specification knows, of the types that it says.

Source: server-server API, "Published Room Directory", "Spaces".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.ids import RoomId, ServerName, is_room_alias, is_room_id, is_server_name, is_user_id
from conduit.service.browse.public_rooms import Query
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error

Json = dict[str, Any]

SECONDS: Final = 15.0
MAX_ANSWER: Final = 4 << 20
KEPT_MS: Final = 5 * 60_000
"""How long what was said of a room is good for."""
NOTHING_MS: Final = 60_000
"""How long it is remembered that nobody could say anything."""
MAX_SERVERS: Final = 4
"""How many servers are asked, one after another, for the same room."""
MAX_TEXT: Final = 10_000
MAX_CHILDREN: Final = 1000

_TEXTS: Final = ("name", "topic", "join_rule", "room_type", "room_version")
_MEGOLM: Final = "m.megolm.v1.aes-sha2"


def summary(value: Any, *, more: bool = True) -> Json | None:
    """Return what is said of a room, `None` if it is of no use. Without `more` only what a directory says."""
    if not isinstance(value, dict) or not is_room_id(value.get("room_id")):
        return None
    count = value.get("num_joined_members")
    found: Json = {
        "room_id": value["room_id"],
        "num_joined_members": count if type(count) is int and 0 <= count <= MAX_INTEGER else 0,
        "world_readable": value.get("world_readable") is True,
        "guest_can_join": value.get("guest_can_join") is True,
    }
    for name in _TEXTS if more else _TEXTS[:-1]:
        text = value.get(name)
        if isinstance(text, str) and text:
            found[name] = text[:MAX_TEXT]
    if is_room_alias(value.get("canonical_alias")):
        found["canonical_alias"] = value["canonical_alias"]
    avatar = value.get("avatar_url")
    if isinstance(avatar, str) and avatar.startswith("mxc://") and len(avatar) <= MAX_TEXT:
        found["avatar_url"] = avatar
    if more:
        allowed = value.get("allowed_room_ids")
        rooms = [room for room in allowed if is_room_id(room)] if isinstance(allowed, list) else []
        if rooms:
            found["allowed_room_ids"] = rooms[:MAX_CHILDREN]
        if value.get("encryption") == _MEGOLM:
            found["encryption"] = _MEGOLM
    return found


# --- directories ---------------------------------------------------------------------------------------------------


async def search(ctx: Context, server: ServerName, query: Query) -> Json:
    """Return a page of another server's directory. Raises what that server answers, or `ConnectionFailed`."""
    federation, path = ctx.outbound.federation, "/_matrix/federation/v1/publicRooms"
    asked: Json = {"limit": query.limit}
    if query.since is not None:
        asked["since"] = query.since
    if query.network is not None:
        asked["third_party_instance_id"] = query.network
    try:
        if query.term or query.room_types is not None:
            wanted: Json = {"generic_search_term": query.term} if query.term else {}
            if query.room_types is not None:
                wanted["room_types"] = sorted(query.room_types, key=str)
            body = {**asked, "filter": wanted, "include_all_networks": query.all_networks}
            answer = await federation.post(server, path, body, seconds=SECONDS, max_bytes=MAX_ANSWER)
        else:
            url = {name: str(value) for name, value in asked.items()}
            url["include_all_networks"] = "true" if query.all_networks else "false"
            answer = await federation.get(server, path, url, seconds=SECONDS, max_bytes=MAX_ANSWER)
    except RemoteError as error:
        raise as_client_error(error) from error
    rooms = answer.get("chunk")
    chunk = [summary(room, more=False) for room in rooms[: query.limit]] if isinstance(rooms, list) else []
    found: Json = {"chunk": [room for room in chunk if room is not None]}
    for name in ("next_batch", "prev_batch"):
        if isinstance(answer.get(name), str):
            found[name] = answer[name]
    estimate = answer.get("total_room_count_estimate")
    if type(estimate) is int and 0 <= estimate <= MAX_INTEGER:
        found["total_room_count_estimate"] = estimate
    return found


# --- spaces --------------------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """What another server tells of a room and, if it is a space, of the rooms in it."""

    room: Json
    """Its summary."""
    children_state: list[Json]
    """The events by which it names its rooms, stripped."""
    children: dict[RoomId, Json]
    """Summaries of some of these rooms."""
    closed: frozenset[str]
    """Those of these rooms that this server cannot enter."""


def held(ctx: Context, room_id: RoomId) -> Told | bool | None:
    """Return what is remembered of the room: `None` if nothing is, `False` if nobody could say anything."""
    found: Told | bool | None = ctx.outbound.recent.get(("room", room_id), ctx.clock.now_ms())
    return found


async def tell(ctx: Context, room_id: RoomId, servers: Iterable[str]) -> Told | None:
    """Return what the first of `servers` that knows the room tells of it; `None` if none of them does. Answers are good for a while."""
    before = held(ctx, room_id)
    if before is not None:
        return before if isinstance(before, Told) else None
    key = ("room", room_id)
    names = list(dict.fromkeys(name for name in servers if is_server_name(name) and name != ctx.server_name))
    found = await ctx.outbound.flights.join(ctx.tasks, key, lambda: _ask(ctx, room_id, names[:MAX_SERVERS]))
    now_ms = ctx.clock.now_ms()
    if found is None:
        ctx.outbound.recent.put(key, False, until_ms=now_ms + NOTHING_MS)
    else:
        weight = 1000 + len(orjson.dumps([found.room, found.children_state, list(found.children.values())]))
        ctx.outbound.recent.put(key, found, until_ms=now_ms + KEPT_MS, weight=weight)
    return found


async def _ask(ctx: Context, room_id: RoomId, servers: list[str]) -> Told | None:
    path = ctx.outbound.federation.path("/_matrix/federation/v1/hierarchy", room_id)
    for server in servers:
        try:
            answer = await ctx.outbound.federation.get(
                server, path, {"suggested_only": "false"}, seconds=SECONDS, max_bytes=MAX_ANSWER
            )
        except RemoteError:
            continue
        found = read(answer, room_id)
        if found is not None:
            return found
    return None


def read(answer: Json, room_id: RoomId) -> Told | None:
    """Return what GET /hierarchy has answered, `None` if it does not speak of the room."""
    told = answer.get("room")
    room = summary(told)
    if room is None or room["room_id"] != room_id:
        return None
    assert isinstance(told, dict)
    events = told.get("children_state")
    children = answer.get("children")
    summaries = [summary(child) for child in children[:MAX_CHILDREN]] if isinstance(children, list) else []
    closed = answer.get("inaccessible_children")
    return Told(
        room,
        [event for event in map(_child_event, events[:MAX_CHILDREN]) if event] if isinstance(events, list) else [],
        {RoomId(child["room_id"]): child for child in summaries if child is not None},
        frozenset(room for room in closed if isinstance(room, str)) if isinstance(closed, list) else frozenset(),
    )


def _child_event(event: Any) -> Json | None:
    """Return an `m.space.child` with the five keys that it has in these answers, or `None` if it names no room."""
    if not isinstance(event, dict):
        return None
    time = event.get("origin_server_ts")
    if (
        event.get("type") != "m.space.child"
        or not is_room_id(event.get("state_key"))
        or not is_user_id(event.get("sender"))
        or not isinstance(event.get("content"), dict)
        or type(time) is not int
        or not 0 <= time <= MAX_INTEGER
    ):
        return None
    return {name: event[name] for name in ("type", "state_key", "content", "sender", "origin_server_ts")}
