"""Create a room: all of its first events in one batch, so that nobody ever sees half a room.

Source: client-server API, "Creation", `POST /createRoom`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from conduit.database.database import Batch
from conduit.protocol.errors import BadJson, Forbidden, InvalidRoomState, RoomInUse, UnsupportedRoomVersion
from conduit.protocol.ids import RoomAlias, RoomId, UserId, is_user_id, server_name_of
from conduit.protocol.power_levels import initial_content
from conduit.protocol.room_versions import RoomVersion, room_version
from conduit.service.actions import content_checks, membership
from conduit.service.context import Context
from conduit.service.events import RoomView
from conduit.service.rooms import aliases, directory
from conduit.service.users import accounts

PRESETS = {
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}
"""Preset -> join rule, history visibility, guest access."""

MAX_INVITES = 500
"""How many users one request may invite."""

MAX_INITIAL_STATE = 500
"""How many events of its choice one request may begin a room with: everybody waits until the room is there."""

OLD_VERSIONS = frozenset({"3", "4", "5"})
"""What `allow_unstable_room_versions` is about, as in Conduit."""


class Piece(NamedTuple):
    """A state event that a new room is to have."""

    type: str
    state_key: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client asks of a new room; the types have been checked, nothing else."""

    public: bool = False
    """Whether the room is to be in the published directory."""
    preset: str | None = None
    version: str | None = None
    alias: RoomAlias | None = None
    name: str | None = None
    topic: str | None = None
    invite: tuple[UserId, ...] = ()
    is_direct: bool = False
    creation_content: dict[str, Any] = field(default_factory=dict)
    initial_state: tuple[Piece, ...] = ()
    power_levels: dict[str, Any] = field(default_factory=dict)


def create_room(ctx: Context, creator: UserId, wish: Wish) -> RoomId:
    """Create a room and return its id.

    Raises `Forbidden` where this user may not create rooms or invite these people, `UnsupportedRoomVersion`, `RoomInUse` for a taken alias,
    `InvalidRoomState` for wishes that the room's rules do not allow, `BadJson` and `TooLarge` for content that cannot be an event.
    """
    if not ctx.config.allow_room_creation and not accounts.is_admin(ctx.db, creator):
        raise Forbidden("Only administrators may create rooms on this server")
    version = version_for_new_room(ctx, wish.version)
    if len(wish.invite) > MAX_INVITES:
        raise InvalidRoomState(f"At most {MAX_INVITES} people can be invited when a room is created")
    if len(wish.initial_state) > MAX_INITIAL_STATE:
        raise InvalidRoomState(f"At most {MAX_INITIAL_STATE} events can be set when a room is created")
    for user_id in wish.invite:
        membership.require_invitable(ctx, user_id)
    if wish.alias is not None and aliases.room_of(ctx.db, wish.alias) is not None:
        raise RoomInUse("The room alias is taken")
    create = _create_content(wish, version)
    pieces = list(_pieces(ctx, creator, wish, version))
    with ctx.db.batch() as batch:
        try:
            view = _fill(ctx, batch, creator, version, create, pieces)
            _invite_all(ctx, view, batch, creator, wish)
        except Forbidden as error:
            raise InvalidRoomState(error.error) from error
        if wish.alias is not None:
            aliases.add(batch, wish.alias, view.room_id, creator, count=batch.next_count())
        if wish.public:
            directory.set_public(batch, view.room_id, True)
    return view.room_id


def version_for_new_room(ctx: Context, wanted: str | None) -> RoomVersion:
    """Return the version that a new room is to have; raises `UnsupportedRoomVersion` for one that is not spoken, or not allowed."""
    version = room_version(wanted if wanted is not None else ctx.config.default_room_version)
    if version.id in OLD_VERSIONS and not ctx.config.allow_unstable_room_versions:
        raise UnsupportedRoomVersion("This room version is not allowed on this server")
    return version


