"""Power events and the order in which they are judged.

Source: rooms/v2 and rooms/v12, "Power events", "Reverse topological power ordering"; step 1 of the algorithm.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import TypeVar

from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import PowerLevels
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.state_res.auth_graph import AuthGraph

R = TypeVar("R", bound=Hashable)


def is_power_event(event: Event) -> bool:
    """Tell whether the event might take away somebody's ability to do something in the room."""
    if event.type in ("m.room.power_levels", "m.room.join_rules"):
        return event.state_key == ""
    if event.type == "m.room.member":
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return False


def power_events_and_chains(graph: AuthGraph[R], full: set[R]) -> set[R]:
    """Return the power events of the full conflicted set with the part of their auth chains that lies in it.

    The chains are followed within the set only, as everywhere on the network: what can be reached just by way of an
    event outside it is left to the mainline ordering.
    """
    found = {ref for ref in full if is_power_event(graph.at_hand(ref))}
    waiting = list(found)
    while waiting:
        for cited in graph.auth(waiting.pop()):
            if cited in full and cited not in found:
                found.add(cited)
                waiting.append(cited)
    return found


def power_sort(graph: AuthGraph[R], refs: set[R], version: RoomVersion, create: R | None) -> list[R]:
    """Return the events in reverse topological power ordering, earliest first.

    That is the smallest topological ordering, auth events first, where the sender of greater power comes first, then
    the lesser `origin_server_ts`, then the lesser event id. Events in a cycle have no place and are left out.
    """
    missing = {ref: {cited for cited in graph.auth(ref) if cited in refs} for ref in refs}
    citing: dict[R, list[R]] = {}
    for ref, cited_refs in missing.items():
        for cited in cited_refs:
            citing.setdefault(cited, []).append(ref)

    def rank(ref: R) -> tuple[int, int, str, int]:
        event = graph.at_hand(ref)
        return -_sender_level(graph, ref, version, create), event.origin_server_ts, event.event_id, places[ref]

    # References need not be comparable: the heap holds their places, which never decide, as event ids differ.
    places = {ref: place for place, ref in enumerate(refs)}
    by_place = list(places)
    ready = [rank(ref) for ref, cited_refs in missing.items() if not cited_refs]
    heapify(ready)
    ordered = list[R]()
    while ready:
        ref = by_place[heappop(ready)[3]]
        ordered.append(ref)
        for later in citing.get(ref, ()):
            missing[later].discard(ref)
            if not missing[later]:
                heappush(ready, rank(later))
    return ordered


def _sender_level(graph: AuthGraph[R], ref: R, version: RoomVersion, create: R | None) -> int:
    """Return the level of the sender by the power levels that the event itself cites."""
    power_levels = graph.power_levels_of(ref)
    created = graph.event(create) if create is not None else None
    cited = graph.event(power_levels) if power_levels is not None else None
    return PowerLevels(created, cited, version).user(graph.at_hand(ref).sender)
