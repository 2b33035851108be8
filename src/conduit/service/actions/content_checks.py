"""What a local client may not send, although the auth rules would let it through.

Each of these events would be valid, but would harm the sender's own room or contradict what this server knows.
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadAlias, BadJson, BadRequest, InvalidParam
from conduit.protocol.ids import RoomAlias, RoomId, is_room_alias, parse_room_id
from conduit.protocol.server_acl import ServerAcl
from conduit.service.context import Context
from conduit.service.rooms import aliases, state


def check_state(ctx: Context, room_id: RoomId, event_type: str, state_key: str, content: dict[str, Any]) -> None:
    """Raise unless a client may set this state: `BadRequest`, `BadJson`, `InvalidParam` or `BadAlias`."""
    if state_key:
        return
    if event_type == "m.room.canonical_alias":
        check_canonical_alias(ctx, room_id, content)
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


def check_canonical_alias(
    ctx: Context, room_id: RoomId | None, content: dict[str, Any], *, pending: RoomAlias | None = None
) -> None:
    """Raise unless every alias that `content` adds points to the room: `InvalidParam` for no alias at all, `BadAlias`.

    What stands in the room's event already is not looked at. A room about to be created (`None`) has the alias `pending`.
    """
    current = None if room_id is None else state.current(ctx.db, room_id, "m.room.canonical_alias")
    known = set(_aliases_in(current.content, lenient=True)) if current is not None else set()
    for alias in _aliases_in(content):
        if alias in known or alias == pending:
            continue
        if not is_room_alias(alias):
            raise InvalidParam("Not a valid room alias")
        parsed = RoomAlias(alias)
        points_to = aliases.room_of(ctx.db, parsed) if aliases.is_local(parsed, ctx.server_name) else None
        if points_to is None or points_to != room_id:
            raise BadAlias(f"The alias {alias} does not point to this room")


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
