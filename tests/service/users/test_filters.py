"""Tests of stored filters."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.protocol.errors import BadJson, TooLarge
from conduit.service.users import filters
from tests.support.rooms import ALICE, BOB, World


def test_filter_is_kept_for_its_owner() -> None:
    """What was stored is there for its owner under an id that cannot be mistaken for a filter itself."""
    world = World()
    with world.db.batch() as batch:
        filter_id = filters.store(batch, ALICE, {"room": {"include_leave": True}})
    assert not filter_id.startswith("{")
    assert filters.get(world.db, ALICE, filter_id) == {"room": {"include_leave": True}}
    parsed = filters.parsed(world.db, ALICE, filter_id)
    assert parsed is not None
    assert parsed.room.include_leave
    assert filters.parsed(world.db, BOB, filter_id) is None
    assert filters.get(world.db, ALICE, "x" * 5000) is None


def test_filter_unknown_before_is_found_once_stored() -> None:
    """Asking for a filter too early does not hide it later."""
    world = World()
    with world.db.batch() as batch:
        filter_id = filters.store(batch, BOB, {})
    assert filters.parsed(world.db, ALICE, filter_id) is None
    with world.db.batch() as batch:
        assert filters.store(batch, ALICE, {}) == filter_id
    assert filters.parsed(world.db, ALICE, filter_id) is not None


def test_large_filters_are_not_held_beyond_what_caches_may_take() -> None:
    """Anybody may store any number of them."""
    db = Database(MemoryEngine(trees.TREE_NAMES), cache_bytes=100_000)
    for number in range(20):
        senders = [f"@user{number}x{other}:localhost" for other in range(1000)]
        with db.batch() as batch:
            filter_id = filters.store(batch, ALICE, {"presence": {"senders": senders}})
        assert filters.parsed(db, ALICE, filter_id) is not None
    assert db.cache_pool.count < 10


def test_bad_filter_is_not_stored() -> None:
    """A malformed or enormous filter is refused."""
    world = World()
    with pytest.raises(BadJson), world.db.batch() as batch:
        filters.store(batch, ALICE, {"room": 1})
    with pytest.raises(TooLarge), world.db.batch() as batch:
        filters.store(batch, ALICE, {"x": "y" * 70_000})
