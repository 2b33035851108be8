"""Join a room of this server. Source: client-server API, "Joining rooms" and "Restricted rooms"."""

from __future__ import annotations

from typing import Any

from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId, is_room_id
from conduit.protocol.pdu import Event
from conduit.service import events
from conduit.service.actions import membership
from conduit.service.actions.carry_over import carry_over
from conduit.service.context import Context
from conduit.service.rooms import members, state

MAX_CONDITIONS = 100
"""How many rooms a restricted room may name; further ones are not looked at."""


async def join(
    ctx: Context,
    user_id: UserId,
    room_id: RoomId,
    *,
    is_guest: bool = False,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> EventId:
    """Join `user_id` to a room and return the id of the member event; `extra` is further content for it.

    Who is joined already and gives neither `reason` nor `extra` stays as they are. Raises `NotFound` for an unknown room and `Forbidden`
    for all that the room's rules refuse.
    """
    membership.require_reachable(ctx, room_id)
    before = members.membership(ctx.db, room_id, user_id)
    if before == "join" and not reason and not extra:
        event_id = state.current_id(ctx.db, room_id, "m.room.member", user_id)
        assert event_id is not None, "members and state agree"
        return event_id
    if is_guest:
        membership.require_guest_access(ctx.db, room_id)
    content = membership.content_of(ctx.db, user_id, "join", reason=reason, extra=extra)
    if before not in ("join", "invite"):
        voucher = _voucher(ctx, room_id, user_id)
        if voucher is not None:
            content["join_authorised_via_users_server"] = voucher

    def settle(batch: Batch, event: Event) -> None:
        if before != "join":
            carry_over(batch, user_id, room_id)

    event = await events.send(ctx, room_id, user_id, "m.room.member", content, state_key=user_id, extra=settle)
    return event.event_id


def _voucher(ctx: Context, room_id: RoomId, user_id: UserId) -> UserId | None:
    """Return the local member in whose name a restricted join is granted; `None` where the room is not restricted."""
    source = ctx.db
    rules = state.current(source, room_id, "m.room.join_rules")
    version = state.version_of(source, room_id)
    if rules is None or not version.restricted_joins:
        return None
    rule = rules.content.get("join_rule")
    if rule != "restricted" and not (rule == "knock_restricted" and version.knock_restricted_joins):
        return None
    if not meets_condition(source, rules.content, user_id):
        raise Forbidden("You are in none of the rooms whose members may join this room")
    voucher = _member_who_may_invite(ctx, room_id)
    if voucher is None:
        raise Forbidden("Nobody of this server may let you in")
    return voucher


def meets_condition(source: CacheSource, rules: dict[str, Any], user_id: UserId) -> bool:
    """Tell whether the user is joined to one of the rooms that the content of `m.room.join_rules` allows."""
    allow = rules.get("allow")
    if not isinstance(allow, list):
        return False
    for condition in allow[:MAX_CONDITIONS]:
        if isinstance(condition, dict) and condition.get("type") == "m.room_membership":
            other = condition.get("room_id")
            if is_room_id(other) and members.is_joined(source, RoomId(str(other)), user_id):
                return True
    return False


def _member_who_may_invite(ctx: Context, room_id: RoomId) -> UserId | None:
    levels = state.power_levels(ctx.db, room_id)
    local = members.joined_local(ctx.db, room_id, ctx.server_name)
    listed = sorted(levels.listed_users().items(), key=lambda entry: -entry[1])
    for user, level in listed:
        if level >= levels.invite and user in local:
            return UserId(user)
    if levels.named("users_default") < levels.invite:
        return None
    return next((user for user in sorted(local) if levels.user(user) >= levels.invite), None)
