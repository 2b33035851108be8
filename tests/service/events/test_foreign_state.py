"""Many events of a room at once, as another server tells them."""

from __future__ import annotations

import orjson

from conduit.protocol.ids import RoomId
from conduit.protocol.json_pieces import pieces
from conduit.service.events import foreign_state
from conduit.service.events.foreign_state import Answer
from tests.support.federation import Network, network
from tests.support.scripted_room import ScriptedRoom

STATE = frozenset({"state"})


async def read(net: Network, room: ScriptedRoom, pdus: list[object]) -> Answer:
    """Return the answer that such a list gives, judged."""
    ctx = net["two.test"].ctx
    body = orjson.dumps({"state": pdus, "more": 1})
    answer = await foreign_state.read(ctx, room.version, RoomId(room.room_id), pieces(body, STATE), STATE)
    await foreign_state.judge(ctx.db, answer, room.state["m.room.create", ""])
    return answer


async def test_sound_events_are_accepted_in_any_order() -> None:
    """An event is judged after those that it cites, wherever these stand in the list."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        room.member("@zoe:far.test")
        pdus: list[object] = [event.pdu for event in reversed(room.events)]
        answer = await read(net, room, pdus)
        assert answer.rejected == {}
        assert answer.others == {"more": 1}
        assert await foreign_state.as_state(answer, "state") == {
            pair: event.event_id for pair, event in room.state.items()
        }
        create = foreign_state.create_of(answer, "state")
        assert create == room.state["m.room.create", ""]


async def test_what_cites_rejected_or_missing_events_is_rejected() -> None:
    """Both are no ground to stand on."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        bad = room.build("m.room.topic", {"topic": "x"}, state_key="", sender="@nobody:far.test")
        on_bad = room.build("m.room.name", {"name": "x"}, state_key="", auth=[room.events[0], bad])
        away = room.build("m.room.avatar", {}, state_key="")
        base = [event for event in room.events if event.type != "m.room.power_levels"]
        answer = await read(net, room, [event.pdu for event in (*base, bad, on_bad, away)])
        assert {bad.event_id, on_bad.event_id, away.event_id} <= answer.rejected.keys()
        assert answer.accepted(bad.event_id) is None


async def test_bad_events_are_dropped_and_counted() -> None:
    """Malformed, of another room, or wrongly signed: nothing is known of such an event."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        forged = {**room.events[1].pdu, "signatures": {"far.test": {"ed25519:peer": "A" * 86}}}
        answer = await read(net, room, [room.events[0].pdu, forged, {}, None, 3])
        assert answer.refused == 4
        assert list(answer.events) == [room.events[0].event_id]


async def test_known_events_are_passed_over_unchecked() -> None:
    """Who knows most of a state has only the rest checked."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        body = orjson.dumps({"state": [event.pdu for event in room.events]})
        wanted = frozenset({room.events[2].event_id})
        answer = await foreign_state.read(
            net["two.test"].ctx, room.version, RoomId(room.room_id), pieces(body, STATE), STATE, only=wanted
        )
        assert set(answer.events) == wanted


async def test_two_create_events_are_none() -> None:
    """A room has one beginning."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        content = {"creator": room.creator, "room_version": "10", "other": True}
        other = room.build("m.room.create", content, state_key="", prev=[])
        answer = await read(net, room, [event.pdu for event in (*room.events, other)])
        assert foreign_state.create_of(answer, "state") is None


async def test_events_are_decoded_again_when_they_are_not_kept() -> None:
    """Only some are kept as objects; all can be had."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"))
        for number in range(20):
            room.member(f"@user{number}:far.test")
        answer = await read(net, room, [event.pdu for event in room.events])
        foreign_state._DECODED, before = 3, foreign_state._DECODED
        try:
            for event in room.events:
                assert answer.event(event.event_id).pdu == event.pdu
        finally:
            foreign_state._DECODED = before
