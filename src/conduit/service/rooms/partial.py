"""Rooms of which this server does not know all members yet: it has joined fast, and the list is still coming.

Such a room is used like any other. What is known of its state is right but not all: `m.room.member` events are missing. So events go to the
servers that were named at the join, an unknown member is not taken for somebody who is not there, and who asks for all members waits.

Source: server-server API, `PUT /_matrix/federation/v2/send_join`, `omit_members`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch, Database
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion


class Partial(NamedTuple):
    """How a room was joined: by which event, which servers were in it, and which of them were helpful."""

    event_id: EventId
    servers: frozenset[ServerName]
    via: tuple[ServerName, ...]


def _load(source: CacheSource, room_id: RoomId) -> Partial | None:
    row = trees.partial_room.get(source, room_id)
    if row is None:
        return None
    return Partial(EventId(row["event"]), frozenset(map(ServerName, row["servers"])), tuple(row["via"]))


_PARTIAL: Cached[RoomId, Partial | None] = Cached(
    "partial_room", load=_load, weigh=lambda known: 60 if known is None else 300 + 120 * len(known.servers)
)


def find(source: CacheSource, room_id: RoomId) -> Partial | None:
    """Return how the room was joined if its members are not all known, else `None`."""
    return _PARTIAL.get(source, room_id)


def is_partial(source: CacheSource, room_id: RoomId) -> bool:
    """Tell whether members of the room are missing from its state."""
    return _PARTIAL.get(source, room_id) is not None


def rooms(source: CacheSource) -> list[RoomId]:
    """Return all rooms whose members are not all known."""
    return [RoomId(room_id) for room_id in trees.partial_room.keys(source, ())]


def begin(batch: Batch, room_id: RoomId, known: Partial) -> None:
    """Let the members of the room be incomplete."""
    row = {"event": known.event_id, "servers": sorted(known.servers), "via": list(known.via)}
    trees.partial_room.put(batch, room_id, row)
    _PARTIAL.set(batch, room_id, known)


def end(batch: Batch, room_id: RoomId, *, since: int = 0, until: int = 0) -> None:
    """Let the members of the room be complete, or no matter any more; whoever waits for it goes on.

    `since` and `until` are the counts between which they were not.
    """
    trees.partial_room.delete(batch, room_id)
    if until:
        trees.partial_past.put(batch, room_id, (since, until))
    _PARTIAL.set(batch, room_id, None)
    batch.wake(("whole", room_id))


def as_whole(source: CacheSource, room_id: RoomId, count: int) -> int:
    """Return the count at which to look for the members that the room had at `count`: a later one, if then they were not all known."""
    past = trees.partial_past.get(source, room_id)
    return past[1] if past is not None and past[0] <= count < past[1] else count


async def whole(db: Database, room_id: RoomId, seconds: float) -> bool:
    """Wait until all members of the room are known, at most `seconds`; tell whether they are."""
    if not is_partial(db, room_id):
        return True
    with db.watch.register([("whole", room_id)]) as waiter:
        if is_partial(db, room_id):
            await waiter.wait(seconds)
    return not is_partial(db, room_id)


def is_being_joined(source: CacheSource, room_id: RoomId, user_id: UserId | None = None) -> bool:
    """Tell whether somebody of this server, or that user, is on the way into the room: a join has been sent and its answer is not in place yet."""
    if user_id is not None:
        row = trees.membership_intent.get(source, (room_id, user_id))
        return row is not None and _is_join(row)
    return version_being_joined(source, room_id) is not None


def version_being_joined(source: CacheSource, room_id: RoomId) -> RoomVersion | None:
    """Return the version of a room that somebody of this server is on the way into, `None` if nobody is."""
    for _, row in trees.membership_intent.scan(source, (room_id,)):
        if _is_join(row):
            return ROOM_VERSIONS.get(row["version"])
    return None


def _is_join(row: dict[str, Any]) -> bool:
    return row["membership"] == "join" and not row.get("undo")
