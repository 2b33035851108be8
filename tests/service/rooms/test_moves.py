"""Tests of who came into a room and who went."""

from __future__ import annotations

from conduit.service.rooms import moves, state
from tests.support.rooms import ALICE, BOB, CAROL, World


async def test_moves_between_two_counts() -> None:
    """Who came and stayed has come, who was there and left has gone; who only changed a name, or came and went, is in neither."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    since = world.db.current_count()
    world.join(room_id, CAROL)
    world.leave(room_id, BOB)
    middle = world.db.current_count()
    world.join(room_id, ALICE, displayname="A")
    world.leave(room_id, CAROL)
    upto = world.db.current_count()
    assert await moves.between(world.db, room_id, since, middle) == ({CAROL}, {BOB}, set())
    assert await moves.between(world.db, room_id, since, upto) == (set(), {BOB}, set())
    assert await moves.between(world.db, room_id, 0, middle) == ({ALICE, CAROL}, set(), set())
    assert await moves.joined_in(world.db, state.at_count(world.db, room_id, middle) or 0) == {ALICE, CAROL}


async def test_who_went_and_came_again_has_come_and_invites_are_told_apart() -> None:
    """A change of name is no coming; an invite of somebody who was in the room, or knows of it, is none either."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    since = world.db.current_count()
    world.leave(room_id, BOB)
    world.join(room_id, BOB)
    world.member(room_id, ALICE, CAROL, "invite")
    upto = world.db.current_count()
    assert await moves.between(world.db, room_id, since, upto) == ({BOB}, set(), {CAROL})
    world.join(room_id, BOB, displayname="B")
    world.leave(room_id, CAROL)
    assert await moves.between(world.db, room_id, upto, world.db.current_count()) == (set(), set(), set())
