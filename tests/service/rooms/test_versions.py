"""Tests of a room's version."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import NotFound
from conduit.protocol.ids import RoomId
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.rooms import versions
from tests.support.rooms import World

UNKNOWN = RoomId("!nowhere:localhost")


@pytest.mark.parametrize("version", SUPPORTED)
def test_version_is_read_from_the_create_event(version: str) -> None:
    """A room has the version that it was made with, also after a restart."""
    world = World()
    room_id = world.create(version=version)
    assert versions.version_of(world.db, room_id).id == version
    world.db.cache_pool.clear()
    assert versions.version_of(world.db, room_id).id == version


def test_unknown_room_has_no_version() -> None:
    """A room without state here has none, and asking for it is refused as not found."""
    world = World()
    assert versions.find(world.db, UNKNOWN) is None
    with pytest.raises(NotFound):
        versions.version_of(world.db, UNKNOWN)


def test_room_gets_its_version_when_it_is_created() -> None:
    """That a room was unknown a moment ago is not remembered beyond its creation."""
    world = World()
    room_id = world.create(version="9")
    assert versions.version_of(world.db, room_id).id == "9"
