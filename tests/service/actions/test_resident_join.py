"""Tests of what a server is told that has joined a room."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from conduit.protocol.errors import NotFound
from conduit.protocol.ids import EventId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.actions import resident_join
from conduit.service.rooms import federated
from tests.support.rooms import ALICE, World, users

EVE = UserId("@eve:peer.test")


async def told(world: World, event: Event, *, omit_members: bool | None) -> dict[str, Any]:
    """Return the answer to a join."""
    pieces = await resident_join.answer(world.ctx, event, omit_members=omit_members)
    answer: dict[str, Any] = orjson.loads(b"".join([piece async for piece in pieces]))
    return answer


def events(pdus: list[Any], version: str = "11") -> dict[EventId, Event]:
    """Return events by id."""
    found = [Event.from_pdu(pdu, ROOM_VERSIONS[version]) for pdu in pdus]
    assert len({event.event_id for event in found}) == len(found)
    return {event.event_id: event for event in found}


@pytest.mark.parametrize("step", [2, 1000])
async def test_answer_is_whole_in_steps_of_any_size(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state before the join, and all that authorises it and the join."""
    monkeypatch.setattr(federated, "STEP", step)
    monkeypatch.setattr(federated, "EDGE_STEP", step)
    monkeypatch.setattr(resident_join, "_STEP", step)
    world = World()
    room_id = world.create()
    for user_id in users(5):
        world.join(room_id, user_id)
    join = world.join(room_id, EVE)
    answer = await told(world, join, omit_members=False)
    state, chain = events(answer["state"]), events(answer["auth_chain"])
    assert len(state) == 4 + 5
    for event in (*state.values(), *chain.values(), join):
        assert set(event.auth_events) <= chain.keys()
    assert answer["event"] == join.pdu
    assert "servers_in_room" not in answer


async def test_answer_without_members_names_the_room_and_its_servers() -> None:
    """By at most five people; who has been there before gets the own former membership too."""
    world = World()
    room_id = world.create()
    world.join(room_id, EVE)
    world.leave(room_id, EVE)
    world.join(room_id, UserId("@olga:other.test"))
    join = world.join(room_id, EVE)
    answer = await told(world, join, omit_members=True)
    listed = {event.state_key for event in events(answer["state"]).values() if event.type == "m.room.member"}
    assert listed == {ALICE, EVE, "@olga:other.test"}
    assert sorted(answer["servers_in_room"]) == ["localhost", "other.test"]
    again = await told(world, world.join(room_id, UserId("@second:peer.test")), omit_members=True)
    assert sorted(again["servers_in_room"]) == ["localhost", "other.test", "peer.test"]


async def test_answer_without_members_holds_who_vouches_for_the_join() -> None:
    """Without that membership the join cannot be judged on the state."""
    world = World()
    room_id = world.create()
    world.set(room_id, ALICE, "m.room.name", {"name": "Study"})
    join = world.join(room_id, EVE, join_authorised_via_users_server=ALICE)
    answer = await told(world, join, omit_members=True)
    listed = {event.state_key for event in events(answer["state"]).values() if event.type == "m.room.member"}
    assert listed == {ALICE}


async def test_answer_in_the_old_form_does_not_speak_of_omission() -> None:
    """Only the three lists."""
    world = World()
    room_id = world.create()
    answer = await told(world, world.join(room_id, EVE), omit_members=None)
    assert answer.keys() == {"event", "state", "auth_chain"}


async def test_join_whose_state_is_not_known_is_not_found() -> None:
    """Nothing can be told then."""
    world = World()
    room_id = world.create()
    join = world.join(room_id, EVE)
    unknown = Event(EventId("$" + "x" * 43), join.pdu, join.version)
    with pytest.raises(NotFound):
        await resident_join.answer(world.ctx, unknown, omit_members=False)
