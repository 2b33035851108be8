"""An invite of another server's user to one of ours, and its being taken back.

Mostly this server is not in the room and can check nothing but who says so: the event must be an invite, by a user of the asking server, signed by it, for
an account here. What it tells of the room is shown to the user until they decide. In a room that this server is in, the invite goes the way of every event.

Source: server-server API, "Inviting to a room"; client-server API, "Invite permission", "Ignoring Users".
"""

from __future__ import annotations

from typing import Any

import structlog

from conduit.protocol.canonical_json import check, dump
from conduit.protocol.errors import (
    Forbidden,
    InvalidParam,
    InviteBlocked,
    LimitExceeded,
    MatrixError,
)
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, is_user_id, server_name_of
from conduit.protocol.pdu import Event, countersign
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.service import account_data
from conduit.service.actions.resident import read_own
from conduit.service.context import Context
from conduit.service.events import incoming, receive
from conduit.service.rooms import members, partial, server_access, stripped_state, versions
from conduit.service.rooms.stripped_state import Stripped
from conduit.service.users import accounts

log = structlog.get_logger(__name__)

Json = dict[str, Any]

MAX_INVITES = 1000
"""How many invites of a user may wait; each holds what was told of its room."""
RETRY_MS = 3_600_000
MAX_STATE_BYTES = 256 * 1024
"""How large the events may be, together, that come with an invite."""


async def receive_invite(
    ctx: Context,
    origin: ServerName,
    room_id: RoomId,
    event_id: EventId,
    pdu: Json,
    version: RoomVersion,
    room_state: list[Any],
) -> Json:
    """Take an invite to a local user, and return its event as it came with this server's signature added.

    Raises `InvalidParam`, `BadJson` or `TooLarge` for what is no such invite, `Forbidden` if it is not signed, the room is blocked, there is no such user or they ignore the sender,
    `InviteBlocked` if they take none, `LimitExceeded` if too many wait for them already.
    """
    if server_access.is_blocked(ctx.db, room_id):
        raise Forbidden("This server takes no part in the room")
    version = _version(ctx, room_id, version)
    event = read_own(pdu, version, origin, room_id, event_id, "invite")
    server_access.require(ctx.db, room_id, origin)
    target = _target(ctx, event)
    _require_welcome(ctx, target, event)
    await _verify(ctx, origin, event)
    is_resident = bool(members.joined_local(ctx.db, room_id, ctx.server_name))
    if not is_resident and not accounts.is_active(ctx.db, target):
        # In a room that this server is in the invite would come by another way all the same.
        raise Forbidden("There is no such user")
    if not is_resident and members.has_invites(ctx.db, target, MAX_INVITES):
        raise LimitExceeded("This user has too many invites already", retry_after_ms=RETRY_MS)
    stripped = [] if is_resident else await _stripped(ctx, version, room_id, room_state)
    signed = countersign(event, ctx.server_name, ctx.signing_key)
    # Asked anew: somebody may have joined meanwhile.
    if members.joined_local(ctx.db, room_id, ctx.server_name):
        # The room decides what becomes of it. The signature says no more than that the invite has arrived.
        await receive.process(ctx, origin, signed)
    else:
        _record(ctx, event, target, stripped)
    return {**pdu, "signatures": signed.pdu["signatures"]}


def _version(ctx: Context, room_id: RoomId, told: RoomVersion) -> RoomVersion:
    """Return the version of the room if it is known here; raises `InvalidParam` if the events of the version that the asking server tells are not such."""
    known = versions.find(ctx.db, room_id)
    if known is None or known is told:
        return told
    if known.event_ids_are_hashes or told.event_ids_are_hashes:
        raise InvalidParam("The room is of another version")
    return known  # the first form of the request does not say which of the two oldest it is


def _target(ctx: Context, event: Event) -> UserId:
    target = event.state_key
    if target is None or not is_user_id(target) or server_name_of(target) != ctx.server_name:
        raise InvalidParam("The invited user is not one of this server")
    return UserId(target)


def _require_welcome(ctx: Context, target: UserId, event: Event) -> None:
    config = account_data.get(ctx.db, target, "", "m.invite_permission_config")
    if config is not None and config.get("default_action") == "block":
        raise InviteBlocked("This user does not accept invites")
    if event.sender in account_data.ignored_users(ctx.db, target):
        raise Forbidden("This user does not accept your invites")


async def _verify(ctx: Context, origin: ServerName, event: Event) -> None:
    """Raise `Forbidden` unless the event is validly signed by the asking server."""
    try:
        await incoming.check_pdu(ctx, event.pdu, event.version, room_id=event.room_id)
        if "third_party_invite" in event.content:
            # Its maker's signature is not demanded of such an event in general; here its maker's server is the one that asks.
            valid_at = event.origin_server_ts if event.version.key_validity_enforced else None
            await ctx.outbound.keyring.verify_json(origin, redact(event.pdu, event.version), valid_at_ms=valid_at)
    except MatrixError as error:
        raise Forbidden(f"The invite is not validly signed: {error.error}") from error


# --- what comes with it --------------------------------------------------------------------------------------------


