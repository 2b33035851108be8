"""Rooms whose members are not all known."""

from __future__ import annotations

import asyncio

from conduit.database import trees
from conduit.protocol.ids import EventId, RoomId, ServerName
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.rooms import members, partial
from conduit.service.rooms.partial import Partial
from tests.support.rooms import ALICE, World

KNOWN = Partial(EventId("$join"), frozenset((ServerName("a.test"), ServerName("b.test"))), (ServerName("a.test"),))


def test_partial_room_goes_to_the_servers_named_at_the_join() -> None:
    """As long as members are missing, whoever was there counts as being there."""
    world = World()
    room_id = world.create(ALICE)
    assert partial.find(world.db, room_id) is None
    with world.db.batch() as batch:
        partial.begin(batch, room_id, KNOWN)
    world.db.cache_pool.clear()
    assert partial.find(world.db, room_id) == KNOWN
    assert partial.rooms(world.db) == [room_id]
    assert set(members.servers(world.db, room_id)) == {"localhost", "a.test", "b.test"}
    with world.db.batch() as batch:
        partial.end(batch, room_id)
    assert not partial.is_partial(world.db, room_id)
    assert members.servers(world.db, room_id) == ["localhost"]


def test_members_of_the_past_are_looked_up_when_they_were_known() -> None:
    """A count at which members were missing stands for the one at which they had come."""
    world = World()
    room_id = world.create(ALICE)
    with world.db.batch() as batch:
        partial.begin(batch, room_id, KNOWN)
        partial.end(batch, room_id, since=10, until=20)
    assert [partial.as_whole(world.db, room_id, count) for count in (9, 10, 19, 20, 30)] == [9, 20, 20, 20, 30]
    assert partial.as_whole(world.db, RoomId("!other:localhost"), 15) == 15


async def test_who_waits_for_the_whole_goes_on_when_it_is_there() -> None:
    """One waits no longer than one wants to."""
    world = World()
    room_id = world.create(ALICE)
    assert await partial.whole(world.db, room_id, 0)
    with world.db.batch() as batch:
        partial.begin(batch, room_id, KNOWN)
    assert not await partial.whole(world.db, room_id, 0.001)
    waiting = asyncio.ensure_future(partial.whole(world.db, room_id, 30))
    await asyncio.sleep(0)
    with world.db.batch() as batch:
        partial.end(batch, room_id)
    await world.db.durable()
    assert await waiting


def test_room_under_way_is_known_to_be() -> None:
    """A join that has left the server and whose room is not here yet."""
    world = World()
    room_id = RoomId("!far:far.test")
    assert not partial.is_being_joined(world.db, room_id)
    with world.db.batch() as batch:
        trees.membership_intent.put(batch, (room_id, ALICE), {"membership": "join", "version": "10"})
    assert partial.is_being_joined(world.db, room_id)
    assert partial.is_being_joined(world.db, room_id, ALICE)
    assert partial.version_being_joined(world.db, room_id) is ROOM_VERSIONS["10"]
    with world.db.batch() as batch:
        trees.membership_intent.put(batch, (room_id, ALICE), {"membership": "join", "version": "10", "undo": True})
    assert not partial.is_being_joined(world.db, room_id)
    assert not partial.is_being_joined(world.db, room_id, ALICE)
