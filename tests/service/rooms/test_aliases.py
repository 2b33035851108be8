"""The facts of aliases."""

from __future__ import annotations

from conduit.protocol.ids import RoomAlias, ServerName
from conduit.service.rooms import aliases
from tests.support.rooms import ALICE, BOB, World

LOBBY, HALL = RoomAlias("#lobby:localhost"), RoomAlias("#hall:localhost")


def test_alias_names_its_room_and_maker() -> None:
    """Each alias knows both; a room lists its own, oldest first."""
    world = World()
    room_id = world.create(ALICE)
    with world.db.batch() as batch:
        aliases.add(batch, LOBBY, room_id, ALICE, count=batch.next_count())
        aliases.add(batch, HALL, room_id, BOB, count=batch.next_count())
    assert aliases.room_of(world.db, HALL) == room_id
    assert aliases.creator_of(world.db, HALL) == BOB
    assert aliases.of_room(world.db, room_id) == [LOBBY, HALL]


def test_removed_alias_is_gone_and_others_stay() -> None:
    """Conduit removes all of a room's aliases with one; here one goes."""
    world = World()
    room_id = world.create(ALICE)
    with world.db.batch() as batch:
        for alias in (LOBBY, HALL):
            aliases.add(batch, alias, room_id, ALICE, count=batch.next_count())
        aliases.remove(batch, LOBBY)
        aliases.remove(batch, RoomAlias("#unknown:localhost"))
    assert aliases.of_room(world.db, room_id) == [HALL]
    assert aliases.room_of(world.db, LOBBY) is None
    assert aliases.creator_of(world.db, LOBBY) is None


def test_moved_alias_keeps_its_maker() -> None:
    """An alias that moves names the other room and stays its maker's."""
    world = World()
    old, new = world.create(ALICE), world.create(ALICE)
    with world.db.batch() as batch:
        aliases.add(batch, LOBBY, old, BOB, count=batch.next_count())
        aliases.move(batch, LOBBY, new, count=batch.next_count())
    assert aliases.room_of(world.db, LOBBY) == new
    assert aliases.creator_of(world.db, LOBBY) == BOB
    assert aliases.of_room(world.db, old) == []
    assert aliases.of_room(world.db, new) == [LOBBY]


def test_local_aliases_are_told_by_their_server() -> None:
    """The part after the first colon decides, port included."""
    assert aliases.is_local(LOBBY, ServerName("localhost"))
    assert not aliases.is_local(RoomAlias("#lobby:localhost:8448"), ServerName("localhost"))
