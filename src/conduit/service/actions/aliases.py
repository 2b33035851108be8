"""Look up, make and remove room aliases. Source: client-server API, "Room aliases"; server-server API, GET /query/directory."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden, InvalidParam, NotFound, Unknown
from conduit.protocol.ids import (
    RoomAlias,
    RoomId,
    ServerName,
    UserId,
    is_room_id,
    is_server_name,
    server_name_of,
)
from conduit.protocol.pdu import Event
from conduit.service import events
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.rooms import aliases, members, state
from conduit.service.users import accounts

MAX_ALIASES = 1000
"""How many aliases a room may have here: anybody in it can make some."""


MAX_SERVERS: Final = 50
"""How many servers an answer names: a client needs one that works."""
SECONDS: Final = 20.0
KEPT_MS: Final = 60_000
_MAX_ANSWER: Final = 1 << 20


class Place(NamedTuple):
    """The room that an alias names, and servers that are likely to be in it."""

    room_id: RoomId
    servers: list[ServerName]


async def look_up(ctx: Context, alias: RoomAlias, *, afresh: bool = False) -> Place:
    """Return where `alias` leads; the server of another server's alias is asked. Raises `NotFound`, or `ConnectionFailed`.

    Its answer is good for a while, but not `afresh`, for who is about to enter the room: the alias may have moved on.
    """
    if aliases.is_local(alias, ctx.server_name):
        room_id = resolve(ctx, alias)
        return Place(room_id, servers_of(ctx, room_id))
    if not ctx.outbound.policy.enabled:
        raise NotFound(f"Room alias {alias} not found")
    key = ("alias", alias)
    recent, now_ms = ctx.outbound.recent, ctx.clock.now_ms()
    known: Place | None = None if afresh else recent.get(key, now_ms)
    if known is None:
        known = await ctx.outbound.flights.join(ctx.tasks, key, lambda: _ask(ctx, alias))
        recent.put(key, known, until_ms=now_ms + KEPT_MS, weight=1000)
    return known


async def _ask(ctx: Context, alias: RoomAlias) -> Place:
    server = server_name_of(alias)
    try:
        answer = await ctx.outbound.federation.get(
            server,
            "/_matrix/federation/v1/query/directory",
            {"room_alias": alias},
            seconds=SECONDS,
            max_bytes=_MAX_ANSWER,
        )
    except RemoteError as error:
        raise as_client_error(error) from error
    room_id, servers = answer.get("room_id"), answer.get("servers")
    if not is_room_id(room_id):
        raise NotFound(f"Room alias {alias} not found")
    named = servers if isinstance(servers, list) else []
    good = dict.fromkeys(name for name in named if isinstance(name, str) and is_server_name(name))
    # The server that knows the alias is likely to know the room, whether or not it says so.
    good.setdefault(server, None)
    return Place(RoomId(str(room_id)), [ServerName(name) for name in list(good)[:MAX_SERVERS]])


def servers_of(ctx: Context, room_id: RoomId) -> list[ServerName]:
    """Return servers that are in a room, this one first; not all of a large room."""
    return list(dict.fromkeys([ctx.server_name, *members.servers(ctx.db, room_id)]))[:MAX_SERVERS]


def resolve(ctx: Context, alias: RoomAlias) -> RoomId:
    """Return the room that an alias of this server names; raises `NotFound`, also for every alias of another one: see `look_up`."""
    room_id = aliases.room_of(ctx.db, alias) if aliases.is_local(alias, ctx.server_name) else None
    if room_id is None:
        raise NotFound(f"Room alias {alias} not found")
    return room_id


def make_alias(ctx: Context, user_id: UserId, alias: RoomAlias, room_id: RoomId) -> None:
    """Let `alias` name `room_id`.

    Raises `InvalidParam` for an alias of another server, `Forbidden` for who is not in the room, `Unknown` with status 409 for a taken one.
    """
    check_free(ctx, alias)
    if not members.is_joined(ctx.db, room_id, user_id) and not _is_admin_of(ctx, user_id, room_id):
        raise Forbidden("You are not in this room")
    if len(aliases.of_room(ctx.db, room_id)) >= MAX_ALIASES:
        raise Forbidden("The room has too many aliases")
    with ctx.db.batch() as batch:
        aliases.add(batch, alias, room_id, user_id, count=batch.next_count())


def check_free(ctx: Context, alias: RoomAlias) -> None:
    """Raise unless `alias` is one of this server and names no room: `InvalidParam`, or `Unknown` with status 409."""
    if not aliases.is_local(alias, ctx.server_name):
        raise InvalidParam("Aliases can only be made on their own server")
    if aliases.room_of(ctx.db, alias) is not None:
        raise Unknown(f"Room alias {alias} already exists", status=409)


def _is_admin_of(ctx: Context, user_id: UserId, room_id: RoomId) -> bool:
    return accounts.is_admin(ctx.db, user_id) and state.exists(ctx.db, room_id)


async def remove_alias(ctx: Context, user_id: UserId, alias: RoomAlias) -> None:
    """Remove an alias, and take it out of the room's `m.room.canonical_alias` if the user may change that.

    Raises `NotFound`, and `Forbidden` for who is neither its maker, nor has power over the room's aliases, nor is an administrator.
    """
    room_id = resolve(ctx, alias)
    _require_may_remove(ctx, user_id, alias, room_id)
    content = _canonical_without(ctx, room_id, alias)

    def remove(batch: Batch, event: Event) -> None:
        aliases.remove(batch, alias)

    if content is not None and members.is_joined(ctx.db, room_id, user_id):
        try:
            await events.send(ctx, room_id, user_id, "m.room.canonical_alias", content, state_key="", extra=remove)
        except Forbidden:
            pass  # the alias goes in any case
        else:
            return
    with ctx.db.batch() as batch:
        aliases.remove(batch, alias)


def _require_may_remove(ctx: Context, user_id: UserId, alias: RoomAlias, room_id: RoomId) -> None:
    if aliases.creator_of(ctx.db, alias) == user_id or accounts.is_admin(ctx.db, user_id):
        return
    if not may_change_aliases(ctx, user_id, room_id):
        raise Forbidden("You may not remove this alias")


def may_change_aliases(ctx: Context, user_id: UserId, room_id: RoomId) -> bool:
    """Tell whether the user is in the room with the power to set its canonical alias: who may say how it is found."""
    if not members.is_joined(ctx.db, room_id, user_id):
        return False
    levels = state.power_levels(ctx.db, room_id)
    return levels.user(user_id) >= levels.for_state("m.room.canonical_alias")


def _canonical_without(ctx: Context, room_id: RoomId, alias: RoomAlias) -> dict[str, Any] | None:
    """Return the content of the room's canonical alias event without `alias`; `None` if it is not in there."""
    event = state.current(ctx.db, room_id, "m.room.canonical_alias")
    if event is None:
        return None
    content = dict(event.content)
    if content.get("alias") == alias:
        del content["alias"]
    others = content.get("alt_aliases")
    if isinstance(others, list) and alias in others:
        content["alt_aliases"] = [other for other in others if other != alias]
        if not content["alt_aliases"]:
            del content["alt_aliases"]
    return content if content != event.content else None
