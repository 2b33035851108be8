"""Unread counts: what an accepted event adds to them.

The cost of a message must not grow with the members of its room. So an event that notifies by the default push rules writes one row, with its ordinal number
among such events of the room and thread: for somebody with default rules the unread count is a difference of two ordinals. A row for
a person is written only where the outcome differs from the default: for the sender, whom nothing of their own notifies, and for those mentioned.
"""

from __future__ import annotations

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import relations as rules
from conduit.protocol.ids import EventId, ServerName
from conduit.protocol.pdu import Event
from conduit.service.rooms import members, short_ids

NOTIFYING = frozenset({"m.room.message", "m.room.encrypted", "m.call.invite"})
"""The types that the default rules notify of."""

LESS, AS_DEFAULT, MORE = range(3)
"""How a person's outcome differs from the default: no notification though the default has one, the same, one though it has none."""


def _load_ordinal(source: CacheSource, key: tuple[int, int]) -> int:
    newest = trees.notify_ordinal.last(source, key)
    return 0 if newest is None else newest[1]


_ORDINAL: Cached[tuple[int, int], int] = Cached("notify_ordinal", load=_load_ordinal, weigh=lambda ordinal: 150)


def notifies_by_default(event: Event) -> bool:
    """Tell whether the default push rules notify of an event, whoever reads it."""
    if event.type not in NOTIFYING or event.content.get("msgtype") == "m.notice":
        return False
    relation = rules.relation_of(event.content)
    return relation is None or relation.rel_type != rules.REPLACE


def count_event(batch: Batch, event: Event, place: PduId, *, server_name: ServerName) -> None:
    """Write what an event that was just accepted at a live position adds to the unread counts of the room's local members."""
    by_default = notifies_by_default(event)
    mentioned = _mentioned(batch, event, server_name)
    if not by_default and not mentioned:
        return
    root = rules.thread_root(event.content)
    thread = 0 if root is None else short_ids.short_event(batch, EventId(root)) or 0
    if by_default:
        ordinal = _ORDINAL.get(batch, (place.room, thread)) + 1
        trees.notify_ordinal.put(batch, (place.room, thread, place.live), ordinal)
        _ORDINAL.set(batch, (place.room, thread), ordinal)
        if event.server_name == server_name:
            trees.notify_personal.put(batch, (event.sender, place.room, thread, place.live), (LESS, 0))
    for user_id in mentioned:
        outcome = AS_DEFAULT if by_default else MORE
        trees.notify_personal.put(batch, (user_id, place.room, thread, place.live), (outcome, 1))


def _mentioned(batch: Batch, event: Event, server_name: ServerName) -> list[str]:
    mentions = rules.mentions(event.content)
    if mentions is None or not mentions.user_ids:
        return []
    local = members.joined_local(batch, event.room_id, server_name)
    return [user_id for user_id in mentions.user_ids if user_id in local and user_id != event.sender]
