from __future__ import annotations

import pytest

from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.state_res.auth_graph import AuthGraph, auth_difference, conflicted_subgraph
from tests.protocol.state_res.graphs import Graph

#      1 ← 2 ← 3 ← 4
#      ↑       ↑
#      5 ← 6 ← 7       8 stands apart
EDGES: dict[int, list[int]] = {1: [], 2: [1], 3: [2], 4: [3], 5: [1], 6: [5], 7: [6, 3], 8: []}


def _graph() -> AuthGraph[int]:
    return AuthGraph(lambda ref: None, EDGES.__getitem__)


def test_chain_holds_the_events_and_all_below() -> None:
    """Each once."""
    assert _graph().chain([7]) == {1, 2, 3, 5, 6, 7}
    assert _graph().chain([]) == set()


@pytest.mark.parametrize(
    ("states", "conflicted", "difference"),
    [
        ([{"a": 4}, {"a": 7}], {4, 7}, {4, 5, 6, 7}),
        ([{"a": 4, "b": 6}, {"a": 7, "b": 6}], {4, 7}, {4, 7}),
        ([{"a": 2}, {"a": 4}], {2, 4}, {3, 4}),
        ([{"a": 4}, {"a": 4, "b": 8}], {8}, {8}),
        ([{"a": 4}, {"a": 7}, {"a": 6}], {4, 6, 7}, {2, 3, 4, 5, 6, 7}),
    ],
)
def test_difference_is_what_some_chains_have_and_not_all(
    states: list[dict[str, int]], conflicted: set[int], difference: set[int]
) -> None:
    """Whatever an unconflicted event needs is in all of them."""
    assert auth_difference(_graph(), states, conflicted) == difference


@pytest.mark.parametrize(
    ("conflicted", "subgraph"),
    [
        ({4, 2}, {2, 3, 4}),
        ({7, 1}, {1, 2, 3, 5, 6, 7}),
        ({7, 5}, {5, 6, 7}),
        ({4, 6}, {4, 6}),
        ({8}, {8}),
        ({7, 4, 2}, {2, 3, 4, 7}),
    ],
)
def test_subgraph_holds_the_paths_between_conflicted_events(conflicted: set[int], subgraph: set[int]) -> None:
    """And nothing below the lowest of them."""
    assert conflicted_subgraph(_graph(), conflicted) == subgraph


def test_graph_finds_the_power_levels_an_event_cites() -> None:
    """Or none."""
    room = Graph(ROOM_VERSIONS["11"])
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    levels = room.states[0]["m.room.power_levels", ""]
    last = room.tips[0][0].event_id
    assert graph.power_levels_of(last) == levels
    assert graph.power_levels_of(levels) is None
    with pytest.raises(LookupError):
        AuthGraph(lambda ref: None, EDGES.__getitem__).at_hand(1)