def _create_content(wish: Wish, version: RoomVersion) -> dict[str, Any]:
    content = {name: value for name, value in wish.creation_content.items() if name not in ("creator", "room_version")}
    if not isinstance(content.get("m.federate", True), bool):
        raise BadJson("'m.federate' must be a boolean")
    if not isinstance(content.get("type", ""), str):
        raise BadJson("The 'type' of a room must be a string")
    if not isinstance(content.get("predecessor", {}), dict):
        raise BadJson("'predecessor' must be an object")
    if version.creators_privileged:
        additional = content.get("additional_creators", [])
        if not isinstance(additional, list) or not all(is_user_id(user) for user in additional):
            raise BadJson("'additional_creators' must be an array of user IDs")
        if wish.preset == "trusted_private_chat":
            additional = list(dict.fromkeys([*additional, *wish.invite]))
        if additional:
            content["additional_creators"] = additional
    return content


def _pieces(ctx: Context, creator: UserId, wish: Wish, version: RoomVersion) -> Iterator[Piece]:
    """Yield the state after the creator's join in the order that the specification prescribes (steps 3 to 7)."""
    given = {(piece.type, piece.state_key) for piece in wish.initial_state}
    yield Piece("m.room.power_levels", "", _power_levels(creator, wish, version))
    if wish.alias is not None:
        yield Piece("m.room.canonical_alias", "", {"alias": wish.alias})
    join_rule, visibility, guest_access = PRESETS[_preset(wish)]
    for piece in (
        Piece("m.room.join_rules", "", {"join_rule": join_rule}),
        Piece("m.room.history_visibility", "", {"history_visibility": visibility}),
        Piece("m.room.guest_access", "", {"guest_access": guest_access}),
    ):
        if (piece.type, "") not in given:
            yield piece
    yield from _initial_state(ctx, wish)
    if wish.name is not None:
        yield Piece("m.room.name", "", {"name": wish.name})
    if wish.topic is not None:
        yield Piece("m.room.topic", "", topic_content(wish.topic))


def _preset(wish: Wish) -> str:
    return wish.preset or ("public_chat" if wish.public else "private_chat")


def topic_content(topic: str) -> dict[str, Any]:
    """Return the content of an `m.room.topic` with a plain text."""
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic}]}}


def _power_levels(creator: UserId, wish: Wish, version: RoomVersion) -> dict[str, Any]:
    content = initial_content(creator, version)
    preset = _preset(wish)
    if preset != "public_chat":
        content["invite"] = 0
    if preset == "trusted_private_chat" and not version.creators_privileged:
        content["users"].update(dict.fromkeys(wish.invite, content["users"][creator]))
    return {**content, **wish.power_levels}


def _initial_state(ctx: Context, wish: Wish) -> Iterator[Piece]:
    named = {"m.room.name": wish.name, "m.room.topic": wish.topic}
    for piece in wish.initial_state:
        if piece.type in ("m.room.create", "m.room.member"):
            raise InvalidRoomState(f"An event of type {piece.type} cannot be part of the initial state")
        if piece.state_key == "" and named.get(piece.type) is not None:
            continue  # overridden by the parameter of its own
        if piece.type == "m.room.encryption" and not ctx.config.allow_encryption:
            continue  # as in Conduit: clients ask for it unasked, and the room is to be made all the same
        if piece.type == "m.room.canonical_alias" and piece.state_key == "":
            content_checks.check_first_canonical_alias(piece.content, pending=wish.alias)
        yield piece


def _fill(
    ctx: Context, batch: Batch, creator: UserId, version: RoomVersion, wanted: dict[str, Any], pieces: list[Piece]
) -> RoomView:
    view = RoomView.create(ctx, batch, creator, wanted, version)
    view.add(creator, "m.room.member", membership.content_of(batch, creator, "join"), state_key=creator)
    for piece in pieces:
        view.add(creator, piece.type, piece.content, state_key=piece.state_key)
    return view


def _invite_all(ctx: Context, view: RoomView, batch: Batch, creator: UserId, wish: Wish) -> None:
    for user_id in dict.fromkeys(wish.invite):
        if server_name_of(user_id) != ctx.server_name:
            continue  # their servers are asked when the room is there (`invite_to_new`)
        content = membership.content_of(batch, user_id, "invite")
        if wish.is_direct:
            content["is_direct"] = True
        view.add(creator, "m.room.member", content, state_key=user_id)
