"""The summary of a room: how many are in it, and by whom a room without a name can be named.

Source: client-server API, GET /sync, "RoomSummary".
"""

from __future__ import annotations

from typing import Any, Final

from conduit.database.cache import Cached, CacheSource
from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import client_events, members, short_ids, state
from conduit.service.rooms.client_events import ClientEvent

MAX_HEROES: Final = 5


def _load(source: CacheSource, number: int) -> tuple[ClientEvent, ...]:
    """Return the first members by the order in which their membership came: of those in or invited, else of those who left."""
    present: list[ClientEvent] = []
    absent: list[ClientEvent] = []
    # Short events are numbered in the order in which they came.
    for short, key in sorted((short, key) for key, short in state.ids(source, number).items()):
        if short_ids.statekey_of(source, key)[0] != "m.room.member":
            continue
        event = client_events.get(source, short_ids.event_of(source, short))
        if event is None:
            continue
        if event.membership in ("join", "invite"):
            present.append(event)
            # One more than are shown: nobody is told of themselves.
            if len(present) > MAX_HEROES:
                break
        elif event.membership in ("leave", "ban") and len(absent) <= MAX_HEROES:
            absent.append(event)
    return (*present, *absent)


_CANDIDATES: Cached[int, tuple[ClientEvent, ...]] = Cached(
    "heroes", load=_load, weigh=lambda events: 100 + 50 * len(events)
)


def heroes(source: CacheSource, number: int, user_id: UserId) -> list[ClientEvent] | None:
    """Return the memberships of the heroes of a state, for the user; `None` if the room has a name or an alias to go by."""
    for event_type, key in (("m.room.name", "name"), ("m.room.canonical_alias", "alias")):
        event = state.get(source, number, event_type)
        if event is not None and event.content.get(key):
            return None
    others = [event for event in _CANDIDATES.get(source, number) if event.state_key != user_id]
    present = [event for event in others if event.membership in ("join", "invite")]
    return (present or others)[:MAX_HEROES]


def summary(source: CacheSource, room_id: RoomId, named_by: list[ClientEvent] | None) -> dict[str, Any]:
    """Return the summary of the room as it is now."""
    found: dict[str, Any] = {
        "m.joined_member_count": members.joined_count(source, room_id),
        "m.invited_member_count": members.invited_count(source, room_id),
    }
    if named_by is not None:
        found["m.heroes"] = [event.state_key for event in named_by]
    return found
