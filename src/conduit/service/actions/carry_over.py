"""What goes along from a room to the one that replaces it: a user's tags, push rules, and whether it is a direct chat; a server's names for it.

Source: client-server API, "Room Upgrades".
"""

from __future__ import annotations

from contextlib import suppress

from conduit.database.database import Batch
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId, UserId, is_room_id
from conduit.service import account_data
from conduit.service.push import rules
from conduit.service.rooms import aliases, directory, members, state


def predecessor_of(batch: Batch, room_id: RoomId) -> RoomId | None:
    """Return the room that `room_id` replaces, if that room says so as well; `None` otherwise."""
    create = state.current(batch, room_id, "m.room.create")
    claimed = create.content.get("predecessor") if create is not None else None
    old = claimed.get("room_id") if isinstance(claimed, dict) else None
    if not is_room_id(old):
        return None
    tombstone = state.current(batch, RoomId(str(old)), "m.room.tombstone")
    if tombstone is None or tombstone.content.get("replacement_room") != room_id:
        return None
    return RoomId(str(old))


def carry_over(batch: Batch, user_id: UserId, room_id: RoomId) -> None:
    """Give a local user who joins `room_id` the personal settings of the room it replaces; what is there already stays."""
    old = predecessor_of(batch, room_id)
    if old is None or not members.was_ever_joined(batch, old, user_id):
        return
    tags = account_data.get(batch, user_id, old, "m.tag")
    if tags and account_data.get(batch, user_id, room_id, "m.tag") is None:
        account_data.put(batch, user_id, room_id, "m.tag", tags)
    _carry_push_rule(batch, user_id, old, room_id)
    _carry_direct(batch, user_id, old, room_id)


def move_names(batch: Batch, old: RoomId, new: RoomId) -> None:
    """Let this server's aliases of `old` name `new`, and its directory list that instead."""
    for alias in aliases.of_room(batch, old):
        aliases.move(batch, alias, new, count=batch.next_count())
    if directory.is_public(batch, old):
        directory.set_public(batch, old, False)
        directory.set_public(batch, new, True)


def _carry_push_rule(batch: Batch, user_id: UserId, old: RoomId, room_id: RoomId) -> None:
    changed = rules.ruleset(batch, user_id)
    by_room = {rule["rule_id"]: rule for rule in changed.of_kind("room")}
    if old in by_room and room_id not in by_room:
        with suppress(InvalidParam):  # if there are too many rules already
            changed.put("room", {**by_room[old], "rule_id": room_id})
            rules.put(batch, user_id, changed)


def _carry_direct(batch: Batch, user_id: UserId, old: RoomId, room_id: RoomId) -> None:
    direct = account_data.get(batch, user_id, "", "m.direct") or {}
    changed = {
        user: [*rooms, room_id]
        for user, rooms in direct.items()
        if isinstance(rooms, list) and old in rooms and room_id not in rooms
    }
    if changed:
        account_data.put(batch, user_id, "", "m.direct", {**direct, **changed})