async def _stripped(ctx: Context, version: RoomVersion, room_id: RoomId, room_state: list[Any]) -> list[Stripped]:
    """Return what the user learns of the room. From version 12 on all of it must be events of the room, `m.room.create` among them.

    In older rooms many servers still send the four fields of stripped state only, and that is taken; what says to belong to another room is left out.
    """
    if len(room_state) > stripped_state.MAX_EVENTS:
        room_state = room_state[: stripped_state.MAX_EVENTS]
    if not version.room_id_is_create_hash:
        return stripped_state.prune([item for item in room_state if _may_belong(item, room_id, version)])
    if len(dump(room_state)) > MAX_STATE_BYTES:
        raise InvalidParam("invite_room_state is too large")
    found = await incoming.check_pdus(ctx, room_state, version, room_id=room_id)
    events = [event for event in found if isinstance(event, Event)]
    if len(events) < len(found):
        fault = next(event for event in found if isinstance(event, str))
        raise InvalidParam(f"invite_room_state holds what is no event of the room: {fault}")
    if not any(event.type == "m.room.create" and event.state_key == "" for event in events):
        raise InvalidParam("invite_room_state holds no m.room.create")
    return stripped_state.prune([stripped_state.strip(event) for event in events if event.is_state])


def _may_belong(item: Any, room_id: RoomId, version: RoomVersion) -> bool:
    if not isinstance(item, dict) or item.get("room_id", room_id) != room_id:
        return False
    try:
        check(item, version.strict_canonical_json)
    except MatrixError:
        return False
    return True


def _record(ctx: Context, event: Event, target: UserId, stripped: list[Stripped]) -> None:
    invite = stripped_state.named(event)
    told = [item for item in stripped if (item["type"], item["state_key"]) != (invite["type"], invite["state_key"])]
    with ctx.db.batch() as batch:
        members.record(
            batch, event.room_id, target, "invite", count=batch.next_count(), event=0, stripped=[*told, invite]
        )
        batch.wake(("user", target))
        batch.wake(("room", event.room_id))


# --- taken back ----------------------------------------------------------------------------------------------------


async def rescind(ctx: Context, origin: ServerName, pdu: Any) -> EventId | None:
    """Let an invite to, or a knock on, a room that this server is not in come to nothing, by a leave or ban of the user that another server has sent.

    Returns the id of the event, or `None` if it was none such. The servers of those named in what the user was told of the room are believed, the inviter's among them. Others, of whom nothing is known,
    only if the event cites the very invite: every kick and ban does so, and who is not in the room cannot know its id. Raises nothing for a bad event.
    """
    if not isinstance(pdu, dict):
        return None
    room_id, target, sender = pdu.get("room_id"), pdu.get("state_key"), pdu.get("sender")
    if (
        not (isinstance(room_id, str) and is_user_id(target) and is_user_id(sender))
        or pdu.get("type") != "m.room.member"
    ):
        return None
    room, user_id = RoomId(room_id), UserId(str(target))
    if not _waits_outside(ctx, room, user_id) or server_name_of(str(sender)) != origin:
        return None
    version = told_version(ctx, room, user_id)
    if version is None or not (_is_told_of(ctx, room, user_id, origin) or version.event_ids_are_hashes):
        return None
    try:
        event = await incoming.check_pdu(ctx, pdu, version, room_id=room)
    except MatrixError as error:
        log.info("rescission_refused", room_id=room, origin=origin, reason=error.error)
        return None
    membership = event.membership
    if membership not in ("leave", "ban") or not _waits_outside(ctx, room, user_id):
        return None
    waits_by = members.waits_by(ctx.db, room, user_id)
    cites_it = waits_by is not None and waits_by.event_id in event.auth_events
    if not (cites_it or _is_told_of(ctx, room, user_id, origin)):
        return None
    if waits_by is not None and not cites_it and event.depth < waits_by.depth:
        # It ended an earlier invite, or a ban: events of before may arrive late, as an invite does not wait for them.
        return None
    with ctx.db.batch() as batch:
        members.record(
            batch, room, user_id, membership, count=batch.next_count(), event=0, stripped=[stripped_state.shown(event)]
        )
        batch.wake(("user", user_id))
        batch.wake(("room", room))
    return event.event_id


def _waits_outside(ctx: Context, room_id: RoomId, user_id: UserId) -> bool:
    """Tell whether a local user is invited to, or knocks on, a room that this server is not in."""
    if server_name_of(user_id) != ctx.server_name or members.membership(ctx.db, room_id, user_id) not in (
        "invite",
        "knock",
    ):
        return False
    return not members.joined_local(ctx.db, room_id, ctx.server_name) and not partial.is_partial(ctx.db, room_id)


def _told(ctx: Context, room_id: RoomId, user_id: UserId) -> list[Stripped]:
    return members.invite_state(ctx.db, room_id, user_id) or members.knock_state(ctx.db, room_id, user_id)


def _is_told_of(ctx: Context, room_id: RoomId, user_id: UserId, server: ServerName) -> bool:
    """Tell whether somebody of the server, by what the user was told, made the room what it is or invited them."""
    return any(server_name_of(item["sender"]) == server for item in _told(ctx, room_id, user_id))


def told_version(ctx: Context, room_id: RoomId, user_id: UserId) -> RoomVersion | None:
    """Return the version of a room that a local user is invited to or knocks on: the one of that event, or by the `m.room.create` that they were told of; `None` if it is not known."""
    waits_by = members.waits_by(ctx.db, room_id, user_id)
    if waits_by is not None and waits_by.room_version is not None:
        return ROOM_VERSIONS.get(waits_by.room_version)
    for item in _told(ctx, room_id, user_id):
        if item["type"] == "m.room.create":
            named = item["content"].get("room_version", "1")
            return ROOM_VERSIONS.get(named) if isinstance(named, str) else None
    return None
