"""Trees: typed reads and writes, bounds of scans, and what damage looks like."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database.codec import NUMBER, STRING, TEXT, U64, one, row
from conduit.database.database import Database
from conduit.database.errors import Corrupt
from conduit.database.memory import MemoryEngine
from conduit.database.tree import Tree, after_prefix

counted = Tree("a", key=row(TEXT, U64), value=STRING, doc="room, count -> text")
named = Tree("b", key=one(TEXT), value=NUMBER, doc="name -> number")
triple = Tree("c", key=row(TEXT, U64, TEXT), value=STRING, doc="room, count, user -> text")


@pytest.fixture
def db() -> Database:
    """Return a database with the three trees, filled."""
    db = Database(MemoryEngine(("global", "a", "b", "c")))
    with db.batch() as batch:
        for room in ("!r", "!r2", "!q"):
            for count in range(1, 6):
                counted.put(batch, (room, count), f"{room} {count}")
                triple.put(batch, (room, count, "@a"), "")
                triple.put(batch, (room, count, "@b"), "")
        for name in ("ann", "anna", "bob"):
            named.put(batch, name, len(name))
    return db


def test_reads_find_what_was_put(db: Database) -> None:
    """One key, several, and whether there is one."""
    assert counted.get(db, ("!r", 3)) == "!r 3"
    assert counted.get(db, ("!r", 9)) is None
    assert counted.has(db, ("!r", 3))
    assert not counted.has(db, ("!r", 9))
    assert named.get_many(db, ["bob", "nobody", "ann"]) == [3, None, 3]


def test_many_rows_are_put_under_one_prefix(db: Database) -> None:
    """They are the rows that putting each would write; the prefix must be all but the last part."""
    with db.batch() as batch:
        counted.put_under(batch, ("!new",), {1: "one", 2: "two"})
        triple.put_under(batch, ("!new", 7), {"@a": "x"})
        with pytest.raises(TypeError):
            triple.put_under(batch, ("!new",), {7: "x"})
        with pytest.raises(TypeError):
            named.put_under(batch, (), {"carl": 4})
    assert list(counted.scan(db, ("!new",))) == [(("!new", 1), "one"), (("!new", 2), "two")]
    assert triple.get(db, ("!new", 7, "@a")) == "x"


def test_prefix_stops_at_its_separator(db: Database) -> None:
    """`!r` is not the beginning of `!r2`."""
    assert [count for _, count in counted.keys(db, ("!r",))] == [1, 2, 3, 4, 5]
    assert [room for room, _ in counted.keys(db)] == ["!q"] * 5 + ["!r2"] * 5 + ["!r"] * 5


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"after": 2}, [3, 4, 5]),
        ({"start": 2}, [2, 3, 4, 5]),
        ({"before": 4}, [1, 2, 3]),
        ({"after": 1, "before": 4}, [2, 3]),
        ({"start": 5, "before": 5}, []),
        ({"after": 5}, []),
        ({"before": 1}, []),
    ],
)
def test_bounds_hold_for_the_part_after_the_prefix(db: Database, bounds: dict[str, Any], found: list[int]) -> None:
    """Also where more parts follow, and in both directions."""
    assert [count for _, count in counted.keys(db, ("!r",), **bounds)] == found
    assert [count for _, count in counted.keys(db, ("!r",), reverse=True, **bounds)] == found[::-1]
    assert [(count, user) for _, count, user in triple.keys(db, ("!r",), **bounds)] == [
        (count, user) for count in found for user in ("@a", "@b")
    ]


def test_bounds_hold_for_keys_of_one_part(db: Database) -> None:
    """Names after, from and before a name."""
    assert list(named.keys(db, after="ann")) == ["anna", "bob"]
    assert list(named.keys(db, start="ann")) == ["ann", "anna", "bob"]
    assert list(named.keys(db, before="bob")) == ["ann", "anna"]
    assert list(named.beginning(db, "ann")) == ["ann", "anna"]
    with pytest.raises(TypeError, match="no prefix"):
        named.scan(db, ("ann",))


def test_first_and_last_look_at_the_ends(db: Database) -> None:
    """Of a prefix, beyond a bound, or of nothing."""
    assert counted.first(db, ("!r",)) == (("!r", 1), "!r 1")
    assert counted.first(db, ("!r",), after=2) == (("!r", 3), "!r 3")
    assert counted.last(db, ("!r",)) == (("!r", 5), "!r 5")
    assert counted.last(db, ("!r",), before=5) == (("!r", 4), "!r 4")
    assert counted.last(db, ("!none",)) is None
    assert counted.first(db, ("!r",), after=5) is None


def test_delete_prefix_takes_exactly_what_lies_under_it(db: Database) -> None:
    """And tells how much that was."""
    with db.batch() as batch:
        assert counted.delete_prefix(batch, ("!r",)) == 5
        assert counted.delete_prefix(batch, ("!r",)) == 0
        counted.delete(batch, ("!q", 1))
    assert [key for key in counted.keys(db) if key[0] != "!r2"] == [("!q", count) for count in (2, 3, 4, 5)]


def test_scan_begins_when_it_is_called(db: Database) -> None:
    """What is written between the call and the first step does not show."""
    entries = counted.scan(db, ("!r",))
    keys = counted.keys(db, ("!r",))
    with db.batch() as batch:
        counted.delete_prefix(batch, ("!r",))
    assert len(list(entries)) == len(list(keys)) == 5


def test_damage_names_tree_and_key(db: Database) -> None:
    """A key or value of another form raises `Corrupt` from every kind of read."""
    with db.batch() as batch:
        batch.put("b", b"bad", b"no number")
        batch.put("a", b"no separator", b"")
    for read in (
        lambda: named.get(db, "bad"),
        lambda: named.get_many(db, ["bad"]),
        lambda: list(named.scan(db)),
    ):
        with pytest.raises(Corrupt, match="tree b, key b'bad': value") as caught:
            read()
        assert (caught.value.tree, caught.value.key) == ("b", b"bad")
    for walk in (counted.scan, counted.keys):
        with pytest.raises(Corrupt, match="tree a, key b'no separator': key"):
            list(walk(db))


@pytest.mark.parametrize(
    ("prefix", "after"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"a\xfe", b"a\xff"), (b"\xff", None), (b"", None), (b"a\x00", b"a\x01")],
)
def test_key_after_a_prefix_is_the_least_greater_than_all_under_it(prefix: bytes, after: bytes | None) -> None:
    """None where there is no such key."""
    assert after_prefix(prefix) == after
