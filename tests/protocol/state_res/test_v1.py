from __future__ import annotations

from hashlib import sha1

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from tests.protocol.room import ALICE, BOB, CAROL
from tests.protocol.state_res.graphs import Graph

V1 = ROOM_VERSIONS["1"]


def _fork() -> Graph:
    graph = Graph(V1)
    graph.fork(0)
    return graph


def _sent(event: Event | None) -> Event:
    assert event is not None
    return event


def test_key_of_one_state_alone_is_no_conflict() -> None:
    """It belongs to the union; the later algorithms would judge it."""
    graph = _fork()
    topic = _sent(graph.add(1, BOB, "m.room.topic", {"topic": "x"}))
    assert graph.resolve()["m.room.topic", ""] == topic.event_id


def test_other_state_is_taken_from_the_greatest_depth() -> None:
    """And at equal depth from the lowest hash of the event id."""
    graph = _fork()
    shallow = _sent(graph.add(0, ALICE, "m.room.topic", {"topic": "a"}, ts=9_000_000))
    graph.add(1, BOB, "m.room.name", {"name": "x"})
    deep = _sent(graph.add(1, BOB, "m.room.topic", {"topic": "b"}, ts=1))
    assert deep.depth > shallow.depth
    assert graph.resolve()["m.room.topic", ""] == deep.event_id
    graph = _fork()
    equals = [_sent(graph.add(branch, ALICE, "m.room.topic", {"n": branch})) for branch in (0, 1)]
    lowest = min(equals, key=lambda event: sha1(event.event_id.encode()).hexdigest())
    assert graph.resolve()["m.room.topic", ""] == lowest.event_id


def test_power_levels_follow_each_other_as_long_as_they_are_allowed() -> None:
    """From the least depth on; the first that its predecessor forbids ends the row."""
    graph = _fork()
    strict = {"users": {ALICE: 100, BOB: 50, CAROL: 50}, "events": {"m.room.power_levels": 100}}
    first = _sent(graph.add(0, ALICE, "m.room.power_levels", strict))
    graph.add(1, ALICE, "m.room.name", {"name": "x"})
    loose = {"users": {ALICE: 100, BOB: 50, CAROL: 50}, "state_default": 20}
    second = _sent(graph.add(1, BOB, "m.room.power_levels", loose))
    assert second.depth > first.depth
    assert graph.resolve()["m.room.power_levels", ""] == first.event_id


def test_members_are_judged_by_the_power_levels_that_came_out() -> None:
    """Power levels, then join rules, then members."""
    graph = _fork()
    graph.add(0, ALICE, "m.room.power_levels", {"users": {ALICE: 100}, "ban": 90})
    graph.add(0, CAROL, "m.room.member", {"membership": "join", "n": 1}, CAROL)
    graph.add(1, ALICE, "m.room.name", {"name": "x"})
    banned = _sent(graph.add(1, ALICE, "m.room.member", {"membership": "ban"}, CAROL))
    assert graph.resolve()["m.room.member", CAROL] == banned.event_id


def test_conflict_that_nothing_settles_takes_the_last() -> None:
    """When no event is allowed, the one of least depth stays."""
    graph = _fork()
    first = _sent(graph.add(0, BOB, "m.room.topic", {"n": 1}))
    graph.add(1, BOB, "m.room.name", {"n": 1})
    graph.add(1, BOB, "m.room.topic", {"n": 2})
    states = [dict(state) for state in graph.states]
    gone = _sent(graph.add(0, BOB, "m.room.member", {"membership": "leave"}, BOB))
    for state in states:
        state["m.room.member", BOB] = gone.event_id
    assert graph.resolve(states)["m.room.topic", ""] == first.event_id
