"""The graph of auth events, and the sets that are cut out of it.

Every walk visits a node once: hostile graphs are wide and deep, and may (where event ids are given) have cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from conduit.protocol.pdu import Event

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)

POWER_LEVELS = "m.room.power_levels"


class AuthGraph(Generic[R]):
    """Events by reference, each fetched once, and the references of their auth events, `auth(ref)`."""

    def __init__(self, fetch: Callable[[R], Event | None], auth_of: Callable[[R], Iterable[R]]) -> None:
        self._fetch = fetch
        self.auth = auth_of
        self._events: dict[R, Event | None] = {}
        self._power_levels: dict[R, R | None] = {}

    def event(self, ref: R) -> Event | None:
        """Return the event, or None when it is not at hand."""
        if ref not in self._events:
            self._events[ref] = self._fetch(ref)
        return self._events[ref]

    def at_hand(self, ref: R) -> Event:
        """Return an event that is known to be at hand."""
        event = self.event(ref)
        if event is None:
            raise LookupError(f"event {ref!r} was at hand before")
        return event

    def chain(self, refs: Iterable[R]) -> set[R]:
        """Return the events and all that they are authorised by, directly or not."""
        seen = set(refs)
        waiting = list(seen)
        auth = self.auth
        while waiting:
            for cited in auth(waiting.pop()):
                if cited not in seen:
                    seen.add(cited)
                    waiting.append(cited)
        return seen

    def power_levels_of(self, ref: R) -> R | None:
        """Return the power levels event among the auth events."""
        if ref not in self._power_levels:
            self._power_levels[ref] = next((cited for cited in self.auth(ref) if self._is_power_levels(cited)), None)
        return self._power_levels[ref]

    def _is_power_levels(self, ref: R) -> bool:
        event = self.event(ref)
        return event is not None and event.type == POWER_LEVELS and event.state_key == ""


def auth_difference(graph: AuthGraph[R], state_sets: Sequence[Mapping[K, R]], conflicted: set[R]) -> set[R]:
    """Return the events that are in the auth chain of some state but not of all.

    The chain of a state includes the state's own events, as everywhere on the network (the text reads as if it did
    not). What an unconflicted event needs is therefore in every chain, so only the conflicted ones are followed apart.
    """
    common = set[R]()
    everything = set[R]()
    for index, state in enumerate(state_sets):
        chain = graph.chain(conflicted.intersection(state.values()))
        common = chain if index == 0 else common & chain
        everything |= chain
    difference = everything - common
    if difference:
        difference -= graph.chain(set(state_sets[0].values()) - conflicted)
    return difference


def conflicted_subgraph(graph: AuthGraph[R], conflicted: set[R]) -> set[R]:
    """Return the events on the paths from one conflicted event to another, these included.

    Source: rooms/v12, "Conflicted state subgraph".
    """
    citing: dict[R, list[R]] = {}
    for ref in graph.chain(conflicted):
        for cited in graph.auth(ref):
            citing.setdefault(cited, []).append(ref)
    # All of the chain is below some conflicted event; what is above one as well lies between two.
    between = set(conflicted)
    waiting = list(conflicted)
    while waiting:
        for ref in citing.get(waiting.pop(), ()):
            if ref not in between:
                between.add(ref)
                waiting.append(ref)
    return between
