"""The room versions as a table of differences: each is the one before with some properties replaced.

Rules elsewhere ask a property ("are there knocks?"), never the number. `allows` of `RedactionRules` names what
survives a redaction.

Source: rooms/v1 to rooms/v12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from conduit.protocol.errors import UnsupportedRoomVersion


class EventIdFormat(Enum):
    """Where an event's id comes from."""

    GIVEN = "given"
    """`$opaque:server`, chosen by the sending server and part of the event."""
    HASH = "hash"
    """The reference hash in standard Base64."""
    URLSAFE_HASH = "urlsafe hash"
    """The reference hash in URL-safe Base64."""


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What a redaction leaves: keys of the event, and by event type keys of the content."""

    keys: frozenset[str]
    content: Mapping[str, frozenset[str]]
    whole_content: frozenset[str] = frozenset()
    """Types whose content is kept as it is."""
    keeps_third_party_signed: bool = False
    """Whether `m.room.member` keeps `third_party_invite.signed`."""

    def with_content(self, **types: frozenset[str]) -> RedactionRules:
        """Return these rules with the content keys of some `m.room.` types replaced; an empty set removes the type."""
        content = dict(self.content)
        content.update({f"m.room.{name}": keys for name, keys in types.items()})
        return replace(self, content=MappingProxyType({name: keys for name, keys in content.items() if keys}))


_REDACTION_V1 = RedactionRules(
    keys=frozenset(
        {"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth"}
        | {"prev_events", "prev_state", "auth_events", "origin", "origin_server_ts", "membership"}
    ),
    content=MappingProxyType(
        {
            "m.room.member": frozenset({"membership"}),
            "m.room.create": frozenset({"creator"}),
            "m.room.join_rules": frozenset({"join_rule"}),
            "m.room.power_levels": frozenset(
                {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
            ),
            "m.room.aliases": frozenset({"aliases"}),
            "m.room.history_visibility": frozenset({"history_visibility"}),
        }
    ),
)
_REDACTION_V6 = _REDACTION_V1.with_content(aliases=frozenset())
_REDACTION_V8 = _REDACTION_V6.with_content(join_rules=frozenset({"join_rule", "allow"}))
_REDACTION_V9 = _REDACTION_V8.with_content(member=frozenset({"membership", "join_authorised_via_users_server"}))
_REDACTION_V11 = replace(
    _REDACTION_V9.with_content(
        create=frozenset(),
        power_levels=_REDACTION_V1.content["m.room.power_levels"] | {"invite"},
        redaction=frozenset({"redacts"}),
    ),
    keys=_REDACTION_V1.keys - {"prev_state", "origin", "membership"},
    whole_content=frozenset({"m.room.create"}),
    keeps_third_party_signed=True,
)


@dataclass(frozen=True, slots=True, eq=False)
class RoomVersion:
    """The algorithms and formats of one room version. Compared by identity: there is one object a version."""

    id: str
    stable: bool = True
    event_id_format: EventIdFormat = EventIdFormat.GIVEN
    state_res: int = 1
    """The state resolution algorithm: 1, 2, or 21 for version 2.1."""
    redaction: RedactionRules = field(default=_REDACTION_V1, repr=False)
    redacts_in_content: bool = False
    """`redacts` stands in the content of `m.room.redaction`, not beside it."""
    strict_canonical_json: bool = False
    """Events hold no floats and only integers within 2^53."""
    key_validity_enforced: bool = False
    """A signing key must have been valid at the event's `origin_server_ts`."""
    redactions_authorised: bool = True
    """The auth rules themselves judge `m.room.redaction` (versions 1 and 2)."""
    aliases_authorised: bool = True
    """The auth rules have a rule of their own for `m.room.aliases`."""
    notification_levels_guarded: bool = False
    """`notifications` in `m.room.power_levels` is guarded as `events` is."""
    integer_power_levels: bool = False
    """Power levels must be integers; before, strings and (where JSON allows) floats are read too."""
    knocking: bool = False
    restricted_joins: bool = False
    knock_restricted_joins: bool = False
    creator_is_sender: bool = False
    """The room's creator is the sender of `m.room.create`; before, its `content.creator`."""
    creators_privileged: bool = False
    """Creators, `additional_creators` among them, stand above every power level."""
    room_id_is_create_hash: bool = False
    """The room id is the id of `m.room.create` with another sigil; that event carries none, and nobody cites it."""
    event_ids_are_hashes: bool = field(init=False, default=False)
    """The event id is computed, and is no part of the event."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "event_ids_are_hashes", self.event_id_format is not EventIdFormat.GIVEN)


_V1 = RoomVersion("1")
_V2 = replace(_V1, id="2", state_res=2)
_V3 = replace(_V2, id="3", event_id_format=EventIdFormat.HASH, redactions_authorised=False)
_V4 = replace(_V3, id="4", event_id_format=EventIdFormat.URLSAFE_HASH)
_V5 = replace(_V4, id="5", key_validity_enforced=True)
_V6 = replace(
    _V5,
    id="6",
    strict_canonical_json=True,
    aliases_authorised=False,
    notification_levels_guarded=True,
    redaction=_REDACTION_V6,
)
_V7 = replace(_V6, id="7", knocking=True)
_V8 = replace(_V7, id="8", restricted_joins=True, redaction=_REDACTION_V8)
_V9 = replace(_V8, id="9", redaction=_REDACTION_V9)
_V10 = replace(_V9, id="10", integer_power_levels=True, knock_restricted_joins=True)
_V11 = replace(_V10, id="11", redaction=_REDACTION_V11, redacts_in_content=True, creator_is_sender=True)
_V12 = replace(_V11, id="12", state_res=21, creators_privileged=True, room_id_is_create_hash=True)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {version.id: version for version in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
"""Every version that this server speaks, by id."""

SUPPORTED: Final = tuple(ROOM_VERSIONS)
"""The ids of `ROOM_VERSIONS`, oldest first."""


def room_version(identifier: object) -> RoomVersion:
    """Return the version with this id, or raise `UnsupportedRoomVersion`."""
    version = ROOM_VERSIONS.get(identifier) if isinstance(identifier, str) else None
    if version is None:
        raise UnsupportedRoomVersion("This server does not speak that room version")
    return version


def version_of_create(content: Mapping[str, object]) -> RoomVersion:
    """Return the version that the content of an `m.room.create` names; absence means version 1."""
    return room_version(content.get("room_version", "1"))
