"""Step: what counts as unread: the ordinals of events that notify, mentions, and up to where each user has read.

Conduit keeps a number for each user and room. Ours follow from the position that the user has read up to, for which Conduit's note of the last reset
of that number stands.
"""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.database.layouts import PduId
from conduit.database.migrations.bulk import Bulk
from conduit.database.migrations.layers import Layers
from conduit.protocol import relations
from conduit.protocol.errors import MatrixError
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import PowerLevels
from conduit.protocol.room_versions import RoomVersion

_NOTIFYING = frozenset({"m.room.message", "m.room.encrypted", "m.call.invite"})
_SENT = "sent"
_MAIN = "main"
_UNTHREADED = ""
_AS_DEFAULT, _MORE = 1, 2


class Counting:
    """What was counted in a room so far, by thread (short event of the root, 0 for the main timeline)."""

    def __init__(self) -> None:
        self.notifications: dict[int, int] = {}
        self.highlights: dict[int, int] = {}
        self.sent: dict[tuple[str, str], int] = {}
        """(local user, thread) -> count of the user's newest event."""
        self.levels: PowerLevels | None = None


def begin(bulk: Bulk, room: int, version: RoomVersion, layers: Layers, state: int, counting: Counting) -> None:
    """Remove a room's ordinals, which are counted anew, and read who may notify everybody."""
    for tree in (trees.notify_ordinal, trees.highlight_ordinal):
        tree.delete_prefix(bulk, (room,))
    events = [_state_event(bulk, layers, state, kind, version) for kind in ("m.room.create", "m.room.power_levels")]
    counting.levels = PowerLevels(events[0], events[1], version)


def _state_event(bulk: Bulk, layers: Layers, state: int, kind: str, version: RoomVersion) -> Event | None:
    key = trees.statekey_shortstatekey.get(bulk, (kind, ""))
    short = None if key is None else layers.look_up(state, key)
    event_id = None if short is None else trees.shorteventid_eventid.get(bulk, short)
    if event_id is None:
        return None
    place = trees.eventid_pduid.get(bulk, event_id)
    data = trees.eventid_outlierpdu.get(bulk, event_id) if place is None else trees.pduid_pdu.get(bulk, place)
    try:
        return None if data is None else Event.from_stored(data, version)
    except (ValueError, KeyError, TypeError, MatrixError):
        return None


def take(bulk: Bulk, counting: Counting, event: Event, place: PduId, home: str | None) -> None:
    """Count one live event."""
    root = relations.thread_root(event.content)
    thread = 0 if root is None else bulk.event(root)
    key = (place.room, thread)
    if event.state_key is None and event.server_name == home:
        counting.sent[event.sender, root or _MAIN] = place.live
    notifies, highlights = _outcome(counting, event)
    if notifies:
        counting.notifications[thread] = counting.notifications.get(thread, 0) + 1
        trees.notify_ordinal.put(bulk, (*key, place.live), counting.notifications[thread])
    if highlights:
        counting.highlights[thread] = counting.highlights.get(thread, 0) + 1
        trees.highlight_ordinal.put(bulk, (*key, place.live), counting.highlights[thread])
        return
    mentions = relations.mentions(event.content)
    if mentions is None or event.type == "m.room.member" or event.content.get("msgtype") == "m.notice":
        return
    for user_id in mentions.user_ids:
        if user_id != event.sender and home is not None and user_id.endswith(f":{home}"):
            differs = _AS_DEFAULT if notifies else _MORE
            trees.notify_personal.put(bulk, (user_id, *key, place.live), (differs, _MORE))


def _outcome(counting: Counting, event: Event) -> tuple[bool, bool]:
    """Return whether the predefined push rules notify everybody of an event, and highlight it."""
    content: dict[str, Any] = event.content
    if event.type == "m.room.member" or content.get("msgtype") == "m.notice":
        return False, False
    mentions = relations.mentions(content)
    if mentions is not None and mentions.room and _may_notify_room(counting.levels, event.sender):
        return True, True
    if event.type == "m.room.tombstone" and event.state_key == "":
        return True, True
    relation = relations.relation_of(content)
    return event.type in _NOTIFYING and (relation is None or relation.rel_type != relations.REPLACE), False


def _may_notify_room(levels: PowerLevels | None, sender: str) -> bool:
    return levels is not None and levels.user(sender) >= levels.notifications("room")


def finish(bulk: Bulk, counting: Counting, room: int) -> None:
    """Write up to where users have read by writing themselves."""
    for (user_id, thread), at in counting.sent.items():
        _put_mark(bulk, room, user_id, thread, at)


def run(bulk: Bulk) -> None:
    """Take Conduit's notes of the last reset out of the tree that they share with the highlights."""
    for raw_key, data in bulk.db.scan(trees.userroomid_highlightcount.name, b"!", b'"'):
        room_id, _, user_id = raw_key.partition(b"\xff")
        room = trees.roomid_shortroomid.get(bulk, room_id.decode("utf-8", "replace"))
        if room is not None and len(data) == 8:
            count = int.from_bytes(data, "big")
            _put_mark(bulk, room, user_id.decode("utf-8", "replace"), _UNTHREADED, count)
        bulk.delete(trees.userroomid_highlightcount.name, raw_key)
        bulk.count()


def _put_mark(bulk: Bulk, room: int, user_id: str, thread: str, at: int) -> None:
    key = (room, user_id, _SENT, thread)
    former = trees.receipt.get(bulk, key)
    if former is None or former["at"] < at:
        trees.receipt.put(bulk, key, {"at": at})
