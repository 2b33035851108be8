"""The resident server's part when others change their membership: templates for joins, knocks and leaves, and what comes back signed.

A template is a service, and nothing that comes back is taken to be one that was given out: it is judged like any event, and must be about the server's own user, in
the room and with the id that the request names.

Source: server-server API, "Joining Rooms", "Restricted rooms", "Knocking upon a room", "Leaving Rooms".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.protocol import hashes
from conduit.protocol.errors import Forbidden, IncompatibleRoomVersion, InvalidParam, MatrixError, NotFound
from conduit.protocol.event_format import check_format
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit.protocol.pdu import Event, countersign
from conduit.protocol.room_versions import RoomVersion
from conduit.service.actions import restricted
from conduit.service.context import Context
from conduit.service.events import authorise, build, incoming, receive
from conduit.service.events.receive import Verdict
from conduit.service.rooms import members, partial, server_access, state, timeline

Json = dict[str, Any]


def require_resident(ctx: Context, origin: ServerName, room_id: RoomId, *, or_former: bool = False) -> RoomVersion:
    """Return the version of a room of which a server asks something.

    Raises `NotFound` for a room that nobody of this server is in, with `or_former` only if nobody ever was, and
    `Forbidden` for a blocked one and for servers that its access control list shuts out.
    """
    source = ctx.db
    if server_access.is_blocked(source, room_id):
        raise Forbidden("This server takes no part in the room")
    is_in = or_former or members.joined_local(source, room_id, ctx.server_name)
    if not state.exists(source, room_id) or not is_in:
        raise NotFound("This server is not in the room")
    server_access.require(source, room_id, origin)
    return state.version_of(source, room_id)


def require_whole(ctx: Context, room_id: RoomId) -> None:
    """Raise `NotFound` for a room of which this server does not know all members yet: it cannot tell others about it, nor who is banned."""
    if partial.is_partial(ctx.db, room_id):
        raise NotFound("This server has only just joined the room")


# --- templates -----------------------------------------------------------------------------------------------------


def template(
    ctx: Context,
    origin: ServerName,
    room_id: RoomId,
    user_id: UserId,
    membership: str,
    spoken: Sequence[str] | None = None,
) -> Json:
    """Return the answer to `make_join`, `make_knock` or `make_leave`: the room's version, and an unsigned event that would be accepted now.

    `spoken` are the room versions that the asking server speaks. Raises what `require_resident` does, `IncompatibleRoomVersion`, `Forbidden` for others' users and
    for what the room's rules refuse; for restricted rooms also `UnableToAuthoriseJoin` and `UnableToGrantJoin`.
    """
    version = require_resident(ctx, origin, room_id)
    if server_name_of(user_id) != origin:
        raise Forbidden("The user is not one of your server")
    if spoken is not None and version.id not in spoken:
        raise IncompatibleRoomVersion("Your server does not speak the room's version", room_version=version.id)
    content: Json = {"membership": membership}
    if membership != "leave" or state.current_id(ctx.db, room_id, "m.room.member", user_id) is None:
        require_whole(ctx, room_id)
    if membership == "join" and restricted.needs_voucher(ctx.db, room_id, user_id, version):
        # Who is banned is told so, whatever the conditions say.
        _require_not_banned(ctx, room_id, user_id)
        restricted.check_conditions(ctx.db, ctx.server_name, room_id, user_id)
        content["join_authorised_via_users_server"] = restricted.voucher(ctx.db, ctx.server_name, room_id)
    pdu = build.draft(ctx, ctx.db, room_id, version, user_id, "m.room.member", content, state_key=user_id)
    pdu["origin"] = ctx.server_name
    judged = pdu if version.event_ids_are_hashes else {**pdu, "event_id": f"$template:{ctx.server_name}"}
    authorise.authorise(ctx.db, Event.from_pdu(judged, version))
    return {"room_version": version.id, "event": pdu}


def _require_not_banned(ctx: Context, room_id: RoomId, user_id: UserId) -> None:
    if members.membership(ctx.db, room_id, user_id) == "ban":
        raise Forbidden("The user is banned from the room")


# --- what comes back -----------------------------------------------------------------------------------------------


async def accept(
    ctx: Context, origin: ServerName, room_id: RoomId, event_id: EventId, pdu: Json, membership: str
) -> Event:
    """Take the signed event of a `send_join`, `send_knock` or `send_leave` into the room, tell its other servers of it, and return it as it was accepted.

    A join is countersigned. Doing it again returns the same. Raises what `template` does; `Forbidden` also for an event that is not signed, or that the room refuses,
    `BadJson`, `TooLarge` or `InvalidParam` for one that is none, or another than the request names.
    """
    version = require_resident(ctx, origin, room_id)
    event = read_own(pdu, version, origin, room_id, event_id, membership)
    if event.state_key != event.sender:
        raise InvalidParam("The state key is not the sender")
    if membership != "leave":
        require_whole(ctx, room_id)
    if membership == "join":
        _check_voucher(ctx, event)
        event = countersign(event, ctx.server_name, ctx.signing_key)
    event = await _verified(ctx, event, version, room_id)
    if timeline.position(ctx.db, event.event_id) is None and not partial.is_partial(ctx.db, room_id):
        # What the room refuses now would not be shown whatever it builds on: nothing of it need be kept.
        authorise.authorise(ctx.db, event)
    outcome = await receive.process(ctx, origin, event, relay=True)
    if outcome.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise Forbidden(outcome.reason or "The room's rules do not allow it")
    known = timeline.event(ctx.db, event.event_id)
    if known is None or timeline.position(ctx.db, event.event_id) is None:
        raise Forbidden("The event was refused before")
    return known


def read_own(
    pdu: Json, version: RoomVersion, origin: ServerName, room_id: RoomId, event_id: EventId, membership: str
) -> Event:
    """Return the event that a server sends about a user of its own, after all checks of its shape; its signature is still to be verified.

    It must be the change of membership, the room and the event that the request names (CVE-2020-26257).
    """
    signatures, hashed = pdu.get("signatures"), pdu.get("hashes")
    if not isinstance(signatures, dict) or not isinstance(signatures.get(origin), dict) or not isinstance(hashed, dict):
        raise Forbidden("The event is not hashed and signed by your server")
    check_format(pdu, version)
    if pdu["type"] != "m.room.member" or pdu["content"].get("membership") != membership or "state_key" not in pdu:
        raise InvalidParam(f"The event does not have the membership '{membership}'")
    if server_name_of(pdu["sender"]) != origin:
        raise Forbidden("The sender is not a user of your server")
    event = Event.from_pdu(pdu, version)
    if event.room_id != room_id:
        raise InvalidParam("The event belongs to another room than the request")
    if event.event_id != event_id:
        raise InvalidParam("The event has another ID than the request")
    if not hashes.has_valid_content_hash(event.pdu):
        raise InvalidParam("The event's content does not have the hash that it says")
    return event


def _check_voucher(ctx: Context, event: Event) -> None:
    """Raise unless this server grants what a join says that it grants."""
    room_id, user_id = event.room_id, UserId(event.sender)
    voucher = event.content.get("join_authorised_via_users_server")
    if voucher is None or not event.version.restricted_joins:
        return
    if not isinstance(voucher, str) or server_name_of(voucher) != ctx.server_name:
        raise InvalidParam("Only the server of the user who authorises a join can accept it")
    if restricted.needs_voucher(ctx.db, room_id, user_id, event.version):
        _require_not_banned(ctx, room_id, user_id)
        restricted.check_conditions(ctx.db, ctx.server_name, room_id, user_id)
    restricted.check_voucher(ctx.db, ctx.server_name, room_id, voucher)


async def _verified(ctx: Context, event: Event, version: RoomVersion, room_id: RoomId) -> Event:
    try:
        checked = await incoming.check_pdu(ctx, event.pdu, version, room_id=room_id)
    except MatrixError as error:
        raise Forbidden(f"The event is not validly signed: {error.error}") from error
    return checked
