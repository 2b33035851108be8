"""Who may do what in a room, by number.

`PowerLevels` reads an `m.room.power_levels` event leniently, field by field as it is asked: what cannot be read
counts as absent. Whether such an event is let into a room is decided by `event_auth.power_levels`.

Source: client-server API, "m.room.power_levels"; rooms/v1 and v10 on strings and floats; rooms/v12 on creators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Protocol

from conduit.protocol.ids import is_user_id
from conduit.protocol.room_versions import RoomVersion

CREATOR_LEVEL: Final = 2**64
"""The level of a room creator where it is infinite: above every level that can be given."""

DEFAULTS: Final[Mapping[str, int]] = {
    "ban": 50,
    "events_default": 0,
    "invite": 0,
    "kick": 50,
    "redact": 50,
    "state_default": 50,
    "users_default": 0,
}
"""The levels that are taken where `m.room.power_levels` is silent."""

_NOTIFICATION_DEFAULT: Final = 50
_LEGACY_CREATOR_LEVEL: Final = 100
_EMPTY: Final[dict[str, Any]] = {}
# Leading zeros are cut off, and the rest bounded: Python itself refuses to read thousands of digits.
_STRINGY = re.compile(r"([+-]?)0*([0-9]{1,19})", re.ASCII)


class StateEvent(Protocol):
    """What is read of an event here."""

    @property
    def sender(self) -> str:
        """The user who sent it."""
        ...

    @property
    def content(self) -> dict[str, Any]:
        """Its content, of any shape."""
        ...


def read_level(value: Any, version: RoomVersion) -> int | None:
    """Return the level that a JSON value stands for in this room version, or None when it stands for none.

    Always integers; until version 9 also strings of digits with a sign and white space around them, and floats,
    cut off at the point.
    """
    if type(value) is int:
        return value
    if version.integer_power_levels:
        return None
    if isinstance(value, str):
        match = _STRINGY.fullmatch(value.strip())
        return int(f"{match[1]}{match[2]}") if match is not None else None
    if isinstance(value, float) and isfinite(value):
        return int(value)
    return None


def creators_of(create: StateEvent, version: RoomVersion) -> frozenset[str]:
    """Return the room's creators: one user, or from version 12 on the sender and the `additional_creators`."""
    if not version.creator_is_sender:
        creator = create.content.get("creator")
        return frozenset({creator}) if isinstance(creator, str) else frozenset()
    additional = create.content.get("additional_creators") if version.creators_privileged else None
    if not isinstance(additional, list):
        return frozenset({create.sender})
    return frozenset({create.sender, *(user for user in additional if isinstance(user, str))})


class PowerLevels:
    """The levels of a room's users and the levels that acts require; `version` is the room's."""

    __slots__ = ("_content", "_creators", "_events", "_users", "_version", "present")

    def __init__(self, create: StateEvent | None, power_levels: StateEvent | None, version: RoomVersion) -> None:
        """Read the room's `m.room.create` and `m.room.power_levels`; either may be missing."""
        content = power_levels.content if power_levels is not None else _EMPTY
        users, events = content.get("users"), content.get("events")
        self.present: Final = power_levels is not None
        self._content: Final = content
        self._users: Final = users if isinstance(users, dict) else _EMPTY
        self._events: Final = events if isinstance(events, dict) else _EMPTY
        self._version: Final = version
        # Before version 12 creators matter only as long as there is no m.room.power_levels.
        needed = create is not None and (version.creators_privileged or power_levels is None)
        self._creators: Final = creators_of(create, version) if needed and create is not None else frozenset[str]()

    def user(self, user_id: str) -> int:
        """Return the level of a user; of a creator in version 12, one above all."""
        if user_id in self._creators:
            return CREATOR_LEVEL if self._version.creators_privileged else _LEGACY_CREATOR_LEVEL
        level = read_level(self._users.get(user_id), self._version)
        return self.named("users_default") if level is None else level

    def is_creator(self, user_id: str) -> bool:
        """Tell whether the user stands above all levels (never before version 12)."""
        return self._version.creators_privileged and user_id in self._creators

    def for_state(self, event_type: str) -> int:
        """Return the level that sending a state event of this type requires."""
        level = read_level(self._events.get(event_type), self._version)
        return self.named("state_default") if level is None else level

    def for_message(self, event_type: str) -> int:
        """Return the level that sending a message event of this type requires."""
        level = read_level(self._events.get(event_type), self._version)
        return self.named("events_default") if level is None else level

    def named(self, name: str) -> int:
        """Return one of the levels of `DEFAULTS` by name."""
        level = read_level(self._content.get(name), self._version)
        return DEFAULTS[name] if level is None else level

    @property
    def invite(self) -> int:
        """The level that inviting requires."""
        return self.named("invite")

    @property
    def kick(self) -> int:
        """The level that kicking requires."""
        return self.named("kick")

    @property
    def ban(self) -> int:
        """The level that banning requires."""
        return self.named("ban")

    @property
    def redact(self) -> int:
        """The level that redacting others' events requires."""
        return self.named("redact")

    def notifications(self, key: str) -> int:
        """Return the level that a notification of all (`room` for `@room`) requires."""
        levels = self._content.get("notifications")
        level = read_level(levels.get(key), self._version) if isinstance(levels, dict) else None
        return _NOTIFICATION_DEFAULT if level is None else level

    def listed_users(self) -> dict[str, int]:
        """Return the users who have a level of their own, with it; creators of version 12 among them."""
        levels = {user: read_level(level, self._version) for user, level in self._users.items() if is_user_id(user)}
        listed = {user: level for user, level in levels.items() if level is not None}
        listed.update({user: self.user(user) for user in self._creators})
        return listed


def initial_content(creator: str, version: RoomVersion) -> dict[str, Any]:
    """Return the content of the first `m.room.power_levels` of a new room.

    From version 12 on it does not list the creators and guards `m.room.tombstone` above the administrators.
    """
    return {
        "users": {} if version.creators_privileged else {creator: 100},
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.tombstone": 150 if version.creators_privileged else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50,
        "notifications": {"room": 50},
    }
