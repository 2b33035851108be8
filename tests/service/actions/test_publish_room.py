"""Publishing rooms, in the server's directory and in those of networks."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import RoomId
from conduit.service.actions.publish_room import publish_on_network, publish_room
from conduit.service.rooms import directory
from tests.support.rooms import ALICE, BOB, World


def test_publish_needs_power_over_the_rooms_aliases() -> None:
    """An ordinary member and a stranger are refused, and nothing changes."""
    world = World()
    room_id = world.create(ALICE)
    with pytest.raises(Forbidden):
        publish_room(world.ctx, BOB, room_id, public=True)
    world.join(room_id, BOB)
    with pytest.raises(Forbidden):
        publish_room(world.ctx, BOB, room_id, public=True)
    assert not directory.is_public(world.db, room_id)
    publish_room(world.ctx, ALICE, room_id, public=True)
    assert directory.public_rooms(world.db) == [room_id]
    publish_room(world.ctx, ALICE, room_id, public=False)
    assert directory.public_rooms(world.db) == []


def test_publish_of_an_unknown_room_is_not_found() -> None:
    """There is nothing to publish."""
    world = World()
    nowhere = RoomId("!nowhere:localhost")
    with pytest.raises(NotFound):
        publish_room(world.ctx, ALICE, nowhere, public=True)
    with pytest.raises(NotFound):
        publish_on_network(world.ctx, "irc", "libera", nowhere, public=True)


def test_publish_on_a_network_is_apart_from_the_servers_directory() -> None:
    """A network's directory has its own rooms."""
    world = World()
    room_id = world.create(ALICE)
    publish_on_network(world.ctx, "irc", "libera", room_id, public=True)
    publish_on_network(world.ctx, "irc", "oftc", room_id, public=True)
    assert directory.rooms_of_network(world.db, "irc|libera") == [room_id]
    assert directory.rooms_of_network(world.db, None) == [room_id]
    assert not directory.is_public(world.db, room_id)
    publish_on_network(world.ctx, "irc", "libera", room_id, public=False)
    assert directory.rooms_of_network(world.db, "irc|libera") == []
    assert directory.rooms_of_network(world.db, "irc") == [room_id]
