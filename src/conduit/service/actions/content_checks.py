"""What a local client may not send, although the auth rules would let it through.

Each of these events would be valid, but would harm the sender's own room or contradict what this server knows.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from conduit.protocol.errors import BadAlias, BadJson, BadRequest, InvalidParam, MatrixError
from conduit.protocol.ids import RoomAlias, RoomId, is_room_alias, parse_room_id
from conduit.protocol.server_acl import ServerAcl
from conduit.service.actions.aliases import look_up
from conduit.service.context import Context
from conduit.service.rooms import aliases, state

MAX_ELSEWHERE: Final = 20
"""How many aliases of other servers, which have to be asked, one event may add."""


async def check_state(ctx: Context, room_id: RoomId, event_type: str, state_key: str, content: dict[str, Any]) -> None:
    """Raise unless a client may set this state: `BadRequest`, `BadJson`, `InvalidParam` or `BadAlias`."""
    if state_key:
        return
    if event_type == "m.room.canonical_alias":
        await check_canonical_alias(ctx, room_id, content)
    elif event_type == "m.room.tombstone":
        check_tombstone(room_id, content)
    elif event_type == "m.room.server_acl" and not ServerAcl({**content, "deny": []}).allows(ctx.server_name):
        # Forgotten, most likely: what `allow` does not name is shut out. Who denies the own server means it.
        raise BadRequest("This access list does not let in your own server")


def check_tombstone(room_id: RoomId, content: dict[str, Any]) -> None:
    """Raise `InvalidParam` for a tombstone whose replacement is no room, or the room itself."""
    replacement = content.get("replacement_room")
    if replacement is not None and parse_room_id(replacement) == room_id:
        raise InvalidParam("A room cannot replace itself")


async def check_canonical_alias(ctx: Context, room_id: RoomId, content: dict[str, Any]) -> None:
    """Raise unless every alias that `content` adds points to the room: `InvalidParam` for no alias at all, `BadAlias`.

    What stands in the room's event already is not looked at. Of another server's alias that server is asked.
    """
    current = state.current(ctx.db, room_id, "m.room.canonical_alias")
    known = set(_aliases_in(current.content, lenient=True)) if current is not None else set()
    added = _added(content, known)
    if sum(not aliases.is_local(alias, ctx.server_name) for alias in added) > MAX_ELSEWHERE:
        raise BadAlias(f"At most {MAX_ELSEWHERE} aliases of other servers can be added at a time")
    for alias in added:
        if await _room_of(ctx, alias) != room_id:
            raise _astray(alias)


def check_first_canonical_alias(content: dict[str, Any], *, pending: RoomAlias | None) -> None:
    """Raise as `check_canonical_alias` does, for a room about to be created, to which nothing can point but the alias `pending`."""
    for alias in _added(content, [] if pending is None else [pending]):
        raise _astray(alias)


async def _room_of(ctx: Context, alias: RoomAlias) -> RoomId | None:
    try:
        return (await look_up(ctx, alias, afresh=True)).room_id
    except MatrixError:
        return None


def _astray(alias: RoomAlias) -> BadAlias:
    return BadAlias(f"The alias {alias} does not point to this room")


def _added(content: dict[str, Any], known: Container[str]) -> list[RoomAlias]:
    """Return the aliases in `content` but for those known; raises `InvalidParam` or `BadJson`."""
    added = [alias for alias in dict.fromkeys(_aliases_in(content)) if alias not in known]
    if not all(map(is_room_alias, added)):
        raise InvalidParam("Not a valid room alias")
    return [RoomAlias(alias) for alias in added]


def _aliases_in(content: dict[str, Any], *, lenient: bool = False) -> list[str]:
    alias, others = content.get("alias"), content.get("alt_aliases")
    found = [] if alias in (None, "") else [alias]
    if isinstance(others, list):
        found += others
    elif others is not None and not lenient:
        raise BadJson("'alt_aliases' must be an array of strings")
    if not lenient and not all(isinstance(item, str) for item in found):
        raise BadJson("Room aliases are strings")
    return [item for item in found if isinstance(item, str)]
