"""Rule 10: `m.room.power_levels`."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth.state_view import StateView
from conduit.protocol.ids import is_user_id
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import DEFAULTS, creators_of, read_level
from conduit.protocol.room_versions import RoomVersion


def check(event: Event, version: RoomVersion, room: StateView) -> None:
    """Raise `Forbidden` unless the sender may set these levels; rules 1 to 9 have allowed it already."""
    content = event.content
    _check_shape(content, version)
    # 10.4, from version 12 on. If users names a creator, reject.
    if version.creators_privileged:
        creators = creators_of(room.create, version)
        if not creators.isdisjoint(content.get("users", ())):
            raise Forbidden("The power levels list a creator of the room")
    # 10.5. If there is no previous m.room.power_levels, allow.
    previous = room.state("m.room.power_levels", "")
    if previous is None:
        return
    level = room.levels.user(event.sender)
    # 10.6. For each alteration of users_default … invite.
    _check_changes(_named(previous.content, version), _named(content, version), level)
    # 10.7. and 10.8. For each entry of events or (from version 6 on) notifications.
    for name in _guarded_maps(version):
        _check_changes(_levels(previous.content, name, version), _levels(content, name, version), level)
    # 10.9. and 10.10. For each entry of users.
    old, new = _levels(previous.content, "users", version), _levels(content, "users", version)
    _check_changes(old, new, level)
    for user, current in old.items():
        # 10.9. For each entry changed or removed but the sender's own: if the current value is the sender's, reject.
        if current >= level and user != event.sender and new.get(user) != current:
            raise Forbidden("The sender may not change the level of a user who stands as high")
    # 10.11. Otherwise, allow.


def _guarded_maps(version: RoomVersion) -> tuple[str, ...]:
    return ("events", "notifications") if version.notification_levels_guarded else ("events",)


def _check_shape(content: dict[str, Any], version: RoomVersion) -> None:
    # 10.1. If one of the named levels is present and not an integer, reject. Before version 10 the text says so of
    # users only, but what has no value cannot be compared either: there, too, it must be readable.
    for name in DEFAULTS:
        if name in content and read_level(content[name], version) is None:
            raise Forbidden(f"{name} is not a power level")
    # 10.2. If events or notifications is present and not an object of integers, reject.
    for name in (*_guarded_maps(version), "users"):
        levels = content.get(name, {})
        if not isinstance(levels, dict) or any(read_level(level, version) is None for level in levels.values()):
            raise Forbidden(f"{name} is not an object of power levels")
    # 10.3. If users is not an object of user ids to integers, reject.
    if not all(is_user_id(user) for user in content.get("users", ())):
        raise Forbidden("users has a key that is not a user ID")


def _named(content: dict[str, Any], version: RoomVersion) -> dict[str, int]:
    return _read({name: content.get(name) for name in DEFAULTS}, version)


def _levels(content: dict[str, Any], name: str, version: RoomVersion) -> dict[str, int]:
    # The former event may have entered under laxer eyes than ours; what cannot be read there was never in force.
    levels = content.get(name)
    return _read(levels, version) if isinstance(levels, dict) else {}


def _read(values: dict[str, Any], version: RoomVersion) -> dict[str, int]:
    levels = {name: read_level(value, version) for name, value in values.items()}
    return {name: level for name, level in levels.items() if level is not None}


def _check_changes(old: dict[str, int], new: dict[str, int], level: int) -> None:
    # If the current or the new value of an entry added, changed or removed is above the sender's level, reject.
    for name in old.keys() | new.keys():
        current, wanted = old.get(name), new.get(name)
        if current == wanted:
            continue
        if current is not None and current > level:
            raise Forbidden("The sender may not change a level above their own")
        if wanted is not None and wanted > level:
            raise Forbidden("The sender may not give a level above their own")
