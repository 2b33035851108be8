"""Leaving and knocking through another server: for rooms of which this server knows an invite, or nothing.

The event goes nowhere but to the server that helps; here only the user's membership is written, with what that server tells of the room.

Source: server-server API, "Leaving Rooms (Rejecting Invites)", "Knocking upon a room".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.context import Context
from conduit.service.events import build, handshake, incoming, intents
from conduit.service.events.intents import Intent
from conduit.service.outbound.errors import Refused, RemoteError
from conduit.service.rooms import members, stripped_state

log = structlog.get_logger(__name__)

LEAVE_SECONDS = 20.0
KNOCK_SECONDS = 60.0
_MAX_ANSWER = 2 << 20
_ANY_VERSION = ROOM_VERSIONS["10"]


async def leave(
    ctx: Context, user_id: UserId, room_id: RoomId, servers: Iterable[ServerName], content: dict[str, Any]
) -> Event | None:
    """Tell one of `servers` that the user leaves, and let the user be out whatever they say. Return the event that was sent, or `None` if none could be."""
    event = None
    for server in handshake.candidates(ctx, servers):
        try:
            event = await leave_through(ctx, server, user_id, room_id, content)
            break
        except RemoteError as error:
            log.info("server_did_not_help", server=server, reason=error.reason)
    told = stripped_state.shown(event or _unheard(ctx, user_id, room_id, content))
    with ctx.db.batch() as batch:
        record(batch, room_id, user_id, "leave", stripped=[told])
        intents.end(batch, room_id, user_id)
    return event


def _unheard(ctx: Context, user_id: UserId, room_id: RoomId, content: dict[str, Any]) -> Event:
    """Return a leave that nobody could be told of, for the user's own devices."""
    pdu = {
        "auth_events": [],
        "content": content,
        "depth": 1,
        "origin_server_ts": ctx.clock.now_ms(),
        "prev_events": [],
        "room_id": room_id,
        "sender": user_id,
        "state_key": user_id,
        "type": "m.room.member",
    }
    return build.finish(ctx, pdu, _ANY_VERSION)


async def leave_through(
    ctx: Context, server: ServerName, user_id: UserId, room_id: RoomId, content: dict[str, Any]
) -> Event:
    """Have `server` take the user's leave; return the event. Raises a `RemoteError`."""
    template = await handshake.ask(ctx, server, "leave", room_id, user_id)
    event = handshake.build(ctx, template, room_id, user_id, content)
    await _note(ctx, Intent(room_id, user_id, "leave", server, event))
    await send_leave(ctx, server, event)
    return event


async def leave_quietly(ctx: Context, server: ServerName, user_id: UserId, room_id: RoomId) -> None:
    """Take back what `server` may have of a join that came to nothing here. Raises a `RemoteError`."""
    template = await handshake.ask(ctx, server, "leave", room_id, user_id)
    await send_leave(ctx, server, handshake.build(ctx, template, room_id, user_id, {"membership": "leave"}))


async def send_leave(ctx: Context, server: ServerName, event: Event) -> None:
    """Send a leave to `server`; raises a `RemoteError`."""
    federation = ctx.outbound.federation
    for version in ("v2", "v1"):
        target = federation.path(f"/_matrix/federation/{version}/send_leave", event.room_id, event.event_id)
        try:
            await federation.exchange(
                "PUT", server, target, event.federation(), seconds=LEAVE_SECONDS, max_bytes=_MAX_ANSWER, now=True
            )
        except Refused as refused:
            if version == "v2" and refused.is_unrecognised:
                continue
            raise
        return


async def knock(
    ctx: Context, user_id: UserId, room_id: RoomId, servers: Iterable[ServerName], content: dict[str, Any]
) -> Event:
    """Knock on a room through one of `servers`; return the event. Raises a `MatrixError` in words for the client."""

    async def attempt(server: ServerName) -> Event:
        template = await handshake.ask(ctx, server, "knock", room_id, user_id)
        if not template.version.knocking:
            raise Forbidden("The room's version knows no knocking")
        event = handshake.build(ctx, template, room_id, user_id, content)
        await _note(ctx, Intent(room_id, user_id, "knock", server, event))
        try:
            await send_knock(ctx, server, event)
        except Refused:
            with ctx.db.batch() as batch:
                intents.end(batch, room_id, user_id)
            raise
        return event

    return await handshake.in_turn(ctx, servers, attempt, nobody="No server is known that is in this room")


async def send_knock(ctx: Context, server: ServerName, event: Event) -> None:
    """Send a knock to `server` and write that the user knocks, with what that server tells of the room. Raises a `RemoteError`."""
    federation = ctx.outbound.federation
    target = federation.path("/_matrix/federation/v1/send_knock", event.room_id, event.event_id)
    answer = await federation.put(
        server, target, event.federation(), seconds=KNOCK_SECONDS, max_bytes=_MAX_ANSWER, now=True
    )
    told = await _well_told(ctx, event, answer.get("knock_room_state", answer.get("knock_state_events")))
    stripped = [known for known in stripped_state.prune(told) if not _is_own(known, event)]
    with ctx.db.batch() as batch:
        user_id = UserId(event.sender)
        if not _is_answered(batch, event, user_id):
            record(batch, event.room_id, user_id, "knock", stripped=[*stripped, stripped_state.named(event)])
        intents.end(batch, event.room_id, user_id)


async def _well_told(ctx: Context, event: Event, told: object) -> list[Any]:
    """Return what the other server tells of the room; from version 12 on only signed events of the room are taken, in older ones many servers send stripped state."""
    listed = told[: stripped_state.MAX_EVENTS] if isinstance(told, list) else []
    if not event.version.room_id_is_create_hash:
        return listed
    checked = await incoming.check_pdus(ctx, listed, event.version, room_id=event.room_id)
    return [stripped_state.strip(one) for one in checked if isinstance(one, Event)]


def _is_answered(batch: Batch, knock: Event, user_id: UserId) -> bool:
    """Tell whether an invite that answers the knock has overtaken the answer to the knock itself."""
    waits_by = members.waits_by(batch, knock.room_id, user_id)
    is_invited = members.membership(batch, knock.room_id, user_id) == "invite"
    return is_invited and waits_by is not None and waits_by.depth > knock.depth


def _is_own(known: dict[str, Any], event: Event) -> bool:
    return bool(known["type"] == "m.room.member" and known["state_key"] == event.state_key)


def record(
    batch: Batch, room_id: RoomId, user_id: UserId, membership: str, *, stripped: list[dict[str, Any]] | None = None
) -> None:
    """Write a membership of a local user that the room's state, as far as it is known here, says nothing of; wake the user."""
    members.record(batch, room_id, user_id, membership, count=batch.next_count(), event=0, stripped=stripped)
    batch.wake(("user", user_id), ("room", room_id))


async def _note(ctx: Context, intent: Intent) -> None:
    with ctx.db.batch() as batch:
        intents.begin(batch, intent)
    await ctx.db.durable()
