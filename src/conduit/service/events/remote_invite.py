"""Inviting a user of another server: that server sees the invite and signs it before it becomes part of the room.

Source: server-server API, "Inviting to a room".
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.canonical_json import check, loads
from conduit.protocol.errors import Forbidden, MatrixError, UnsupportedRoomVersion
from conduit.protocol.event_format import check_format
from conduit.protocol.ids import RoomId, ServerName, UserId, server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.redaction import redact
from conduit.service.context import Context
from conduit.service.events import authorise, handshake, policy, receive
from conduit.service.events.build import build
from conduit.service.events.receive import Verdict
from conduit.service.outbound.errors import Refused, RemoteError, Unreachable
from conduit.service.rooms import state, stripped_state, versions

INVITE_SECONDS = 60.0
_MAX_ANSWER = 2 << 20
_MAX_SIGNATURES = 10
_OLD = ("1", "2")
_OTHER_VERSION = ("M_INCOMPATIBLE_ROOM_VERSION", "M_UNSUPPORTED_ROOM_VERSION")
"""How servers call it that they do not speak the room's version; clients are told the second."""


async def send(ctx: Context, room_id: RoomId, sender: UserId, target: UserId, content: dict[str, Any]) -> Event:
    """Invite `target`, who is of another server, and return the invite; the same once more changes nothing.

    Raises `Forbidden` for what the room's rules refuse, and what the other server says, in words for the client.
    """
    async with ctx.locks.room(room_id):
        version = versions.version_of(ctx.db, room_id)
        authorise.check_content(ctx, "m.room.member", target, content)
        known = authorise.is_current(ctx.db, room_id, sender, "m.room.member", target, content)
        if known is not None:
            return known
        event = build(ctx, ctx.db, room_id, version, sender, "m.room.member", content, state_key=target)
        authorise.authorise(ctx.db, event)
        told = _told(ctx, event)
    event = await policy.require(ctx, event)
    server = server_name_of(target)
    try:
        event = await countersigned(ctx, server, event, told)
    except RemoteError as error:
        if isinstance(error, Refused) and error.errcode in _OTHER_VERSION:
            raise UnsupportedRoomVersion(
                error.error or "The user's server does not speak the room's version"
            ) from error
        raise handshake.verdict([error]) from error
    outcome = await receive.process(ctx, ctx.server_name, event, relay=True)
    if outcome.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise Forbidden(outcome.reason)
    return event


def _told(ctx: Context, event: Event) -> list[Event]:
    """Return the events that tell the invited user what room it is, the create event first."""
    keys = [(event_type, "") for event_type in stripped_state.TYPES]
    keys.append(("m.room.member", event.sender))
    found = (state.current(ctx.db, event.room_id, *key) for key in keys)
    return [known for known in found if known is not None]


async def countersigned(ctx: Context, server: ServerName, event: Event, told: list[Event]) -> Event:
    """Return an invite with the signature of the invited user's server added.

    Raises a `RemoteError`, and `BadJson` for an invite that comes back as no event of the room's version can be written.
    """
    federation = ctx.outbound.federation
    target = federation.path("/_matrix/federation/v2/invite", event.room_id, event.event_id)
    room_state = [known.pdu for known in told]
    body = {"room_version": event.version.id, "event": event.pdu, "invite_room_state": room_state}
    try:
        answer = await federation.put(server, target, body, seconds=INVITE_SECONDS, max_bytes=_MAX_ANSWER, now=True)
        if event.version.strict_canonical_json:
            check(answer.get("event"))
    except Refused as refused:
        if event.version.id not in _OLD or refused.status not in (400, 404):
            raise
        answer = await _by_old_form(ctx, server, event, room_state)
    return await _with_signature(ctx, server, event, answer.get("event"))


async def _by_old_form(
    ctx: Context, server: ServerName, event: Event, room_state: list[dict[str, Any]]
) -> dict[str, Any]:
    federation = ctx.outbound.federation
    target = federation.path("/_matrix/federation/v1/invite", event.room_id, event.event_id)
    answer = await federation.exchange(
        "PUT",
        server,
        target,
        {**event.pdu, "unsigned": {"invite_room_state": room_state}},
        seconds=INVITE_SECONDS,
        max_bytes=_MAX_ANSWER,
        now=True,
    )
    try:
        value = loads(answer.body, strict=False)
    except MatrixError as error:
        raise Unreachable(server, f"its answer is not understood: {error.error}") from error
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict):
        return value[1]
    raise Unreachable(server, "its answer is not understood")


async def _with_signature(ctx: Context, server: ServerName, event: Event, theirs: object) -> Event:
    """Return our event with their signature, and nothing else of what they sent back."""
    signatures = theirs.get("signatures") if isinstance(theirs, dict) else None
    entry = signatures.get(server) if isinstance(signatures, dict) else None
    if not isinstance(entry, dict) or len(entry) > _MAX_SIGNATURES:
        raise Unreachable(server, "it has not signed the invite")
    texts = {key_id: signature for key_id, signature in entry.items() if isinstance(signature, str)}
    merged = {**event.pdu["signatures"], server: texts}
    signed = Event(event.event_id, {**event.pdu, "signatures": merged}, event.version)
    try:
        # What stands beside the signature could make it too large for the rest of the room.
        check_format(signed.pdu, event.version)
        await ctx.outbound.keyring.verify_json(
            server, redact(signed.pdu, event.version), valid_at_ms=event.origin_server_ts
        )
    except MatrixError as error:
        raise Unreachable(server, f"it has not signed the invite: {error.error}") from error
    return signed
