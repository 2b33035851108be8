from __future__ import annotations

import pytest

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.state_res.auth_graph import AuthGraph
from conduit.protocol.state_res.power_sort import is_power_event, power_events_and_chains, power_sort
from tests.protocol.room import ALICE, BOB, CAROL, DAVE, Room
from tests.protocol.state_res.graphs import Graph


@pytest.mark.parametrize(
    ("sender", "event_type", "content", "state_key", "expected"),
    [
        (ALICE, "m.room.power_levels", {}, "", True),
        (ALICE, "m.room.join_rules", {}, "", True),
        (ALICE, "m.room.power_levels", {}, "x", False),
        (ALICE, "m.room.member", {"membership": "ban"}, BOB, True),
        (ALICE, "m.room.member", {"membership": "leave"}, BOB, True),
        (BOB, "m.room.member", {"membership": "leave"}, BOB, False),
        (ALICE, "m.room.member", {"membership": "invite"}, BOB, False),
        (ALICE, "m.room.topic", {}, "", False),
    ],
)
def test_power_events_are_those_that_take_something_away(
    sender: str, event_type: str, content: dict[str, str], state_key: str, expected: bool
) -> None:
    """Levels, join rules, kicks and bans."""
    assert is_power_event(Room("11").event(sender, event_type, content, state_key)) is expected


def _sent(event: Event | None) -> Event:
    assert event is not None
    return event


def test_order_is_by_auth_events_then_power_then_time_then_id() -> None:
    """Each in its turn."""
    room = Graph(ROOM_VERSIONS["11"])
    for _ in range(3):
        room.fork(0)
    bob = _sent(room.add(0, BOB, "m.room.member", {"membership": "leave"}, DAVE, ts=1))
    alice_late = _sent(room.add(1, ALICE, "m.room.member", {"membership": "ban"}, BOB, ts=9))
    alice_soon = _sent(room.add(2, ALICE, "m.room.member", {"membership": "ban"}, CAROL, ts=5))
    alice_same = _sent(room.add(3, ALICE, "m.room.member", {"membership": "ban"}, DAVE, ts=5))
    lifted = _sent(room.add(1, ALICE, "m.room.member", {"membership": "leave"}, BOB, ts=0))
    refs = {event.event_id for event in (bob, alice_late, alice_soon, alice_same, lifted)}
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    create = room.states[0]["m.room.create", ""]
    same_time = sorted((alice_soon.event_id, alice_same.event_id))
    expected = [*same_time, alice_late.event_id, lifted.event_id, bob.event_id]
    assert power_sort(graph, refs, room.version, create) == expected


def test_chain_of_a_power_event_comes_along_within_the_set() -> None:
    """What lies outside the full conflicted set is not passed through."""
    room = Graph(ROOM_VERSIONS["11"])
    join = room.states[0]["m.room.member", BOB]
    levels = room.states[0]["m.room.power_levels", ""]
    ban = _sent(room.add(0, ALICE, "m.room.member", {"membership": "ban"}, BOB))
    topic = _sent(room.add(0, ALICE, "m.room.topic", {}))
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    assert power_events_and_chains(graph, {ban.event_id, topic.event_id, join}) == {ban.event_id, join}
    assert power_events_and_chains(graph, {topic.event_id, join}) == set()
    assert levels in power_events_and_chains(graph, {ban.event_id, levels})
