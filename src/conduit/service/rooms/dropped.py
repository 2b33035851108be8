"""Servers that state resolution has put out of a room, without an event that says so.

Where branches meet, a member's event may give way to an older one, or to none. A server whose last user goes that way is in the room no more for those who
know of it; nobody would send it anything, and it would go on believing that it is in. So it gets one more event, the next that this server sends, and again one
whenever it turns out not to know yet; for a while it may ask for what led to it. From these it finds out for itself. The same may happen to this server: then it goes on
listening for as long, since others may resolve more branches than it knows and have it in the room still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import RoomId, ServerName

KEPT_MS = 7 * 24 * 3600 * 1000
"""For how long such a server may ask for what it has missed."""


class Dropped(NamedTuple):
    """When a server was put out, in milliseconds, and whether an event was sent to it since."""

    at_ms: int
    is_told: bool


def _load(source: CacheSource, room_id: RoomId) -> Mapping[ServerName, Dropped]:
    rows = trees.room_dropped.scan(source, (room_id,))
    return {ServerName(server): Dropped(at_ms, bool(told)) for (_, server), (at_ms, told) in rows}


_DROPPED: Cached[RoomId, Mapping[ServerName, Dropped]] = Cached(
    "dropped_servers", load=_load, weigh=lambda servers: 100 + 200 * len(servers)
)


def untold(source: CacheSource, room_id: RoomId) -> list[ServerName]:
    """Return the servers to which the next event is to be sent although they are not in the room."""
    return [server for server, known in _DROPPED.get(source, room_id).items() if not known.is_told]


def may_ask(source: CacheSource, room_id: RoomId, server: ServerName, now_ms: int) -> bool:
    """Tell whether a server was put out lately, and may find out how."""
    known = _DROPPED.get(source, room_id).get(server)
    return known is not None and now_ms - known.at_ms < KEPT_MS


def settle(
    batch: Batch, room_id: RoomId, before: Iterable[ServerName], after: Iterable[ServerName], now_ms: int
) -> None:
    """Note which servers a change of the current state, made by no single event, has put out of the room, and which are back."""
    after = set(after)
    gone = [server for server in before if server not in after]
    known = _DROPPED.get(batch, room_id)
    for server in gone:
        trees.room_dropped.put(batch, (room_id, server), (now_ms, 0))
    back = [server for server in known if server in after]
    for server in back:
        trees.room_dropped.delete(batch, (room_id, server))
    if gone or back:
        _DROPPED.forget(batch, room_id)


def remind(batch: Batch, room_id: RoomId, server: ServerName, now_ms: int) -> None:
    """Note that a server has sent an event that nobody is shown: if it was put out lately, it does not know yet, and gets one more."""
    if may_ask(batch, room_id, server, now_ms) and server not in untold(batch, room_id):
        trees.room_dropped.put(batch, (room_id, server), (_DROPPED.get(batch, room_id)[server].at_ms, 0))
        _DROPPED.forget(batch, room_id)


def told(batch: Batch, room_id: RoomId, servers: Iterable[ServerName]) -> None:
    """Note that an event is on its way to servers that were put out."""
    known = _DROPPED.get(batch, room_id)
    for server in servers:
        trees.room_dropped.put(batch, (room_id, server), (known[server].at_ms, 1))
    _DROPPED.forget(batch, room_id)
