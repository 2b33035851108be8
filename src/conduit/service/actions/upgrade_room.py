"""Replace a room by one of another version. Source: client-server API, "Room Upgrades".

The new room, the tombstone in the old one, the aliases and the directory change in one batch: nobody can find the one without the other. The id of
a room of version 12 hangs on its create event, so there the tombstone comes last, and the create event does not name it.

If the old room has a policy server, all is done once for show first, so that what goes into the old room can be signed; signatures change no event's id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from conduit.database.database import Batch
from conduit.protocol.errors import BadJson, Forbidden, NotFound, TooLarge
from conduit.protocol.event_format import check_new
from conduit.protocol.ids import EventId, RoomId, UserId, is_user_id
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import DEFAULTS, PowerLevels, initial_content, read_level
from conduit.protocol.room_versions import RoomVersion
from conduit.service.actions import membership
from conduit.service.actions.carry_over import carry_over, move_names
from conduit.service.actions.create_room import version_for_new_room
from conduit.service.context import Context
from conduit.service.events import RoomView, new_room_id, policy
from conduit.service.rooms import members, state

COPIED_TYPES = (
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.encryption",
    "m.room.server_acl",
)
"""What the specification recommends to copy, besides the power levels and the canonical alias."""

MAX_BANS = 100
"""How many bans are copied with the room; all of them could hold everybody else up for seconds."""

ADMIN_LEVEL = 100
TOMBSTONE_LEVEL = 150


class _Levels(NamedTuple):
    """The power levels for the new room: what it starts with, and what it is to have if that differs."""

    initial: dict[str, Any]
    final: dict[str, Any] | None


class _Content(NamedTuple):
    """Power levels that are no event yet, in the form that `PowerLevels` reads."""

    sender: str
    content: dict[str, Any]


class _Plan(NamedTuple):
    """What would differ from one attempt to the next."""

    now_ms: int
    room_id: RoomId
    """The new room's, in the versions that let us choose."""


class _Rehearsed(Exception):
    """Leaves a batch that is not to be written."""


