from __future__ import annotations

from typing import Any

from conduit.protocol.ids import EventId
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.state_res.auth_graph import AuthGraph
from conduit.protocol.state_res.mainline import mainline_sort
from tests.protocol.room import ALICE, BOB
from tests.protocol.state_res.graphs import Graph


def _add(room: Graph, event_type: str, content: dict[str, Any], ts: int) -> EventId:
    event = room.add(0, ALICE, event_type, content, ts=ts)
    assert event is not None
    return event.event_id


def test_order_is_by_mainline_then_time_then_id() -> None:
    """What rests on the oldest power levels comes first, so that the newest has the last word."""
    room = Graph(ROOM_VERSIONS["11"])
    oldest = _add(room, "m.room.topic", {"n": 1}, 900)
    _add(room, "m.room.power_levels", {"users": {ALICE: 100}}, 1)
    middle = [_add(room, "m.room.topic", {"n": 2}, 500), _add(room, "m.room.topic", {"n": 3}, 400)]
    newest_levels = _add(room, "m.room.power_levels", {"users": {ALICE: 100, BOB: 1}}, 1)
    newest = sorted([_add(room, "m.room.topic", {"n": 4}, 10), _add(room, "m.room.topic", {"n": 5}, 10)])
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    refs = [newest[1], middle[0], oldest, newest[0], middle[1]]
    assert mainline_sort(graph, refs, newest_levels) == [oldest, middle[1], middle[0], *newest]


def test_events_off_the_mainline_come_first() -> None:
    """Their position is beyond every other; without power levels there is no mainline, and time decides."""
    room = Graph(ROOM_VERSIONS["11"])
    first_join = room.room.events[1].event_id
    topic = _add(room, "m.room.topic", {}, 1)
    levels = room.states[0]["m.room.power_levels", ""]
    graph = AuthGraph(room.fetch, lambda ref: room.events[ref].auth_events)
    assert mainline_sort(graph, [topic, first_join], levels) == [first_join, topic]
    assert mainline_sort(graph, [first_join, topic], None) == [topic, first_join]
