"""Letting a user into a restricted room: whether one of its conditions holds, and who vouches for it.

Source: server-server API, "Restricted rooms"; client-server API, "Restricted rooms".
"""

from __future__ import annotations

from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.errors import Forbidden, UnableToAuthoriseJoin, UnableToGrantJoin
from conduit.protocol.ids import RoomId, ServerName, UserId, is_room_id
from conduit.protocol.room_versions import RoomVersion
from conduit.service.rooms import members, partial, state

MAX_CONDITIONS = 100
"""How many rooms a restricted room may name; further ones are not looked at."""


def needs_voucher(source: CacheSource, room_id: RoomId, user_id: UserId, version: RoomVersion) -> bool:
    """Tell whether the user, to join, must meet one of the room's conditions: it is restricted, and they are neither invited nor in it."""
    rules = state.current(source, room_id, "m.room.join_rules")
    if rules is None or not version.restricted_joins:
        return False
    rule = rules.content.get("join_rule")
    if rule != "restricted" and not (rule == "knock_restricted" and version.knock_restricted_joins):
        return False
    return _membership(source, room_id, user_id) not in ("join", "invite")


def _membership(source: CacheSource, room_id: RoomId, user_id: UserId) -> str | None:
    event = state.current(source, room_id, "m.room.member", user_id)
    return None if event is None else event.membership


def conditions(content: dict[str, Any]) -> list[RoomId]:
    """Return the rooms whose members an `m.room.join_rules` lets in."""
    allow = content.get("allow")
    found = []
    for condition in allow[:MAX_CONDITIONS] if isinstance(allow, list) else ():
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership":
            room_id = condition.get("room_id")
            if is_room_id(room_id):
                found.append(RoomId(str(room_id)))
    return found


def meets_condition(source: CacheSource, room_id: RoomId, user_id: UserId) -> bool:
    """Tell whether the user is, by what this server knows, in one of the rooms that the room's join rules name."""
    return any(_membership(source, other, user_id) == "join" for other in _named(source, room_id))


def _named(source: CacheSource, room_id: RoomId) -> list[RoomId]:
    rules = state.current(source, room_id, "m.room.join_rules")
    return conditions({} if rules is None else rules.content)


def check_conditions(source: CacheSource, server_name: ServerName, room_id: RoomId, user_id: UserId) -> None:
    """Raise unless the user is in one of the rooms that the room's join rules name, as far as this server can tell.

    `Forbidden` if they are in none of them, `UnableToAuthoriseJoin` if they may be in one that this server is not in, or does not know all members of.
    """
    rooms = _named(source, room_id)
    if any(_membership(source, other, user_id) == "join" and _is_here(source, server_name, other) for other in rooms):
        return
    if any(not _is_here(source, server_name, other) or partial.is_partial(source, other) for other in rooms):
        raise UnableToAuthoriseJoin("This server is not in all of the rooms whose members may join")
    raise Forbidden("The user is in none of the rooms whose members may join this room")


def _is_here(source: CacheSource, server_name: ServerName, room_id: RoomId) -> bool:
    return bool(members.joined_local(source, room_id, server_name))


def voucher(source: CacheSource, server_name: ServerName, room_id: RoomId) -> UserId:
    """Return what `find_voucher` does; raises `UnableToGrantJoin` if there is nobody."""
    found = find_voucher(source, server_name, room_id)
    if found is None:
        raise UnableToGrantJoin("Nobody of this server may let others into the room")
    return found


def find_voucher(source: CacheSource, server_name: ServerName, room_id: RoomId) -> UserId | None:
    """Return a user of this server in whose name a join can be authorised: in the room, and allowed to invite; the most powerful that is listed."""
    levels = state.power_levels(source, room_id)
    local = members.joined_local(source, room_id, server_name)
    for user, level in sorted(levels.listed_users().items(), key=lambda entry: (-entry[1], entry[0])):
        if level >= levels.invite and user in local:
            return UserId(user)
    if levels.named("users_default") < levels.invite:
        return None
    return min(local - levels.listed_users().keys(), default=None)


def check_voucher(source: CacheSource, server_name: ServerName, room_id: RoomId, user_id: str) -> None:
    """Raise `UnableToGrantJoin` unless the user can vouch for a join: of this server, in the room, and allowed to invite."""
    levels = state.power_levels(source, room_id)
    if user_id not in members.joined_local(source, room_id, server_name) or levels.user(user_id) < levels.invite:
        raise UnableToGrantJoin("That user cannot let others into the room")
