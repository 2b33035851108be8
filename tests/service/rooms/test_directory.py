"""The facts of the directory."""

from __future__ import annotations

from conduit.service.rooms import directory
from tests.support.rooms import ALICE, World


def test_public_mark_is_set_and_taken_once() -> None:
    """Setting twice is as once, and taking away what is not there does nothing."""
    world = World()
    one, two = world.create(ALICE), world.create(ALICE)
    with world.db.batch() as batch:
        for _ in range(2):
            directory.set_public(batch, one, True)
        directory.set_public(batch, two, False)
    assert directory.is_public(world.db, one)
    assert directory.public_rooms(world.db) == [one]


def test_network_names_do_not_run_into_each_other() -> None:
    """A service or network whose name begins like another's has its own rooms."""
    world = World()
    room_id = world.create(ALICE)
    with world.db.batch() as batch:
        directory.set_on_network(batch, "irc2", "a", room_id, True)
        directory.set_on_network(batch, "irc", "ab", room_id, True)
    assert directory.rooms_of_network(world.db, "irc|a") == []
    assert directory.rooms_of_network(world.db, "irc|ab") == [room_id]
