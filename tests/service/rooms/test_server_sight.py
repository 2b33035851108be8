"""Tests of what a server in a room may see of its history."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.rooms.server_sight import ServerViewer
from tests.support.rooms import ALICE, World

EVE, ED = UserId("@eve:peer.test"), UserId("@ed:peer.test")
PEER = ServerName("peer.test")


def room_with(world: World, setting: str) -> RoomId:
    """Return a room with a history visibility."""
    room_id = world.create()
    world.set(room_id, ALICE, "m.room.history_visibility", {"history_visibility": setting})
    return room_id


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        # before, while one was invited, joined, left, when another had joined
        ("joined", [False, False, True, False, True]),
        ("invited", [False, True, True, False, True]),
        ("shared", [True] * 5),
        ("world_readable", [True] * 5),
    ],
)
def test_server_sees_what_any_of_its_users_could(setting: str, expected: list[bool]) -> None:
    """Those who have left count for the time when they were there."""
    world = World()
    room_id = room_with(world, setting)
    said = [world.say(room_id, ALICE, "before")]
    world.member(room_id, ALICE, EVE, "invite")
    said.append(world.say(room_id, ALICE, "invited"))
    world.join(room_id, EVE)
    said.append(world.say(room_id, ALICE, "joined"))
    world.leave(room_id, EVE)
    said.append(world.say(room_id, ALICE, "left"))
    world.join(room_id, ED)
    said.append(world.say(room_id, ALICE, "another"))
    viewer = ServerViewer(world.db, room_id, PEER)
    assert [viewer.sees(event) for event in said] == expected
    assert [viewer.copy(event) is event for event in said] == expected
    assert [bool(viewer.copy(event).content) for event in said] == expected


def test_change_is_seen_from_either_side() -> None:
    """Who joins sees the own join, and who may see the old visibility sees its change."""
    world = World()
    room_id = room_with(world, "joined")
    join = world.join(room_id, EVE)
    leave = world.leave(room_id, EVE)
    closing = room_with(world, "world_readable")
    closed = world.set(closing, ALICE, "m.room.history_visibility", {"history_visibility": "joined"})
    viewer = ServerViewer(world.db, room_id, PEER)
    assert viewer.sees(join)
    assert viewer.sees(leave)
    assert ServerViewer(world.db, closing, PEER).sees(closed)


def test_messages_of_the_erased_are_withheld() -> None:
    """Even where history is open to everybody."""
    world = World()
    room_id = room_with(world, "world_readable")
    event = world.say(room_id, ALICE, "hello")
    assert ServerViewer(world.db, room_id, PEER, erased=[ALICE]).copy(event).content == {}
    assert ServerViewer(world.db, room_id, PEER, erased=[EVE]).copy(event).content == event.content
