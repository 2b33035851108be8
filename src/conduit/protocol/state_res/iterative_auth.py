"""Letting events into a state one after the other, as the rules allow.

Source: rooms/v2, "Iterative auth checks" and "Rejected events"; steps 2 and 4 of the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from conduit.protocol.errors import MatrixError
from conduit.protocol.event_auth import authorise
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.state_res.auth_graph import AuthGraph

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)


class Resolver(Generic[K, R]):
    """The iterative auth checks for one room."""

    def __init__(
        self,
        version: RoomVersion,
        graph: AuthGraph[R],
        key_of: Callable[[str, str], K],
        rejected: Callable[[R], bool],
        create: R | None,
    ) -> None:
        self._version = version
        self._graph = graph
        self._key_of = key_of
        self._rejected = rejected
        self._create = graph.event(create) if create is not None else None

    def apply(self, state: dict[K, R], ordered: Iterable[R]) -> None:
        """Put each event into `state` that the state as it then is allows; the others are passed over."""
        for ref in ordered:
            event = self._graph.at_hand(ref)
            if event.state_key is not None and self._is_allowed(ref, event, state):
                state[self._key_of(event.type, event.state_key)] = ref

    def _is_allowed(self, ref: R, event: Event, state: dict[K, R]) -> bool:
        def look_up(event_type: str, state_key: str) -> Event | None:
            current = state.get(self._key_of(event_type, state_key))
            if current is not None and not self._rejected(current):
                return self._graph.event(current)
            # What the state lacks is taken from the event's own auth events. In version 12 nothing cites
            # m.room.create, and version 2.1 begins with an empty state.
            found = self._among_auth_events(ref, event_type, state_key)
            return self._create if found is None and event_type == "m.room.create" else found

        try:
            authorise(event, self._version, look_up)
        except MatrixError:
            return False
        return True

    def _among_auth_events(self, ref: R, event_type: str, state_key: str) -> Event | None:
        for cited in self._graph.auth(ref):
            auth = self._graph.event(cited)
            if auth is not None and (auth.type, auth.state_key) == (event_type, state_key):
                return None if self._rejected(cited) else auth
        return None
