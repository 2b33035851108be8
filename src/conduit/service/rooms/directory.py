"""The published room directory of this server: which rooms are in it, also in those of application services.

Source: client-server API, "Published room directory"; application service API, "Application service room directories".
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.cache import CacheSink, CacheSource
from conduit.protocol.ids import RoomId


def is_public(source: CacheSource, room_id: RoomId) -> bool:
    """Tell whether the room is published."""
    return trees.publicroomids.has(source, room_id)


def set_public(batch: CacheSink, room_id: RoomId, public: bool) -> None:
    """Publish a room, or take it out of the directory."""
    if public:
        trees.publicroomids.put(batch, room_id, True)
    else:
        trees.publicroomids.delete(batch, room_id)


def public_rooms(source: CacheSource) -> list[RoomId]:
    """Return the published rooms."""
    return [RoomId(room_id) for room_id in trees.publicroomids.keys(source)]


def set_on_network(batch: CacheSink, appservice_id: str, network_id: str, room_id: RoomId, public: bool) -> None:
    """Put a room into the directory of an application service's network, or take it out."""
    key = (appservice_id, network_id, room_id)
    if public:
        trees.appservice_directory.put(batch, key, True)
    else:
        trees.appservice_directory.delete(batch, key)


def rooms_of_network(source: CacheSource, instance_id: str | None) -> list[RoomId]:
    """Return the rooms in the directory of one network (`service|network`), or of all with `None`; each room once."""
    prefix: tuple[str, ...] = () if instance_id is None else tuple(instance_id.split("|", 1))
    return [RoomId(room_id) for room_id in {key[2]: True for key in trees.appservice_directory.keys(source, prefix)}]
