"""Join a room, of this server or of others. Source: client-server API, "Joining rooms" and "Restricted rooms"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden, GuestAccessForbidden, MatrixError
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.service import events
from conduit.service.actions import membership, restricted
from conduit.service.actions.carry_over import carry_over, move_names, predecessor_of
from conduit.service.actions.expel_guests import expel_guests
from conduit.service.context import Context
from conduit.service.events import remote_join
from conduit.service.outbound.errors import Refused, RemoteError
from conduit.service.rooms import members, partial, state

WHOLE_SECONDS = 1.0
"""For how long the answer to a join waits for the members of a room: of a small one they are known by then."""
KNOWN_SECONDS = 5.0
"""For how long a further user's join waits for them. After that another server is asked to let the user in."""


async def join(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    *,
    via: Sequence[ServerName] = (),
    is_guest: bool = False,
    guests_welcome: bool = False,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> EventId:
    """Join `user_id` to a room and return the id of the member event; `extra` is further content for it, `via` names servers that are in the room.

    `guests_welcome` says that guests may enter the room if it is elsewhere, as somebody there has told; whether that is so is seen once inside.

    Who is joined already and gives neither `reason` nor `extra` stays as they are. Raises `NotFound` for a room that nobody is known to be in,
    `Forbidden` for all that the room's rules refuse, and what other servers say where they are asked.
    """
    membership.require_open(ctx, room_id)
    before = members.membership(ctx.db, room_id, user_id)
    if before == "join" and not reason and not extra:
        event_id = state.current_id(ctx.db, room_id, "m.room.member", user_id)
        assert event_id is not None, "members and state agree"
        return event_id

    entering = not membership.is_here(ctx, room_id)

    def settle(batch: Batch, event: Event) -> None:
        if before != "join":
            carry_over(batch, user_id, room_id)
        old = predecessor_of(batch, room_id) if entering else None
        if old is not None:
            # Who has upgraded the room has moved the aliases of their own server; ours follow when we do.
            move_names(batch, old, room_id)

    content = membership.content_of(ctx.db, user_id, "join", reason=reason, extra=extra)
    if _is_elsewhere(ctx, room_id, via):
        if is_guest and not guests_welcome:
            raise GuestAccessForbidden("Guests may not join this room")
        event = await _enter(ctx, user_id, room_id, content, via, settle)
        if event is not None and is_guest:
            await expel_guests(ctx, room_id)
            membership.require_guest_access(ctx.db, room_id)
        if event is not None:
            return event.event_id
    if is_guest:
        membership.require_guest_access(ctx.db, room_id)
    event = await _join_here(ctx, user_id, room_id, content, via, settle, is_in=before == "join")
    return event.event_id


async def _enter(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    content: dict[str, Any],
    via: Sequence[ServerName],
    settle: Callable[[Batch, Event], None],
) -> Event | None:
    """Join a room that is elsewhere, through a server in it; `None` if the room is here after all."""
    failures: list[RemoteError] = []
    async with ctx.locks.entry(room_id):
        if not _is_elsewhere(ctx, room_id, via):
            return None
        servers = membership.servers_for(ctx, room_id, user_id, via)
        try:
            event = await remote_join.join_room(
                ctx, user_id, room_id, servers, content, settle=settle, failures=failures
            )
        except MatrixError:
            if not _is_nowhere_else(ctx, room_id, failures):
                raise
            return None
    await partial.whole(ctx.db, room_id, WHOLE_SECONDS)
    return event


def _is_elsewhere(ctx: Context, room_id: RoomId, via: Sequence[ServerName]) -> bool:
    return not membership.is_here(ctx, room_id) or membership.may_go_on_elsewhere(ctx, room_id, via)


def _is_nowhere_else(ctx: Context, room_id: RoomId, failures: list[RemoteError]) -> bool:
    """Tell whether a room that everybody had left is known to nobody else: each server has said so; of a room that others never were in, silence is enough."""
    if not membership.is_here(ctx, room_id):
        return False
    was_ours = not membership.past_servers(ctx, room_id)
    return all(error.status == 404 if isinstance(error, Refused) else was_ours for error in failures)


async def _join_here(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    content: dict[str, Any],
    via: Sequence[ServerName],
    settle: Callable[[Batch, Event], None],
    *,
    is_in: bool,
) -> Event:
    """Join a room that this server is in; through another server if it cannot let the user in by itself. `is_in` says that the user is joined already."""
    voucher = None
    # While not all members are known, others know whether the user is banned.
    goes_elsewhere = not is_in and not await partial.whole(ctx.db, room_id, KNOWN_SECONDS)
    if not goes_elsewhere and restricted.needs_voucher(ctx.db, room_id, user_id, state.version_of(ctx.db, room_id)):
        voucher = _voucher(ctx, room_id, user_id)
        goes_elsewhere = voucher is None
    if goes_elsewhere:
        event = await _let_in_elsewhere(ctx, user_id, room_id, content, via)
        with ctx.db.batch() as batch:
            settle(batch, event)
        return event
    if voucher is not None:
        content["join_authorised_via_users_server"] = voucher
    return await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id, extra=settle)


async def _let_in_elsewhere(
    ctx: Context, user_id: UserId, room_id: RoomId, content: dict[str, Any], via: Sequence[ServerName]
) -> Event:
    """Join a room that this server is in, but in which it cannot let anybody in, through another server."""
    async with ctx.locks.entry(room_id):
        servers = membership.servers_for(ctx, room_id, user_id, via)
        if not [server for server in servers if server != ctx.server_name]:
            raise Forbidden("Nobody in the room may let you in")
        return await remote_join.join_through(ctx, user_id, room_id, servers, content)


def _voucher(ctx: Context, room_id: RoomId, user_id: UserId) -> UserId | None:
    """Return the local member in whose name a restricted join is granted; `None` if nobody here may. Raises `Forbidden` where no condition is met."""
    if not restricted.meets_condition(ctx.db, room_id, user_id):
        raise Forbidden("You are in none of the rooms whose members may join this room")
    return restricted.find_voucher(ctx.db, ctx.server_name, room_id)
