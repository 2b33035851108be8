"""Put a room into the published directory, or take it out. Source: client-server API, "Published room directory"."""

from __future__ import annotations

from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import RoomId, UserId
from conduit.service.actions.aliases import may_change_aliases
from conduit.service.context import Context
from conduit.service.rooms import directory, state
from conduit.service.users import accounts


def publish_room(ctx: Context, user_id: UserId, room_id: RoomId, *, public: bool) -> None:
    """Set whether the room is in the directory.

    Raises `NotFound` for an unknown room, `Forbidden` for who is neither in it with power over its aliases nor an administrator.
    """
    if not state.exists(ctx.db, room_id):
        raise NotFound("Room not found")
    if not accounts.is_admin(ctx.db, user_id) and not may_change_aliases(ctx, user_id, room_id):
        raise Forbidden("You may not change how this room is found")
    with ctx.db.batch() as batch:
        directory.set_public(batch, room_id, public)


def publish_on_network(ctx: Context, appservice_id: str, network_id: str, room_id: RoomId, *, public: bool) -> None:
    """Set whether the room is in the directory of an application service's network. Raises `NotFound` for an unknown room."""
    if not state.exists(ctx.db, room_id):
        raise NotFound("Room not found")
    with ctx.db.batch() as batch:
        directory.set_on_network(batch, appservice_id, network_id, room_id, public)
