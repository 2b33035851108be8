"""Signed membership events that are about to leave for another server: written down before, so that a crash leaves none to its fate.

A row is there from before the event is sent until what follows from it is in place. At the start every row is completed (the same event is
sent again, which is harmless) or undone: a join of which nobody knows whether it was taken is followed by a leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import room_version


class Intent(NamedTuple):
    """A membership event on its way to `server`; `undo` says that it is to be taken back, should it have arrived."""

    room_id: RoomId
    user_id: UserId
    membership: str
    server: ServerName
    event: Event
    undo: bool = False


def begin(batch: Batch, intent: Intent) -> None:
    """Write an intent; it takes the place of an earlier one of the user for the room."""
    row: dict[str, Any] = {
        "membership": intent.membership,
        "server": intent.server,
        "version": intent.event.version.id,
        "event": intent.event.pdu,
    }
    if intent.undo:
        row["undo"] = True
        batch.wake(("staged", intent.room_id))
    trees.membership_intent.put(batch, (intent.room_id, intent.user_id), row)


def end(batch: Batch, room_id: RoomId, user_id: UserId) -> None:
    """Forget the user's intent for the room: it is carried out, or came to nothing."""
    trees.membership_intent.delete(batch, (room_id, user_id))
    batch.wake(("staged", room_id))  # events of the room that came meanwhile have waited for this


def all_of(source: CacheSource) -> Iterator[Intent]:
    """Yield all intents."""
    for (room_id, user_id), row in list(trees.membership_intent.scan(source, ())):
        event = Event.from_pdu(row["event"], room_version(row["version"]))
        yield Intent(
            RoomId(room_id),
            UserId(user_id),
            row["membership"],
            ServerName(row["server"]),
            event,
            bool(row.get("undo")),
        )


def find(source: CacheSource, room_id: RoomId, user_id: UserId) -> Intent | None:
    """Return the user's intent for the room, or `None`."""
    row = trees.membership_intent.get(source, (room_id, user_id))
    if row is None:
        return None
    event = Event.from_pdu(row["event"], room_version(row["version"]))
    return Intent(room_id, user_id, row["membership"], ServerName(row["server"]), event, bool(row.get("undo")))
