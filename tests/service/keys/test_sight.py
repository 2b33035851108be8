"""Tests of who comes into sight and who goes out of it."""

from __future__ import annotations

from conduit.service.keys import sight
from tests.support.rooms import ALICE, BOB, CAROL, World


def test_joins_and_leaves_change_who_is_in_sight() -> None:
    """A newcomer comes into sight; who leaves the last shared room goes; entering a room shows everybody there."""
    world = World()
    first, second = world.create(), world.create(CAROL)
    start = world.db.current_count()
    world.join(first, BOB)
    one = world.db.current_count()
    assert sight.changes(world.db, ALICE, start, one) == ({BOB}, set())
    world.join(second, ALICE)
    world.join(second, BOB)
    two = world.db.current_count()
    assert sight.changes(world.db, ALICE, one, two).came == {BOB, CAROL}
    world.leave(first, BOB)
    three = world.db.current_count()
    assert sight.changes(world.db, ALICE, two, three).went == set()
    world.leave(second, ALICE)
    four = world.db.current_count()
    assert sight.changes(world.db, ALICE, three, four) == (set(), {BOB, CAROL})
