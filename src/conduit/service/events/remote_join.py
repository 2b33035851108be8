"""Joining a room through another server: the handshake, the checks of its answer, and showing the room.

Nothing is written of the room before the answer as a whole, or of a large one its core (`core_state`), has been found good, but for the note that a signed join is
under way (`intents`). Where members are left out, by the other server or here, the room is shown as it is known (`rooms.partial`) and completed later.

Source: server-server API, "Joining Rooms", "Restricted rooms"; client-server API, "Joining rooms".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson
import structlog

from conduit.database.database import Batch
from conduit.protocol import event_auth
from conduit.protocol.errors import Forbidden, MatrixError
from conduit.protocol.ids import RoomId, ServerName, UserId, is_server_name
from conduit.protocol.json_pieces import pieces
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import version_of_create
from conduit.protocol.signing import with_signature
from conduit.service.context import Context
from conduit.service.events import (
    complete_room,
    core_state,
    foreign_state,
    handshake,
    import_room,
    incoming,
    intents,
    receive,
)
from conduit.service.events.accept import accept
from conduit.service.events.foreign_state import Answer
from conduit.service.events.intents import Intent
from conduit.service.events.receive import Verdict
from conduit.service.outbound.errors import Refused, RemoteError, Unreachable
from conduit.service.rooms import leaves, members, partial, state, timeline, versions
from conduit.service.rooms.partial import Partial

log = structlog.get_logger(__name__)

JOIN_SECONDS = 300.0
"""How long another server may take to gather a room's state."""
KEYS_SECONDS = 10.0
"""How long the keys of the room's servers are waited for before its events are looked at; those of the dead take longer."""
MAX_ROOM_SERVERS = 20_000
LARGE = 2 << 20
"""Of an answer of more bytes than these the members wait, as they do where the other server leaves them out."""
_V1_ANSWER = re.compile(rb"\s*\[\s*200\s*,\s*(\{.*\})\s*\]\s*", re.DOTALL)

Settle = Callable[[Batch, Event], None]


class Joined(NamedTuple):
    """What came of a handshake: our event as it stands in the room now, and the answer that came with it.

    `told` is the answer as it came, if only a part of it has been looked at.
    """

    event: Event
    answer: Answer
    server: ServerName
    told: bytes = b""


async def join_room(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    servers: Iterable[ServerName],
    content: dict[str, Any],
    *,
    settle: Settle,
    failures: list[RemoteError] | None = None,
) -> Event:
    """Join a room that no user of this server is in, through one of `servers`; return the join. Held: the room's `entry` lock.

    `settle` writes what belongs to the deed into the last batch; why servers did not help is added to `failures`. Raises a `MatrixError` in words for the client.
    """

    async def attempt(server: ServerName) -> Event:
        joined = await _shake_hands(ctx, server, user_id, room_id, content)
        try:
            return await _take_over(ctx, joined, settle)
        except RemoteError:
            await take_back(ctx, room_id, user_id)
            raise

    nobody = "No server is known that is in this room"
    return await handshake.in_turn(ctx, servers, attempt, nobody=nobody, failures=failures)


async def join_through(
    ctx: Context, user_id: UserId, room_id: RoomId, servers: Iterable[ServerName], content: dict[str, Any]
) -> Event:
    """Have another server let a user into a room that this server is in: it may vouch for a restricted join. Return the join.

    Held: the room's `entry` lock. Of the answer only the join is taken; the room's state is known. Raises a `MatrixError` in words for the client.
    """

    async def attempt(server: ServerName) -> Event:
        event = (await _shake_hands(ctx, server, user_id, room_id, content)).event
        await _receive(ctx, server, event)
        return event

    return await handshake.in_turn(ctx, servers, attempt, nobody="No other server is in this room")


async def _receive(ctx: Context, server: ServerName, event: Event) -> None:
    """Put a join that another server has taken into a room that is known here."""
    outcome = await receive.process(ctx, server, event)
    with ctx.db.batch() as batch:
        intents.end(batch, event.room_id, UserId(event.sender))
    if outcome.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise Forbidden(outcome.reason)


