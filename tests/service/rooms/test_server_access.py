"""Tests of which servers are let into a room's traffic."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId
from conduit.service.rooms import server_access
from tests.support.rooms import ALICE, World


def test_room_without_list_lets_everybody_in() -> None:
    """And so does one that is not known."""
    world = World()
    room_id = world.create()
    assert server_access.is_allowed(world.db, room_id, "any.test")
    assert server_access.is_allowed(world.db, RoomId("!unknown:any.test"), "any.test")
    server_access.require(world.db, room_id, "any.test")


def test_list_denies_whatever_the_case_and_the_port() -> None:
    """The newest list counts."""
    world = World()
    room_id = world.create()
    world.set(room_id, ALICE, "m.room.server_acl", {"allow": ["*"], "deny": ["*.evil.test"]})
    for name in ("a.evil.test", "A.EVIL.test", "a.evil.test:8448"):
        assert not server_access.is_allowed(world.db, room_id, name)
    assert server_access.is_allowed(world.db, room_id, "evil.test")
    with pytest.raises(Forbidden):
        server_access.require(world.db, room_id, "a.evil.test")
    world.set(room_id, ALICE, "m.room.server_acl", {"allow": ["*"]})
    assert server_access.is_allowed(world.db, room_id, "a.evil.test")


def test_blocked_room_lets_nobody_in() -> None:
    """By the administrator's decision, whatever its list says."""
    world = World()
    room_id = world.create()
    with world.db.batch() as batch:
        trees.disabledroomids.put(batch, room_id, True)
    assert server_access.is_blocked(world.db, room_id)
    with pytest.raises(Forbidden):
        server_access.require(world.db, room_id, "any.test")
