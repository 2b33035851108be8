"""Which servers are let into a room's traffic at all: blocked rooms, and the room's access control list.

Source: server-server API, "Server Access Control Lists (ACLs)"; client-server API, "m.room.server_acl".
"""

from __future__ import annotations

from collections.abc import Iterable

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.server_acl import ServerAcl
from conduit.service.rooms import state, timeline


def _load_acl(source: CacheSource, event_id: EventId) -> ServerAcl | None:
    # What a redaction would leave of the list lets nobody in; no local user may redact it, but others may.
    event = timeline.unredacted(source, event_id)
    return None if event is None else ServerAcl(event.content)


_ACL: Cached[EventId, ServerAcl | None] = Cached(
    "server_acl", load=_load_acl, weigh=lambda acl: 4000 if acl is None else acl.weight
)


def is_blocked(source: CacheSource, room_id: RoomId) -> bool:
    """Tell whether this server takes no part in the room, by its administrator's decision."""
    return trees.disabledroomids.has(source, room_id)


def is_allowed(source: CacheSource, room_id: RoomId, server_name: str) -> bool:
    """Tell whether the room's access control list lets a server in; a room without one, or that is not known, lets everybody in."""
    acl = _acl(source, room_id)
    return acl is None or acl.allows(server_name)


def allowed(source: CacheSource, room_id: RoomId, servers: Iterable[ServerName]) -> list[ServerName]:
    """Return those of the servers that the room's access control list lets in."""
    acl = _acl(source, room_id)
    return list(servers) if acl is None else [server for server in servers if acl.allows(server)]


def _acl(source: CacheSource, room_id: RoomId) -> ServerAcl | None:
    event_id = state.current_id(source, room_id, "m.room.server_acl")
    return None if event_id is None else _ACL.get(source, event_id)


def require(source: CacheSource, room_id: RoomId, server_name: str) -> None:
    """Raise `Forbidden` for a blocked room, and for a server that the room's access control list shuts out."""
    if is_blocked(source, room_id):
        raise Forbidden("This server takes no part in the room")
    if not is_allowed(source, room_id, server_name):
        raise Forbidden("Your server is denied by the room's access control list")