async def _shake_hands(
    ctx: Context, server: ServerName, user_id: UserId, room_id: RoomId, content: dict[str, Any]
) -> Joined:
    template = await handshake.ask(ctx, server, "join", room_id, user_id)
    known = versions.find(ctx.db, room_id)
    if known is not None and known is not template.version:
        raise Unreachable(server, "its template is of another room version than the room's")
    event = handshake.build(ctx, template, room_id, user_id, content)
    with ctx.db.batch() as batch:
        intents.begin(batch, Intent(room_id, user_id, "join", server, event))
    await ctx.db.durable()
    try:
        body = await send(ctx, server, event)
    except Refused:
        with ctx.db.batch() as batch:
            intents.end(batch, room_id, user_id)
        raise
    except RemoteError:
        await take_back(ctx, room_id, user_id)  # it may have arrived all the same
        raise
    try:
        return await _read(ctx, server, event, body)
    except RemoteError:
        await take_back(ctx, room_id, user_id)
        raise


async def resume(ctx: Context, intent: Intent) -> None:
    """Send a join once more, whose answer was lost with the process, and show the room. Raises a `RemoteError`. Held: the room's `entry` lock."""
    body = await send(ctx, intent.server, intent.event)
    joined = await _read(ctx, intent.server, intent.event, body)
    if members.joined_local(ctx.db, intent.room_id, ctx.server_name):
        await _receive(ctx, intent.server, joined.event)
    else:
        await _take_over(ctx, joined, lambda batch, event: None)


async def send(ctx: Context, server: ServerName, event: Event) -> bytes:
    """Send our join to `server` and return its answer, a JSON object; raises a `RemoteError`."""
    federation = ctx.outbound.federation
    for version in ("v2", "v1"):
        target = federation.path(f"/_matrix/federation/{version}/send_join", event.room_id, event.event_id)
        if version == "v2":
            target += "?omit_members=true"
        try:
            answer = await federation.exchange(
                "PUT",
                server,
                target,
                event.federation(),
                seconds=JOIN_SECONDS,
                max_bytes=foreign_state.MAX_BYTES,
                now=True,
            )
        except Refused as refused:
            if version == "v2" and refused.is_unrecognised:
                continue
            raise
        if version == "v2":
            return answer.body
        match = _V1_ANSWER.fullmatch(answer.body)
        if match is None:
            raise Unreachable(server, "its answer is not understood")
        return match[1]
    raise Unreachable(server, "it knows no send_join")


async def _read(ctx: Context, server: ServerName, event: Event, body: bytes) -> Joined:
    """Return the checked answer with the rules applied to each event, and our join as the other server has signed it.

    Of a large answer that holds all members only the core.
    """
    told = b""
    try:
        core = await core_state.parts_of(body, complete_room.JOIN_ARRAYS, event) if len(body) > LARGE else None
        if core is None:
            await ctx.outbound.keyring.prefetch(body, seconds=KEYS_SECONDS)
            parts = pieces(body, complete_room.JOIN_ARRAYS)
        else:
            told = body
            await ctx.outbound.keyring.prefetch(orjson.dumps([value for _, value in core]), seconds=KEYS_SECONDS)
            parts = iter(core)
        del body
        answer = await foreign_state.read(ctx, event.version, event.room_id, parts, complete_room.JOIN_ARRAYS)
        create = foreign_state.create_of(answer, "state")
        if create is None or version_of_create(create.content) is not event.version:
            raise Unreachable(server, "its answer holds no create event of the room")
    except MatrixError as error:
        raise Unreachable(server, f"its answer is not understood: {error.error}") from error
    await foreign_state.judge(ctx.db, answer, create)
    if create.event_id in answer.rejected:
        raise Unreachable(server, "the room's create event breaks the rules")
    event = await _countersigned(ctx, server, event, answer.others.get("event"))
    return Joined(event, answer, server, told)


async def _countersigned(ctx: Context, server: ServerName, event: Event, theirs: object) -> Event:
    """Return our event with the signatures that the other server has added to it. Nothing else of theirs is taken."""
    signatures = event.pdu["signatures"]
    added = theirs.get("signatures") if isinstance(theirs, dict) else None
    if isinstance(added, dict):
        for signer, entry in list(added.items())[:10]:
            if signer == ctx.server_name or not isinstance(entry, dict):
                continue
            for key_id, signature in list(entry.items())[:10]:
                if isinstance(key_id, str) and isinstance(signature, str):
                    signatures = with_signature(signatures, signer, key_id, signature)
    if "join_authorised_via_users_server" not in event.content:
        return event
    pdu = {**event.pdu, "signatures": signatures}
    checked = (await incoming.check_pdus(ctx, [pdu], event.version, room_id=event.room_id))[0]
    if isinstance(checked, str):
        raise Unreachable(server, f"it has not vouched for the join: {checked}")
    return checked


