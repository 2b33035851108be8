"""Tests of who comes into sight and who goes out of it."""

from __future__ import annotations

from conduit.service.keys import sight
from tests.support.rooms import ALICE, BOB, CAROL, World


async def test_joins_and_leaves_change_who_is_in_sight() -> None:
    """A newcomer comes into sight; who leaves the last shared room goes; entering a room shows everybody there."""
    world = World()
    first, second = world.create(), world.create(CAROL)
    start = world.db.current_count()
    world.join(first, BOB)
    one = world.db.current_count()
    assert await sight.changes(world.db, ALICE, start, one) == ({BOB}, set(), set())
    world.join(second, ALICE)
    world.join(second, BOB)
    two = world.db.current_count()
    assert (await sight.changes(world.db, ALICE, one, two)).came == {BOB, CAROL}
    world.leave(first, BOB)
    three = world.db.current_count()
    assert (await sight.changes(world.db, ALICE, two, three)).went == set()
    world.leave(second, ALICE)
    four = world.db.current_count()
    assert await sight.changes(world.db, ALICE, three, four) == (set(), {BOB, CAROL}, set())


async def test_who_comes_again_comes_into_sight_again() -> None:
    """While somebody was away, or the observer was, nothing was heard of their devices."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    start = world.db.current_count()
    world.leave(room_id, BOB)
    world.join(room_id, BOB)
    one = world.db.current_count()
    assert await sight.changes(world.db, ALICE, start, one) == ({BOB}, set(), set())
    assert await sight.changes(world.db, BOB, start, one) == ({ALICE}, set(), set())


async def test_who_is_invited_is_told_apart() -> None:
    """Until they join they are in no room, but they may be sent keys."""
    world = World()
    room_id = world.create()
    start = world.db.current_count()
    world.member(room_id, ALICE, BOB, "invite")
    one = world.db.current_count()
    assert await sight.changes(world.db, ALICE, start, one) == (set(), set(), {BOB})
    world.join(room_id, BOB)
    assert await sight.changes(world.db, ALICE, one, world.db.current_count()) == ({BOB}, set(), set())
