"""Caches: read through batches, common only after the commit, within one budget."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import cache
from conduit.database.cache import Cached, CacheSource
from conduit.database.codec import STRING, TEXT, one
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.tree import Tree

names = Tree("a", key=one(TEXT), value=STRING, doc="user -> name")
loads: list[str] = []


def _load(source: CacheSource, user: str) -> str | None:
    loads.append(user)
    return names.get(source, user)


NAME: Cached[str, str | None] = Cached("test_name", load=_load, weigh=lambda name: 100)


@pytest.fixture
def db() -> Database:
    """Return a database with two names."""
    loads.clear()
    db = Database(MemoryEngine(("global", "a")))
    with db.batch() as batch:
        names.put(batch, "ann", "Ann")
        names.put(batch, "bob", "Bob")
    return db


def test_value_is_loaded_once(db: Database) -> None:
    """Absence is cached like any value."""
    assert [NAME.get(db, user) for user in ("ann", "ann", "nobody", "nobody")] == ["Ann", "Ann", None, None]
    assert loads == ["ann", "nobody"]
    assert (db.cache_pool.count, db.cache_pool.misses) == (2, 2)


def test_change_is_seen_in_its_batch_at_once_and_by_all_after_it(db: Database) -> None:
    """Set, and forgotten, which loads through the batch."""
    NAME.get(db, "ann")
    with db.batch() as batch:
        names.put(batch, "ann", "Anna")
        NAME.set(batch, "ann", "Anna")
        names.put(batch, "bob", "Robert")
        NAME.forget(batch, "bob")
        assert NAME.get(batch, "ann") == "Anna"
        assert NAME.get(batch, "bob") == "Robert"
        assert NAME.get(db, "ann") == "Ann"
    assert NAME.get(db, "ann") == "Anna"
    assert NAME.get(db, "bob") == "Robert"


def test_dropped_batch_leaves_no_trace(db: Database) -> None:
    """Neither what it set nor what was loaded through it becomes common."""
    NAME.get(db, "ann")
    with pytest.raises(ZeroDivisionError), db.batch() as batch:
        names.put(batch, "bob", "Robert")
        NAME.set(batch, "ann", "Anna")
        assert NAME.get(batch, "bob") == "Robert"
        raise ZeroDivisionError
    assert NAME.get(db, "ann") == "Ann"
    assert NAME.get(db, "bob") == "Bob"


def test_forgotten_value_is_dropped_when_the_batch_commits(db: Database) -> None:
    """Though nobody has read it in between."""
    NAME.get(db, "ann")
    with db.batch() as batch:
        names.put(batch, "ann", "Anna")
        NAME.forget(batch, "ann")
    assert NAME.peek(db, "ann") is None
    assert NAME.get(db, "ann") == "Anna"


def test_peek_loads_nothing(db: Database) -> None:
    """Neither through the database nor through a batch."""
    assert NAME.peek(db, "ann") is None
    with db.batch() as batch:
        NAME.set(batch, "ann", "Anna")
        assert NAME.peek(batch, "ann") == "Anna"
        assert NAME.peek(batch, "bob") is None
    assert loads == []


def test_many_are_loaded_in_one_go(db: Database) -> None:
    """Those that are held are not loaded; the order is that of the keys."""
    calls: list[list[str]] = []

    def load_many(source: Any, users: list[str]) -> list[str | None]:
        calls.append(users)
        return names.get_many(source, users)

    many: Cached[str, str | None] = Cached("test_many", load=_load, weigh=lambda name: 1, load_many=load_many)
    many.get(db, "bob")
    assert many.get_many(db, ["ann", "bob", "nobody", "ann"]) == ["Ann", "Bob", None, "Ann"]
    assert calls == [["ann", "nobody", "ann"]]
    assert NAME.get_many(db, ["ann", "bob"]) == ["Ann", "Bob"]
    with db.batch() as batch:
        many.set(batch, "ann", "Anna")
        assert many.get_many(batch, ["ann", "bob"]) == ["Anna", "Bob"]


def test_budget_holds_and_what_is_not_read_goes_first(db: Database) -> None:
    """All caches share it; a value larger than it is not kept."""
    pool = db.cache_pool
    pool.budget_bytes = 1000
    heavy: Cached[str, str] = Cached("test_heavy", load=lambda source, key: key * 2, weigh=lambda value: 200)
    for key in "abc":
        heavy.get(db, key)
    heavy.get(db, "a")
    assert pool.used_bytes <= 1000
    assert heavy.peek(db, "a") == "aa"
    assert heavy.peek(db, "b") is None
    whale: Cached[str, str] = Cached("test_whale", load=lambda source, key: key, weigh=lambda value: 5000)
    assert whale.get(db, "x") == "x"
    assert whale.peek(db, "x") is None
    assert pool.used_bytes <= 1000
    pool.clear()
    assert pool.used_bytes == 0
    assert heavy.peek(db, "a") is None


def test_room_is_made_without_looking_at_all_that_was_read(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache in which everything is in use has few passed over before something goes."""
    monkeypatch.setattr(cache, "_MAX_CHANCES", 2)
    pool = db.cache_pool
    pool.budget_bytes = 4000
    heavy: Cached[str, str] = Cached("test_full", load=lambda source, key: key, weigh=lambda value: 200)
    for _ in range(2):
        for key in "abcdefghij":
            heavy.get(db, key)
    heavy.get(db, "k")
    assert [key for key in "abcdefghijk" if heavy.peek(db, key) is None] == ["c"]
    assert pool.used_bytes <= 4000
