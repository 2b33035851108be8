"""The aliases of this server: which room each names, who made it, and all that a room has.

Conduit keeps an alias by its localpart, so all of these take an alias of this server; whether it is one is the caller's question
(`is_local`). Who may make or remove one is decided in `actions/aliases.py`.
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.cache import CacheSink, CacheSource
from conduit.protocol.ids import RoomAlias, RoomId, ServerName, UserId, localpart_of, server_name_of


def is_local(alias: RoomAlias, server_name: ServerName) -> bool:
    """Tell whether `alias` belongs to this server."""
    return server_name_of(alias) == server_name


def room_of(source: CacheSource, alias: RoomAlias) -> RoomId | None:
    """Return the room that a local alias names, or `None`."""
    room_id = trees.alias_roomid.get(source, localpart_of(alias))
    return None if room_id is None else RoomId(room_id)


def creator_of(source: CacheSource, alias: RoomAlias) -> UserId | None:
    """Return who made a local alias; `None` if it is unknown."""
    user_id = trees.alias_userid.get(source, localpart_of(alias))
    return None if user_id is None else UserId(user_id)


def of_room(source: CacheSource, room_id: RoomId) -> list[RoomAlias]:
    """Return the local aliases of a room, oldest first."""
    return [RoomAlias(alias) for _, alias in trees.aliasid_alias.scan(source, (room_id,))]


def add(batch: CacheSink, alias: RoomAlias, room_id: RoomId, user_id: UserId, *, count: int) -> None:
    """Let `alias`, which is free, name `room_id`. `count` is a fresh count of the batch."""
    localpart = localpart_of(alias)
    trees.alias_userid.put(batch, localpart, user_id)
    trees.alias_roomid.put(batch, localpart, room_id)
    trees.aliasid_alias.put(batch, (room_id, count), alias)


def remove(batch: CacheSink, alias: RoomAlias) -> None:
    """Forget a local alias; the room's other aliases stay."""
    localpart = localpart_of(alias)
    room_id = trees.alias_roomid.get(batch, localpart)
    trees.alias_roomid.delete(batch, localpart)
    trees.alias_userid.delete(batch, localpart)
    if room_id is None:
        return
    for key, value in list(trees.aliasid_alias.scan(batch, (room_id,))):
        if value == alias:
            trees.aliasid_alias.delete(batch, key)


def move(batch: CacheSink, alias: RoomAlias, room_id: RoomId, *, count: int) -> None:
    """Let an existing local alias name another room; its maker stays the same."""
    made_by = creator_of(batch, alias)
    remove(batch, alias)
    localpart = localpart_of(alias)
    if made_by is not None:
        trees.alias_userid.put(batch, localpart, made_by)
    trees.alias_roomid.put(batch, localpart, room_id)
    trees.aliasid_alias.put(batch, (room_id, count), alias)
