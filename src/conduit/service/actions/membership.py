"""What all changes of membership share: the content of the member event, and who is let through at all.

The auth rules decide whether a change is allowed; here is only what they do not know: profiles, guests, blocked invites, and rooms
that this server is not in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.errors import BadJson, Forbidden, GuestAccessForbidden, InviteBlocked, Unknown
from conduit.protocol.ids import RoomId, ServerName, UserId, is_server_name, server_name_of
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.rooms import members, partial, server_access, state
from conduit.service.users import profiles

WHOLE_SECONDS = 60.0
"""For how long a deed waits that needs all members of a room."""
MAX_PAST = 10_000
"""How many people who have left a deserted room are looked at."""
MAX_PAST_SERVERS = 20
MEMBERSHIPS = frozenset({"join", "invite", "knock", "leave", "ban"})

SERVER_KEYS = frozenset({"membership", "join_authorised_via_users_server", "third_party_signed"})
"""Keys of a member event's content that a client cannot set: they are this server's word."""


def content_of(
    source: CacheSource,
    user_id: UserId,
    membership: str,
    *,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of a member event for `user_id`.

    Joins, invites and knocks carry the user's profile, unless `extra` (what the client sent) names another for this room.
    """
    content = {name: value for name, value in (extra or {}).items() if name not in SERVER_KEYS}
    for name in ("displayname", "avatar_url", "reason"):
        if not isinstance(content.get(name, ""), str | None):
            raise BadJson(f"'{name}' must be a string")
    content["membership"] = membership
    if reason is not None:
        content["reason"] = reason
    if membership in ("join", "invite", "knock"):
        return {**profiles.member_fields(source, user_id), **content}
    return content


def require_open(ctx: Context, room_id: RoomId) -> None:
    """Raise `Forbidden` for a room that the administrators of this server have closed."""
    if server_access.is_blocked(ctx.db, room_id):
        raise Forbidden("This room has been blocked on this server")


def is_here(ctx: Context, room_id: RoomId) -> bool:
    """Tell whether what happens in the room is decided here: users of this server are in it, or it was only ever this server's.

    A room that only users of this server were in stays open to them after the last has left. What is known of a room that goes on
    elsewhere without them is old: of one that everybody had left see `may_go_on_elsewhere`.
    """
    if not state.exists(ctx.db, room_id):
        return False
    return bool(members.joined_local(ctx.db, room_id, ctx.server_name)) or not members.servers(ctx.db, room_id)


def past_servers(ctx: Context, room_id: RoomId) -> list[ServerName]:
    """Return other servers that were in the room at some time, as far as is known: of its creator, and of people who have left; not more than are worth asking."""
    found: dict[ServerName, None] = {}
    create = state.current(ctx.db, room_id, "m.room.create")
    if create is not None:
        found[create.server_name] = None
    for user_id in islice(members.past_and_invited(ctx.db, room_id), MAX_PAST):
        server = server_name_of(user_id)
        if server not in found and members.was_ever_joined(ctx.db, room_id, user_id):
            found[server] = None
            if len(found) > MAX_PAST_SERVERS:
                break
    found.pop(ctx.server_name, None)
    return list(found)


def may_go_on_elsewhere(ctx: Context, room_id: RoomId, via: Sequence[ServerName] = ()) -> bool:
    """Tell whether a room that everybody has left, by what is known here, may have people in it all the same: other servers were in it, or are said to be."""
    if members.joined_local(ctx.db, room_id, ctx.server_name) or members.servers(ctx.db, room_id):
        return False
    return any(server != ctx.server_name for server in via) or bool(past_servers(ctx, room_id))


def servers_for(ctx: Context, room_id: RoomId, user_id: UserId, via: Sequence[ServerName] = ()) -> list[ServerName]:
    """Return the servers through which a user may get into a room or out of it, the likeliest first.

    That is who has invited the user, those that the client names, those that were in the room when this server was, or before, and the one that the room is named after.
    """
    membership = members.membership(ctx.db, room_id, user_id)
    told = members.invite_state if membership == "invite" else members.knock_state
    stripped = told(ctx.db, room_id, user_id)
    own = [event for event in stripped if event["type"] == "m.room.member" and event["state_key"] == user_id]
    servers = [server_name_of(event["sender"]) for event in own]
    servers += via
    servers += members.servers(ctx.db, room_id) or past_servers(ctx, room_id)
    # Who has set the room's name or made it was in the room at some time.
    servers += [server_name_of(event["sender"]) for event in stripped]
    if ":" in room_id and is_server_name(room_id.partition(":")[2]):
        servers.append(server_name_of(room_id))
    return list(dict.fromkeys(servers))


async def require_known_member(ctx: Context, room_id: RoomId, target: UserId) -> None:
    """Wait until the membership of `target` in the room is known; raises `Unknown` with status 503 when that takes too long.

    While the members of a room are still to come, who seems not to be in it may be in, or banned.
    """
    if members.is_joined(ctx.db, room_id, target) and server_name_of(target) == ctx.server_name:
        return
    if not await partial.whole(ctx.db, room_id, WHOLE_SECONDS):
        raise Unknown("The members of the room are not all known yet; try again in a while", status=503)


def require_guest_access(source: CacheSource, room_id: RoomId) -> None:
    """Raise `GuestAccessForbidden` unless guests may enter the room."""
    event = state.current(source, room_id, "m.room.guest_access")
    if event is None or event.content.get("guest_access") != "can_join":
        raise GuestAccessForbidden("Guests may not join this room")


def require_invitable(ctx: Context, user_id: UserId) -> None:
    """Raise for somebody who cannot be invited: `InviteBlocked`, or `Forbidden` for users of servers that this one does not talk with."""
    if server_name_of(user_id) != ctx.server_name:
        refusal = ctx.outbound.policy.refusal(server_name_of(user_id))
        if refusal is not None:
            raise Forbidden(f"Users of that server cannot be invited: {refusal}")
        return
    config = account_data.get(ctx.db, user_id, "", "m.invite_permission_config")
    if config is not None and config.get("default_action") == "block":
        raise InviteBlocked("This user does not accept invites")