async def _take_over(ctx: Context, joined: Joined, settle: Settle) -> Event:
    """Store the room and show it, with the join as its newest event."""
    event, answer, server, told = joined
    room_id = event.room_id
    entries = await foreign_state.as_state(answer, "state")
    _authorise(ctx, joined, entries)
    is_partial = answer.others.get("members_omitted") is True
    await import_room.stage_events(ctx, answer)
    number, shorts = await import_room.stage_state(ctx, entries)
    async with ctx.locks.room(room_id):
        if timeline.position(ctx.db, event.event_id) is not None:
            raise Unreachable(server, "it has answered with an event that was there before")
        changes = await import_room.changes_to(ctx, room_id, shorts, answer)
        own = await import_room.settle(ctx, room_id, changes)
        with ctx.db.batch() as batch:
            versions.remember(batch, room_id, event.version)
            import_room.show(ctx, batch, room_id, number, own)
            state.know_whole(batch, room_id, entries)
            gap = event.prev_events if timeline.last_position(batch, room_id) is not None else ()
            leaves.clear(batch, room_id)
            if is_partial:
                partial.begin(batch, room_id, _partial(ctx, joined))
            elif partial.is_partial(batch, room_id):
                partial.end(batch, room_id)
            accept(ctx, batch, event, state_before=number, gap=gap, announced=True)
            intents.end(batch, room_id, UserId(event.sender))
            settle(batch, event)
    if is_partial:
        ctx.tasks.spawn(complete_room.complete(ctx, room_id, told), name="members of a room")
    log.info(
        "room_joined",
        room_id=room_id,
        server=server,
        events=len(answer.events),
        state=len(entries),
        rejected=len(answer.rejected),
        refused=answer.refused,
        partial=is_partial,
    )
    return event


def _authorise(ctx: Context, joined: Joined, entries: import_room.StateMap) -> None:
    """Raise `Unreachable` unless the join is allowed by the events that it cites, and by the state that it is to stand on."""
    event, answer, server, _ = joined
    create = answer.accepted(entries[("m.room.create", "")])
    assert create is not None, "it has been judged"
    cited = [answer.accepted(auth) or foreign_state.known(ctx.db, event.room_id, auth) for auth in event.auth_events]
    fault = (
        "an auth event is missing"
        if None in cited
        else foreign_state.fault(event, [auth for auth in cited if auth is not None], create)
    )

    # Who vouches for a restricted join may be among the members that were left out. The rest of the state comes later, and is judged then.
    left_out = answer.others.get("members_omitted") is True
    vouching = {
        auth.state_key: auth for auth in cited if left_out and auth is not None and auth.type == "m.room.member"
    }

    def current(event_type: str, state_key: str) -> Event | None:
        event_id = entries.get((event_type, state_key))
        if event_id is None:
            return vouching.get(state_key) if event_type == "m.room.member" else None
        return answer.accepted(event_id)

    if fault is None:
        try:
            event_auth.authorise(event, event.version, current)
        except Forbidden as error:
            fault = error.error
    if fault is not None:
        raise Unreachable(server, f"the state that it tells does not allow the join: {fault}")


def _partial(ctx: Context, joined: Joined) -> Partial:
    named = joined.answer.others.get("servers_in_room")
    servers = {joined.server}
    for name in named[:MAX_ROOM_SERVERS] if isinstance(named, list) else ():
        if isinstance(name, str) and is_server_name(name) and name != ctx.server_name:
            servers.add(ServerName(name))
    return Partial(joined.event.event_id, frozenset(servers), (joined.server,))


async def take_back(ctx: Context, room_id: RoomId, user_id: UserId) -> None:
    """Let a join that may have arrived be followed by a leave, unless another join takes its place: the intent says so from now on."""
    with ctx.db.batch() as batch:
        intent = intents.find(batch, room_id, user_id)
        if intent is None or members.is_joined(batch, room_id, user_id):
            intents.end(batch, room_id, user_id)
            return
        intents.begin(batch, intent._replace(undo=True))
        import_room.discard(batch, room_id)
        batch.wake(("intents", ""))