class _Upgrade:
    """One upgrade within its batch: the old room, the new one, and who makes it.

    The same `plan` in the same room makes the same events in the old room. Those that are in `signed` are taken from there.
    """

    def __init__(
        self,
        ctx: Context,
        batch: Batch,
        user_id: UserId,
        room_id: RoomId,
        version: RoomVersion,
        plan: _Plan,
        signed: Mapping[EventId, Event],
    ) -> None:
        self.ctx = ctx
        self.plan = plan
        self.signed = signed
        self.sent: list[Event] = []
        """What has been sent into the old room."""
        self.batch = batch
        self.user_id = user_id
        self.version = version
        self.old = RoomView.open(ctx, batch, room_id)

    def run(self, additional_creators: Sequence[UserId]) -> RoomId:
        """Do all of it and return the new room's id."""
        pieces = list(self._pieces())
        bans = self._bans()
        levels = self._levels([event_type for event_type, _, _ in pieces], dict(bans), additional_creators)
        new = self._replace(additional_creators)
        new.add(
            self.user_id,
            "m.room.member",
            membership.content_of(self.batch, self.user_id, "join"),
            state_key=self.user_id,
        )
        new.add(self.user_id, "m.room.power_levels", levels.initial, state_key="")
        for event_type, state_key, content in pieces:
            new.add(self.user_id, event_type, content, state_key=state_key)
        for user_id, content in bans:
            new.add(self.user_id, "m.room.member", content, state_key=user_id)
        if levels.final is not None:
            new.add(self.user_id, "m.room.power_levels", levels.final, state_key="")
        move_names(self.batch, self.old.room_id, new.room_id)
        self._close_old()
        carry_over(self.batch, self.user_id, new.room_id)
        return new.room_id

    # --- the new room

    def _replace(self, additional_creators: Sequence[UserId]) -> RoomView:
        """Create the new room and lay the tombstone in the old one, each naming the other as far as it can."""
        content = self._create_content(additional_creators)
        predecessor = {"room_id": self.old.room_id}
        if self.version.room_id_is_create_hash:
            new = self._create({**content, "predecessor": predecessor}, None)
            self._entomb(new.room_id)
            return new
        tombstone = self._entomb(self.plan.room_id)
        return self._create({**content, "predecessor": {**predecessor, "event_id": tombstone}}, self.plan.room_id)

    def _create(self, content: dict[str, Any], room_id: RoomId | None) -> RoomView:
        return RoomView.create(
            self.ctx,
            self.batch,
            self.user_id,
            content,
            self.version,
            room_id=room_id,
            origin_server_ts=self.plan.now_ms,
        )

    def _entomb(self, replacement: RoomId) -> EventId:
        content = {"body": "This room has been replaced", "replacement_room": replacement}
        return self._send_old("m.room.tombstone", content)

    def _send_old(self, event_type: str, content: dict[str, Any]) -> EventId:
        event, is_new = self.old.prepare(
            self.user_id, event_type, content, state_key="", origin_server_ts=self.plan.now_ms
        )
        if is_new:
            event = self.signed.get(event.event_id, event)
            self.old.take(event)
            self.sent.append(event)
        return event.event_id

    def _create_content(self, additional_creators: Sequence[UserId]) -> dict[str, Any]:
        create = self._state("m.room.create") or {}
        content: dict[str, Any] = {name: create[name] for name in ("type", "m.federate") if name in create}
        others = [user for user in dict.fromkeys(additional_creators) if user != self.user_id]
        if others and self.version.creators_privileged:
            content["additional_creators"] = others
        return content

    def _state(self, event_type: str) -> dict[str, Any] | None:
        event = state.current(self.batch, self.old.room_id, event_type)
        return None if event is None else event.content

    def _pieces(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the state to be copied, as (type, state key, content)."""
        found = [(event_type, self._state(event_type)) for event_type in (*COPIED_TYPES, "m.room.canonical_alias")]
        pieces = [(event_type, "", content) for event_type, content in found if content is not None]
        pieces = [
            (event_type, "", _join_rules(content, self.version) if event_type == "m.room.join_rules" else content)
            for event_type, _, content in pieces
            if event_type != "m.room.encryption" or self.ctx.config.allow_encryption
        ]
        if (self._state("m.room.create") or {}).get("type") == "m.space":
            children = state.current_of_type(self.batch, self.old.room_id, "m.space.child")
            pieces += [
                ("m.space.child", room_id, child.content) for room_id, child in children.items() if child.content
            ]
        return [piece for piece in pieces if _is_sendable(*piece)]

    def _bans(self) -> list[tuple[UserId, dict[str, Any]]]:
        events = state.current_of_type(self.batch, self.old.room_id, "m.room.member")
        banned = [(UserId(user_id), event.content) for user_id, event in events.items() if event.membership == "ban"]
        return [entry for entry in banned if _is_sendable("m.room.member", *entry)][:MAX_BANS]

    def _levels(
        self, event_types: list[str], banned: Collection[UserId], additional_creators: Sequence[UserId]
    ) -> _Levels:
        current = self._state("m.room.power_levels")
        if current is None:
            return _Levels(initial_content(self.user_id, self.version), None)
        content = _as_integers(current, self.old.version)
        creators = {self.user_id, *additional_creators}
        if self.version.creators_privileged:
            content["users"] = {user: level for user, level in content["users"].items() if user not in creators}
            _guard_tombstone(content)
            return _Levels(content, None)
        former = state.power_levels(self.batch, self.old.room_id)
        for user in former.listed_users():
            if former.is_creator(user):
                content["users"][user] = max(ADMIN_LEVEL, *_all_levels(content))
        levels = PowerLevels(None, _Content(self.user_id, content), self.version)
        needed = [levels.for_state(event_type) for event_type in (*event_types, "m.room.power_levels")]
        if banned:
            needed += [levels.ban, *(levels.user(user) + 1 for user in banned)]
        if levels.user(self.user_id) >= max(needed):
            return _Levels(content, None)
        # Who upgrades may lack the power for some of what is copied: it is lent to them until all is there.
        return _Levels({**content, "users": {**content["users"], self.user_id: max(needed)}}, content)

    # --- the old room

    def _close_old(self) -> None:
        """Take the aliases out of the old room's state and let only moderators speak there, as far as the user may."""
        if self._state("m.room.canonical_alias"):
            self._try("m.room.canonical_alias", {})
        current = self._state("m.room.power_levels")
        content = _as_integers(current or {}, self.old.version)
        silenced = max(50, content.get("users_default", DEFAULTS["users_default"]) + 1)
        for name in ("events_default", "invite"):
            content[name] = max(content.get(name, DEFAULTS[name]), silenced)
        if current is not None:
            self._try("m.room.power_levels", content)

    def _try(self, event_type: str, content: dict[str, Any]) -> None:
        # "If possible": the power to upgrade does not imply this one.
        with suppress(Forbidden):
            self._send_old(event_type, content)


def _join_rules(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Return join rules that the version knows: what it does not know becomes `invite`, the strictest."""
    known = {
        "knock": version.knocking,
        "restricted": version.restricted_joins,
        "knock_restricted": version.knock_restricted_joins,
    }
    rule = content.get("join_rule")
    return content if not isinstance(rule, str) or known.get(rule, True) else {"join_rule": "invite"}


def _is_sendable(event_type: str, state_key: str, content: dict[str, Any]) -> bool:
    """Tell whether old content, perhaps another server's, can be sent again: old rooms may hold floats."""
    try:
        check_new(event_type, state_key, content)
    except (BadJson, TooLarge):
        return False
    return True


def _as_integers(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Return power levels with integers only; old rooms may have strings. `users` and `events` are always there."""
    levels = {name: level for name in DEFAULTS if (level := read_level(content.get(name), version)) is not None}
    maps: dict[str, dict[str, int]] = {"users": {}, "events": {}}
    for name in ("users", "events", "notifications"):
        entries = content.get(name)
        if isinstance(entries, dict):
            maps[name] = {
                key: level for key, value in entries.items() if (level := read_level(value, version)) is not None
            }
    maps["users"] = {user: level for user, level in maps["users"].items() if is_user_id(user)}
    other = {name: value for name, value in content.items() if name not in DEFAULTS and name not in maps}
    return {**(other if _is_sendable("m.room.power_levels", "", other) else {}), **levels, **maps}


def _all_levels(content: dict[str, Any]) -> list[int]:
    named = [level for level in content.values() if isinstance(level, int)]
    return [*named, *content["users"].values(), *content["events"].values()]


def _guard_tombstone(content: dict[str, Any]) -> None:
    """Let upgrading require more than other state does, as rooms with privileged creators must."""
    state_default = content.get("state_default", DEFAULTS["state_default"])
    if content["events"].get("m.room.tombstone", state_default) <= state_default:
        content["events"]["m.room.tombstone"] = max(TOMBSTONE_LEVEL, state_default + 50)


async def upgrade_room(
    ctx: Context, user_id: UserId, room_id: RoomId, version_id: str, *, additional_creators: Sequence[UserId] = ()
) -> RoomId:
    """Replace a room by one of another version and return the new room's id.

    Raises `NotFound` for an unknown room, `UnsupportedRoomVersion`, `Forbidden` for who is not in the room or may not send tombstones, and what the old room's
    policy server refuses with.
    """
    if not state.exists(ctx.db, room_id):
        raise NotFound("The room was not found")
    version = version_for_new_room(ctx, version_id)
    async with ctx.locks.room(room_id):
        if not members.is_joined(ctx.db, room_id, user_id):
            raise Forbidden("You are not in this room")
        levels = state.power_levels(ctx.db, room_id)
        if levels.user(user_id) < levels.for_state("m.room.tombstone"):
            raise Forbidden("You may not upgrade this room")
        plan = _Plan(ctx.clock.now_ms(), new_room_id(ctx.server_name))
        signed: dict[EventId, Event] = {}
        if policy.of_room(ctx.db, room_id) is not None:
            for event in _rehearse(ctx, user_id, room_id, version, plan, additional_creators):
                signed[event.event_id] = await policy.require(ctx, event)
        with ctx.db.batch() as batch:
            return _Upgrade(ctx, batch, user_id, room_id, version, plan, signed).run(additional_creators)


def _rehearse(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    version: RoomVersion,
    plan: _Plan,
    additional_creators: Sequence[UserId],
) -> list[Event]:
    """Return the events that the upgrade will send into the old room. Nothing is written."""
    with suppress(_Rehearsed), ctx.db.batch() as batch:
        upgrade = _Upgrade(ctx, batch, user_id, room_id, version, plan, {})
        upgrade.run(additional_creators)
        raise _Rehearsed
    return upgrade.sent
