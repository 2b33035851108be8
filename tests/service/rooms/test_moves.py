"""Tests of who came into a room and who went."""

from __future__ import annotations

from conduit.service.rooms import moves, state
from tests.support.rooms import ALICE, BOB, CAROL, World


def test_moves_between_two_counts() -> None:
    """Who came and stayed has come, who was there and left has gone; who did both, or only changed a name, is in neither."""
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
    assert moves.between(world.db, room_id, since, middle) == ({CAROL}, {BOB})
    assert moves.between(world.db, room_id, since, upto) == (set(), {BOB})
    assert moves.between(world.db, room_id, 0, middle) == ({ALICE, CAROL}, set())
    assert moves.joined_in(world.db, state.at_count(world.db, room_id, middle) or 0) == {ALICE, CAROL}
