"""State resolution of room version 1.

Known to reset state, and kept because the old rooms are resolved by it on every server.

Source: rooms/v1, "State resolution".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import sha1
from typing import TypeVar

from conduit.protocol.errors import MatrixError
from conduit.protocol.event_auth import authorise
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)

_IN_TURN = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def _turn(event: Event) -> str:
    # Power levels have no state key; with one they are an event like any other.
    return "" if event.type == "m.room.power_levels" and event.state_key else event.type


def resolve(
    version: RoomVersion,
    state_sets: Sequence[Mapping[K, R]],
    fetch: Callable[[R], Event | None],
    key_of: Callable[[str, str], K],
) -> dict[K, R]:
    """Return the resolved state. Unlike later on, a key that only some states have is not in conflict."""
    by_key: dict[K, set[R]] = {}
    for state in state_sets:
        for key, ref in state.items():
            by_key.setdefault(key, set()).add(ref)
    # Start with the union of the states without conflicting events.
    resolved = {key: next(iter(refs)) for key, refs in by_key.items() if len(refs) == 1}
    conflicts: dict[K, list[tuple[R, Event]]] = {}
    for key, refs in by_key.items():
        if len(refs) > 1:
            events = [(ref, event) for ref in refs if (event := fetch(ref)) is not None]
            if events:
                conflicts[key] = sorted(events, key=_rank)
    room = _Room(version, resolved, fetch, key_of)
    # Power levels, then join rules, then members: a conflict of a kind sees what came of the kinds before.
    for kind in _IN_TURN:
        keys = [key for key, events in conflicts.items() if _turn(events[0][1]) == kind]
        resolved.update({key: room.last_allowed(conflicts.pop(key)) for key in keys})
    # For all others, take the event of the highest depth and lowest hash that is allowed.
    resolved.update({key: room.first_allowed(events[::-1]) for key, events in conflicts.items()})
    return resolved


class _Room:
    def __init__(
        self,
        version: RoomVersion,
        resolved: Mapping[K, R],
        fetch: Callable[[R], Event | None],
        key_of: Callable[[str, str], K],
    ) -> None:
        self._version = version

        def look_up(event_type: str, state_key: str) -> Event | None:
            ref = resolved.get(key_of(event_type, state_key))
            return fetch(ref) if ref is not None else None

        self._look_up = look_up

    def last_allowed(self, events: Sequence[tuple[R, Event]]) -> R:
        """Return the last of the events, from the first on, each of which allows the next."""
        (ref, current), *others = events
        for next_ref, following in others:
            if not self._allows(following, current):
                break
            ref, current = next_ref, following
        return ref

    def first_allowed(self, events: Sequence[tuple[R, Event]]) -> R:
        """Return the first event that is allowed; when none is, the last."""
        return next((ref for ref, event in events if self._allows(event, None)), events[-1][0])

    def _allows(self, event: Event, replaced: Event | None) -> bool:
        """Tell whether the state allows the event, `replaced` being part of the state where it is given."""

        def look_up(event_type: str, state_key: str) -> Event | None:
            if replaced is not None and (event_type, state_key) == (replaced.type, replaced.state_key):
                return replaced
            return self._look_up(event_type, state_key)

        try:
            authorise(event, self._version, look_up)
        except MatrixError:
            return False
        return True


def _rank(entry: tuple[R, Event]) -> tuple[int, int]:
    # By ascending depth, then descending hash of the id.
    event = entry[1]
    return event.depth, -int.from_bytes(sha1(event.event_id.encode(), usedforsecurity=False).digest())
