"""Tests of several events in one batch."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import RoomId
from conduit.protocol.room_versions import SUPPORTED, room_version
from conduit.service.events import RoomView
from conduit.service.rooms import members, state, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, World


@pytest.mark.parametrize("version", SUPPORTED)
def test_room_is_created_in_one_batch(version: str) -> None:
    """Each event stands on those before within the batch, and afterwards the whole room is there."""
    world = World()
    rules = room_version(version)
    with world.db.batch() as batch:
        view = RoomView.create(world.ctx, batch, ALICE, {"m.federate": True}, rules)
        view.add(ALICE, "m.room.member", {"membership": "join"}, state_key=ALICE)
        view.add(ALICE, "m.room.power_levels", {"users": {}}, state_key="")
        view.add(ALICE, "m.room.member", {"membership": "invite"}, state_key=BOB)
        assert members.joined(batch, view.room_id) == {ALICE}
        assert not state.exists(world.db, view.room_id)
    create = state.current(world.db, view.room_id, "m.room.create")
    assert create is not None
    assert create.content["room_version"] == version
    assert ("creator" in create.content) == (not rules.creator_is_sender)
    assert [event.depth for _, event in timeline.scan(world.db, view.room_id)] == [1, 2, 3, 4]
    invariants.check_all(world.db)


def test_refused_event_undoes_the_whole_room() -> None:
    """A room whose creation fails half-way was never there."""
    world = World()

    def fail() -> RoomId:
        with world.db.batch() as batch:
            view = RoomView.create(world.ctx, batch, ALICE, {}, room_version("11"))
            view.add(ALICE, "m.room.member", {"membership": "join"}, state_key=ALICE)
            made.append(view.room_id)
            view.add(BOB, "m.room.name", {"name": "x"}, state_key="")
        return view.room_id

    made: list[RoomId] = []
    with pytest.raises(Forbidden):
        fail()
    assert not state.exists(world.db, made[0])
    assert members.rooms(world.db, ALICE) == []


def test_repeated_state_is_not_sent_again() -> None:
    """The same content of the same sender gives the event that is there; another's, or another content, a new one."""
    world = World()
    room_id = world.create(users={BOB: 50})
    world.join(room_id, BOB)
    first = world.set(room_id, ALICE, "m.room.name", {"name": "x", "flag": True})
    last = timeline.last_position(world.db, room_id)
    assert world.set(room_id, ALICE, "m.room.name", {"flag": True, "name": "x"}) == first
    assert timeline.last_position(world.db, room_id) == last
    assert world.set(room_id, ALICE, "m.room.name", {"name": "x", "flag": 1}) != first
    assert world.set(room_id, BOB, "m.room.name", {"name": "x", "flag": 1}).sender == BOB
    world.set(room_id, ALICE, "m.room.name", {"name": "x", "flag": True})


def test_unknown_room_cannot_be_opened() -> None:
    """A view needs state to stand on."""
    world = World()
    with world.db.batch() as batch, pytest.raises(NotFound):
        RoomView.open(world.ctx, batch, RoomId("!unknown:localhost"))


def test_membership_check_may_be_left_to_the_rules() -> None:
    """Without the check a sender outside of the room is still refused, by the auth rules, for anything new."""
    world = World()
    room_id = world.create()
    with world.db.batch() as batch:
        view = RoomView.open(world.ctx, batch, room_id)
        with pytest.raises(Forbidden):
            view.add(BOB, "m.room.message", {}, check_membership=False)
