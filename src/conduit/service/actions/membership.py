"""What all changes of membership share: the content of the member event, and who is let through at all.

The auth rules decide whether a change is allowed; here is only what they do not know: profiles, guests, blocked invites, and rooms
that this server is not in.
"""

from __future__ import annotations

from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.errors import BadJson, Forbidden, InviteBlocked, NotFound
from conduit.protocol.ids import RoomId, UserId, server_name_of
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.rooms import members, state
from conduit.service.users import profiles

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


def require_known(source: CacheSource, room_id: RoomId) -> None:
    """Raise `Forbidden` for a room of which this server knows nothing, as for one that the caller is not in."""
    if not state.exists(source, room_id):
        raise Forbidden("You are not in this room")


def require_reachable(ctx: Context, room_id: RoomId) -> None:
    """Raise unless a join or knock can be decided here: `NotFound` for an unknown room, `Forbidden` for one elsewhere.

    A room that only users of this server were ever in stays open to them after the last has left.
    """
    if not state.exists(ctx.db, room_id):
        raise NotFound("No server is known that is in this room")
    if not members.joined_local(ctx.db, room_id, ctx.server_name) and members.servers(ctx.db, room_id):
        raise Forbidden("The room is on other servers, and this server does not federate")


def require_guest_access(source: CacheSource, room_id: RoomId) -> None:
    """Raise `Forbidden` unless guests may enter the room."""
    event = state.current(source, room_id, "m.room.guest_access")
    if event is None or event.content.get("guest_access") != "can_join":
        raise Forbidden("Guests may not join this room")


def require_invitable(ctx: Context, user_id: UserId) -> None:
    """Raise for somebody who cannot be invited: `InviteBlocked`, or `Forbidden` for users of other servers."""
    if server_name_of(user_id) != ctx.server_name:
        raise Forbidden("Users of other servers cannot be invited: this server does not federate")
    config = account_data.get(ctx.db, user_id, "", "m.invite_permission_config")
    if config is not None and config.get("default_action") == "block":
        raise InviteBlocked("This user does not accept invites")
