from __future__ import annotations

from conduit.protocol.ids import EventId
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.state_res.auth_graph import AuthGraph
from conduit.protocol.state_res.iterative_auth import Resolver
from tests.protocol.room import ALICE, BOB, every_version
from tests.protocol.state_res.graphs import Graph, StateIds


def _resolver(room: Graph, rejected: EventId | None = None) -> Resolver[tuple[str, str], EventId]:
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    create = room.states[0]["m.room.create", ""]
    return Resolver(room.version, graph, lambda *key: key, lambda ref: ref == rejected, create)


@every_version()
def test_state_lacking_is_taken_from_the_auth_events(version: RoomVersion) -> None:
    """Starting from nothing, an event brings what it cites; in version 12 the create event is known besides."""
    room = Graph(version)
    topic = room.add(0, BOB, "m.room.topic", {})
    assert topic is not None
    state: StateIds = {}
    _resolver(room).apply(state, [topic.event_id])
    assert state == {("m.room.topic", ""): topic.event_id}


@every_version()
def test_state_at_hand_comes_before_the_auth_events(version: RoomVersion) -> None:
    """An event that its own auth events allow is judged by the state all the same."""
    room = Graph(version)
    other = room.fork(0)
    topic = room.add(0, BOB, "m.room.topic", {})
    ban = room.add(other, ALICE, "m.room.member", {"membership": "ban"}, BOB)
    assert topic is not None
    assert ban is not None
    state: StateIds = {}
    _resolver(room).apply(state, [ban.event_id, topic.event_id])
    assert state == {("m.room.member", BOB): ban.event_id}


@every_version()
def test_rejected_auth_events_are_not_used(version: RoomVersion) -> None:
    """Not even where nothing else is known."""
    room = Graph(version)
    topic = room.add(0, BOB, "m.room.topic", {})
    assert topic is not None
    state: StateIds = {}
    _resolver(room, rejected=room.states[0]["m.room.member", BOB]).apply(state, [topic.event_id])
    assert state == {}


@every_version()
def test_messages_never_become_state(version: RoomVersion) -> None:
    """Should one be among the events by mistake."""
    room = Graph(version)
    message = room.room.put(room.room.event(ALICE, "m.room.message", {}, None))
    room.events[message.event_id] = message
    state: StateIds = {}
    _resolver(room).apply(state, [message.event_id])
    assert state == {}
