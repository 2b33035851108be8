"""Who is told to fetch whose keys."""

from __future__ import annotations

from conduit.database import trees
from conduit.protocol.ids import UserId
from conduit.service.keys import device_lists
from conduit.service.rooms import members
from tests.support.rooms import ALICE, BOB, CAROL, World


def change(world: World, user_id: UserId) -> None:
    """Say that a user's devices have changed."""
    with world.db.batch() as batch:
        device_lists.record_change(batch, user_id)


def changed(world: World, observer: UserId, since: int) -> set[UserId]:
    """Return who has changed since, as seen by somebody."""
    return device_lists.changed(world.db, observer, since, world.db.current_count())


def test_change_is_seen_by_who_shares_a_room_and_by_oneself() -> None:
    """Strangers are told nothing; who has left is told nothing more."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    since = world.db.current_count()
    change(world, ALICE)
    change(world, CAROL)
    assert changed(world, ALICE, since) == {ALICE}
    assert changed(world, BOB, since) == {ALICE}
    assert changed(world, CAROL, since) == {CAROL}
    world.leave(room_id, BOB)
    assert changed(world, BOB, since) == set()


async def test_change_wakes_whoever_sees_it() -> None:
    """And nobody else."""
    world = World()
    room_id = world.create(ALICE)
    world.join(room_id, BOB)
    await world.db.durable()
    before = world.db.watch.newest
    waiters = {user: world.db.watch.register([("user", user)]) for user in (ALICE, BOB, CAROL)}
    change(world, ALICE)
    await world.db.durable()
    told = {user for user in waiters if world.db.watch.latest(members.news_keys(world.db, user)) > before}
    assert told == {ALICE, BOB}
    assert {user for user, waiter in waiters.items() if await waiter.wait(0)} == told


def test_each_user_has_one_row_at_the_newest_change() -> None:
    """The stream does not grow with every change, and intervals are half open."""
    world = World()
    change(world, ALICE)
    first = world.db.current_count()
    change(world, ALICE)
    second = world.db.current_count()
    assert [user for _, user in trees.devicelist_stream.scan(world.db)] == [ALICE]
    assert device_lists.changed(world.db, ALICE, 0, first) == set()
    assert device_lists.changed(world.db, ALICE, first, second) == {ALICE}
    assert device_lists.changed(world.db, ALICE, second, second + 100) == set()


def test_private_change_is_seen_by_its_observer_alone() -> None:
    """Even where no room is shared."""
    world = World()
    since = world.db.current_count()
    with world.db.batch() as batch:
        device_lists.record_private_change(batch, ALICE, BOB)
    assert changed(world, ALICE, since) == {BOB}
    assert changed(world, BOB, since) == set()
    assert changed(world, ALICE, world.db.current_count()) == set()
