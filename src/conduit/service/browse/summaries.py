"""What somebody may learn of a room before joining it: its summary, and whether they may have it.

Source: client-server API, GET /room_summary, GET /hierarchy ("rooms").
"""

from __future__ import annotations

from typing import Any, Final

from conduit.database.cache import CacheSource
from conduit.protocol.ids import (
    RoomId,
    ServerName,
    UserId,
    is_room_id,
    is_server_name,
    is_user_id,
    server_name_of,
)
from conduit.service.browse import public_rooms
from conduit.service.context import Context
from conduit.service.rooms import members, server_access, state, visibility

Json = dict[str, Any]

MAX_ALLOWED_ROOMS: Final = 50
_OPEN: Final = ("public", "knock", "knock_restricted")
_MEGOLM: Final = "m.megolm.v1.aes-sha2"


def may_know(source: CacheSource, room_id: RoomId, user_id: UserId | None) -> bool:
    """Tell whether a user, or with `None` anybody, may have the summary of a room: who is in it, who may join or knock, and whoever may read it."""
    if not state.exists(source, room_id):
        return False
    if user_id is not None and members.membership(source, room_id, user_id) in ("join", "invite"):
        return True
    rule = _join_rule(source, room_id)
    if rule in _OPEN or visibility.is_world_readable(source, room_id):
        return True
    if user_id is None or rule != "restricted":
        return False
    return any(members.is_joined(source, allowed, user_id) for allowed in allowed_rooms(source, room_id))


def may_know_told(source: CacheSource, told: Json, user_id: UserId | None) -> bool:
    """Tell whether a user may have the summary of a room as another server has told it; the same rule as `may_know`."""
    if user_id is not None and members.membership(source, told["room_id"], user_id) in ("join", "invite"):
        return True
    rule = told.get("join_rule", "public")
    if rule in _OPEN or told["world_readable"]:
        return True
    if user_id is None or rule != "restricted":
        return False
    return any(members.is_joined(source, allowed, user_id) for allowed in told.get("allowed_room_ids", ()))


def server_may_know(source: CacheSource, room_id: RoomId, server: ServerName) -> bool:
    """Tell whether another server may have the summary of a room: one of its users is in it or invited, or could enter or read it, and it is not shut out."""
    if server_access.is_blocked(source, room_id) or not server_access.is_allowed(source, room_id, server):
        return False
    create = state.current(source, room_id, "m.room.create")
    if create is not None and create.content.get("m.federate") is False:
        return False
    if server in members.servers(source, room_id):
        return True
    if any(server_name_of(user_id) == server for user_id in members.invited(source, room_id)):
        return True
    rule = _join_rule(source, room_id)
    if rule in _OPEN or visibility.is_world_readable(source, room_id):
        return True
    if rule != "restricted":
        return False
    return any(server in members.servers(source, allowed) for allowed in allowed_rooms(source, room_id))


def is_here(ctx: Context, room_id: RoomId) -> bool:
    """Tell whether somebody of this server is in the room, so that what is known of it is up to date."""
    return bool(members.joined_local(ctx.db, room_id, ctx.server_name)) and state.exists(ctx.db, room_id)


def servers_near(ctx: Context, room_id: RoomId, user_id: UserId | None) -> list[str]:
    """Return servers that may know of a room in which nobody of this server is: those of its members as last known, of who invited the user, of its id."""
    found: list[str] = [str(server) for server in members.servers(ctx.db, room_id)]
    if user_id is not None:
        stripped = members.invite_state(ctx.db, room_id, user_id)
        senders = [event.get("sender") for event in reversed(stripped)]
        found += [server_name_of(str(sender)) for sender in senders if is_user_id(sender)]
    found.append(room_id.partition(":")[2])
    return [server for server in dict.fromkeys(found) if is_server_name(server) and server != ctx.server_name]


def allowed_rooms(source: CacheSource, room_id: RoomId) -> list[RoomId]:
    """Return the rooms whose members may join a restricted room."""
    rules = state.current(source, room_id, "m.room.join_rules")
    if rules is None or rules.content.get("join_rule") not in ("restricted", "knock_restricted"):
        return []
    conditions = rules.content.get("allow")
    rooms = [
        condition.get("room_id")
        for condition in (conditions if isinstance(conditions, list) else [])
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership"
    ]
    return [RoomId(str(room)) for room in rooms[:MAX_ALLOWED_ROOMS] if is_room_id(room)]


def summary(source: CacheSource, room_id: RoomId) -> Json:
    """Return the summary of a room that is known here."""
    found = public_rooms.chunk_of(source, room_id) or {}
    allowed = allowed_rooms(source, room_id)
    if allowed:
        found["allowed_room_ids"] = allowed
    encryption = state.current(source, room_id, "m.room.encryption")
    if encryption is not None and encryption.content.get("algorithm") == _MEGOLM:
        found["encryption"] = _MEGOLM
    found["room_version"] = state.version_of(source, room_id).id
    return found


def _join_rule(source: CacheSource, room_id: RoomId) -> Any:
    rules = state.current(source, room_id, "m.room.join_rules")
    return "invite" if rules is None else rules.content.get("join_rule", "invite")
