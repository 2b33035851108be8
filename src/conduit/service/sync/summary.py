"""The summary of a room: how many are in it, and by whom a room without a name can be named.

Source: client-server API, GET /sync, "RoomSummary".
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from conduit.database.cache import Cached, CacheSource
from conduit.protocol.ids import RoomId, UserId, is_compliant
from conduit.service.rooms import members, state, whole_states
from conduit.service.rooms.client_events import ClientEvent

MAX_HEROES: Final = 5
_STEP: Final = 25
"""How many members are looked at at a time: the first are nearly always those who are wanted."""


async def _candidates(source: CacheSource, number: int) -> tuple[ClientEvent, ...]:
    """Return the first members by the order in which their membership came: of those in or invited, and of those who left. Who has no compliant user id is passed over."""
    held = _CANDIDATES.peek(source, number)
    if held is not None:
        return held
    present: list[ClientEvent] = []
    absent: list[ClientEvent] = []
    # Short events are numbered in the order in which they came.
    in_order = dict(sorted(state.ids(source, number).items(), key=lambda entry: entry[1]))
    async with aclosing(whole_states.forms(source, in_order, whole_states.is_member, step=_STEP)) as steps:
        async for found in steps:
            events = [event for event in found if event.state_key is not None and is_compliant(event.state_key)]
            present += [event for event in events if event.membership in ("join", "invite")]
            absent += [event for event in events if event.membership in ("leave", "ban")]
            # One more than are shown: nobody is told of themselves.
            del present[MAX_HEROES + 1 :], absent[MAX_HEROES + 1 :]
            if len(present) > MAX_HEROES:
                break
    candidates = (*present, *absent)
    _CANDIDATES.fill(source, number, candidates)
    return candidates


_CANDIDATES: Cached[int, tuple[ClientEvent, ...] | None] = Cached(
    "heroes", load=lambda source, number: None, weigh=lambda events: 100 + 50 * len(events or ())
)


async def heroes(source: CacheSource, number: int, user_id: UserId) -> list[ClientEvent] | None:
    """Return the memberships of the heroes of a state, for the user; `None` if the room has a name or an alias to go by."""
    for event_type, key in (("m.room.name", "name"), ("m.room.canonical_alias", "alias")):
        event = state.get(source, number, event_type)
        if event is not None and event.content.get(key):
            return None
    others = [event for event in await _candidates(source, number) if event.state_key != user_id]
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
