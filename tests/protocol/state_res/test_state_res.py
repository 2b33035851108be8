from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.protocol.state_res import resolve
from tests.protocol.room import ALICE, BOB, CAROL, DAVE, every_version
from tests.protocol.state_res.graphs import Graph, StateIds, random_graph

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "state_res.json").read_text())
LATER = [version for version in ROOM_VERSIONS.values() if version.state_res != 1]
later_versions = pytest.mark.parametrize("version", LATER, ids=[f"v{version.id}" for version in LATER])


def _digest(state: StateIds) -> str:
    rows = sorted([*key, event_id] for key, event_id in state.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


@every_version()
def test_resolve_gives_the_golden_states(version: RoomVersion) -> None:
    """Of quarrelling branches; Synapse 1.163's `synapse.state.v1` and `v2` resolve the same graphs to the same states."""
    for seed, expected in VECTORS[version.id].items():
        assert _digest(random_graph(version, int(seed), steps=120).resolve()) == expected


@every_version()
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_resolve_does_not_depend_on_any_order(version: RoomVersion, seed: int) -> None:
    """States and their keys may come in any order, and twice."""
    graph, dice = random_graph(version, seed), random.Random(seed)
    resolved = graph.resolve()
    for _ in range(3):
        states = [dict(dice.sample(list(state.items()), len(state))) for state in graph.states]
        dice.shuffle(states)
        assert graph.resolve([*states, states[0]]) == resolved


@every_version()
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_resolve_works_on_integers_alike(version: RoomVersion, seed: int) -> None:
    """Short ids for events and for state keys, with edges given apart."""
    graph = random_graph(version, seed)
    events = list(graph.events.values())
    short: dict[Hashable, int] = {event.event_id: number for number, event in enumerate(events)}
    keys: dict[tuple[str, str], int] = {}
    states = [
        {keys.setdefault(key, len(keys)): short[event_id] for key, event_id in state.items()} for state in graph.states
    ]
    resolved = resolve(
        version,
        states,
        events.__getitem__,
        auth_of=lambda number: [short[event_id] for event_id in events[number].auth_events],
        key_of=lambda event_type, state_key: keys.setdefault((event_type, state_key), len(keys)),
    )
    names = {number: key for key, number in keys.items()}
    assert {names[key]: events[number].event_id for key, number in resolved.items()} == graph.resolve()


@every_version()
def test_resolve_keeps_what_all_states_agree_on(version: RoomVersion) -> None:
    """One state, equal states, no state; and whatever is not in conflict."""
    graph = random_graph(version, 7)
    state = graph.states[0]
    assert graph.resolve([state]) == graph.resolve([state, dict(state)]) == state
    assert resolve(version, [], graph.fetch) == {}
    resolved = graph.resolve()
    for key, event_id in state.items():
        if all(other.get(key) == event_id for other in graph.states):
            assert resolved[key] == event_id


@later_versions
def test_ban_on_one_branch_undoes_what_the_banned_did_on_another(version: RoomVersion) -> None:
    """Power events come first, so the ban stands, and the topic set meanwhile falls."""
    graph = Graph(version)
    graph.add(0, ALICE, "m.room.topic", {"topic": "before"})
    other = graph.fork(0)
    graph.add(0, ALICE, "m.room.member", {"membership": "ban"}, BOB)
    graph.add(other, BOB, "m.room.topic", {"topic": "after"})
    resolved = graph.resolve()
    assert graph.shown(resolved, "m.room.member", BOB) == {"membership": "ban"}
    assert graph.shown(resolved, "m.room.topic") == {"topic": "before"}


@later_versions
def test_power_is_taken_before_it_is_used(version: RoomVersion) -> None:
    """The stronger sender is judged first, whenever they spoke: a ban by somebody who loses their power falls."""
    graph = Graph(version)
    alice = {} if version.creators_privileged else {ALICE: 100}
    other = graph.fork(0)
    assert graph.add(other, BOB, "m.room.member", {"membership": "ban"}, DAVE, ts=1)
    assert graph.add(0, ALICE, "m.room.power_levels", {"users": {**alice, CAROL: 50}}, ts=2_000_000)
    resolved = graph.resolve()
    assert graph.shown(resolved, "m.room.power_levels")["users"] == {**alice, CAROL: 50}
    assert graph.shown(resolved, "m.room.member", DAVE) == {"membership": "join"}


@later_versions
def test_equal_topics_are_settled_by_time_and_then_by_id(version: RoomVersion) -> None:
    """Under the same power levels the later one wins, at the same time the greater id."""
    graph = Graph(version)
    other = graph.fork(0)
    graph.add(0, ALICE, "m.room.topic", {"topic": "late"}, ts=2_000_002)
    graph.add(other, BOB, "m.room.topic", {"topic": "early"}, ts=2_000_001)
    assert graph.shown(graph.resolve(), "m.room.topic") == {"topic": "late"}
    first = graph.add(0, ALICE, "m.room.name", {"name": "a"}, ts=2_000_003)
    second = graph.add(other, BOB, "m.room.name", {"name": "b"}, ts=2_000_003)
    assert first is not None
    assert second is not None
    assert graph.resolve()["m.room.name", ""] == max(first.event_id, second.event_id)


@later_versions
def test_state_on_newer_power_levels_wins_over_older(version: RoomVersion) -> None:
    """Mainline before time: what was said under the newer power levels counts, though it is older by the clock."""
    graph = Graph(version)
    alice = {} if version.creators_privileged else {ALICE: 100}
    other = graph.fork(0)
    graph.add(0, ALICE, "m.room.power_levels", {"users": {**alice, BOB: 60}, "state_default": 10})
    graph.add(0, ALICE, "m.room.topic", {"topic": "new levels"}, ts=1)
    graph.add(other, ALICE, "m.room.topic", {"topic": "old levels"}, ts=3_000_000)
    assert graph.shown(graph.resolve(), "m.room.topic") == {"topic": "new levels"}


@later_versions
def test_stale_state_does_not_come_back(version: RoomVersion) -> None:
    """A branch that never heard of a ban, its lifting and the new join does not undo them."""
    graph = Graph(version)
    old = graph.states[0]
    graph.add(0, ALICE, "m.room.member", {"membership": "ban"}, DAVE)
    graph.add(0, ALICE, "m.room.member", {"membership": "leave"}, DAVE)
    last = graph.add(0, DAVE, "m.room.member", {"membership": "join", "displayname": "Dave"}, DAVE)
    assert last is not None
    assert graph.resolve([graph.states[0], old])["m.room.member", DAVE] == last.event_id


@later_versions
def test_rejected_event_authorises_nothing(version: RoomVersion) -> None:
    """Whoever joined by a rejected event has not joined, as far as the others are concerned."""
    graph = Graph(version)
    invite_only = graph.add(0, ALICE, "m.room.member", {"membership": "leave"}, DAVE)
    join = graph.add(0, DAVE, "m.room.member", {"membership": "join", "again": True}, DAVE)
    other = graph.fork(0)
    graph.add(0, DAVE, "m.room.third_party_invite", {"n": 1}, "a")
    assert invite_only is not None
    assert join is not None
    states = graph.states
    assert ("m.room.third_party_invite", "a") in resolve(version, states, graph.fetch)
    resolved = resolve(version, states, graph.fetch, rejected=lambda event_id: event_id == join.event_id)
    assert ("m.room.third_party_invite", "a") not in resolved
    assert resolved == graph.states[other]


@every_version()
def test_events_not_at_hand_take_no_part(version: RoomVersion) -> None:
    """The rest resolves without them, and nothing is raised."""
    graph = random_graph(version, 11)
    states = graph.states
    conflicted = {key for state in states for key in state if any(other.get(key) != state[key] for other in states)}
    hidden = {state[key] for state in states for key in sorted(conflicted)[:2] if key in state}
    resolved = resolve(version, states, lambda event_id: None if event_id in hidden else graph.fetch(event_id))
    assert hidden.isdisjoint(event_id for key, event_id in resolved.items() if key in conflicted)


@later_versions
def test_cycle_of_auth_events_ends(version: RoomVersion) -> None:
    """Given ids, or a fetch that lies, can make one; it costs no time and lets nobody in."""
    graph = Graph(version)
    other = graph.fork(0)
    alice = {} if version.creators_privileged else {ALICE: 100}
    first = graph.add(0, ALICE, "m.room.power_levels", {"users": {**alice, BOB: 60}, "state_default": 10})
    second = graph.add(other, ALICE, "m.room.power_levels", {"users": {**alice, BOB: 70}, "state_default": 10})
    assert first is not None
    assert second is not None
    edges: dict[Any, list[Any]] = {first.event_id: [second.event_id], second.event_id: [first.event_id]}
    resolved = resolve(
        version,
        graph.states,
        graph.fetch,
        auth_of=lambda event_id: edges.get(event_id, graph.events[event_id].auth_events),
    )
    assert resolved.get(("m.room.power_levels", "")) not in (first.event_id, second.event_id)
