"""The order of all other events: by their place along the history of the room's power levels.

Source: rooms/v2, "Mainline ordering"; step 3 of the algorithm.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from conduit.protocol.state_res.auth_graph import AuthGraph

R = TypeVar("R", bound=Hashable)


def mainline_sort(graph: AuthGraph[R], refs: Iterable[R], power_levels: R | None) -> list[R]:
    """Return the events in the mainline ordering based on a power levels event, or on none.

    First those whose power levels are furthest back along the mainline (or not on it), then by `origin_server_ts`,
    then by event id.
    """
    positions = _mainline(graph, power_levels)
    beyond = len(positions)

    def rank(ref: R) -> tuple[int, int, str]:
        event = graph.at_hand(ref)
        return -_position(graph, ref, positions, beyond), event.origin_server_ts, event.event_id

    return sorted(refs, key=rank)


def _mainline(graph: AuthGraph[R], power_levels: R | None) -> dict[R, int]:
    """Return the mainline of the power levels, with the place of each: 0 for the newest."""
    positions: dict[R, int] = {}
    while power_levels is not None and power_levels not in positions:
        positions[power_levels] = len(positions)
        power_levels = graph.power_levels_of(power_levels)
    return positions


def _position(graph: AuthGraph[R], ref: R, positions: dict[R, int], beyond: int) -> int:
    """Return the place of the nearest mainline event below `ref`; `beyond`, past all of them, where there is none.

    Power levels passed on the way are entered into `positions`: no stretch is walked twice.
    """
    passed = dict[R, None]()
    below = graph.power_levels_of(ref)
    while below is not None and below not in positions and below not in passed:
        passed[below] = None
        below = graph.power_levels_of(below)
    found = positions.get(below, beyond) if below is not None else beyond
    positions.update(dict.fromkeys(passed, found))
    return found
