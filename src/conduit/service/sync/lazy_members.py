"""Which membership events a device has been sent already, so that lazy loading does not send them again.

Kept in memory within the cache's budget: what is lost is sent again, which the specification allows. A membership counts as known only once the device
has come back with the token of the answer that held it, so nothing is lost with an answer that never arrived.

Source: client-server API, "Lazy-loading room members".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conduit.database.cache import Cached
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.service.rooms.client_events import ClientEvent
from conduit.service.sync.window import Window

Sent = Mapping[str, tuple[EventId, int]]
"""Member -> (membership event, count of the token of the answer that held it)."""

_SENT: Cached[tuple[UserId, str, RoomId], Sent] = Cached(
    "lazy_members", load=lambda source, key: {}, weigh=lambda sent: 100 + 250 * len(sent)
)


def is_known(window: Window, room_id: RoomId, member: str, event_id: EventId) -> bool:
    """Tell whether the device certainly has that membership event of the member."""
    if window.initial:
        return False
    known = _SENT.get(window.db, (window.user_id, window.device_id, room_id)).get(member)
    return known is not None and known[0] == event_id and known[1] <= window.since


def remember(window: Window, room_id: RoomId, events: Iterable[ClientEvent]) -> None:
    """Note the membership events among what this answer holds for the room."""
    new = {
        event.state_key: (event.event_id, window.upto)
        for event in events
        if event.type == "m.room.member" and event.state_key is not None
    }
    slot = (window.user_id, window.device_id, room_id)
    if window.initial:
        _SENT.fill(window.db, slot, new)
        return
    held = _SENT.get(window.db, slot)
    fresh = {
        member: entry
        for member, entry in new.items()
        if member not in held or held[member][0] != entry[0] or held[member][1] > window.since
    }
    if fresh:
        _SENT.fill(window.db, slot, {**held, **fresh})
