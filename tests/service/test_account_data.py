"""Account data: one item a type, and a stream of what was set."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.service import account_data
from tests.support.rooms import ALICE, BOB

ROOM = "!r:localhost"


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(trees.TREE_NAMES))


def put(db: Database, room_id: str, event_type: str, n: int = 0) -> int:
    """Set an item of Alice's; return the count after it."""
    with db.batch() as batch:
        account_data.put(batch, ALICE, room_id, event_type, {"n": n})
    return db.current_count()


def test_items_are_apart_by_user_room_and_type(db: Database) -> None:
    """A type that begins like another is another."""
    put(db, "", "a", 1)
    put(db, ROOM, "a", 2)
    put(db, "", "ab", 3)
    assert account_data.get(db, ALICE, "", "a") == {"n": 1}
    assert account_data.get(db, ALICE, ROOM, "a") == {"n": 2}
    assert account_data.get(db, BOB, "", "a") is None
    assert account_data.all_of(db, ALICE, "") == {"a": {"n": 1}, "ab": {"n": 3}}
    assert account_data.all_of(db, ALICE, ROOM) == {"a": {"n": 2}}


def test_large_items_are_not_held_beyond_what_caches_may_take() -> None:
    """One of each type for each room, of megabytes each, would fill the memory otherwise."""
    db = Database(MemoryEngine(trees.TREE_NAMES), cache_bytes=100_000)
    names = {"all": {f"@user{number}:localhost": [ROOM] for number in range(1000)}}
    for number in range(20):
        with db.batch() as batch:
            account_data.put(batch, ALICE, f"!{number}:localhost", "m.direct", names)
        assert account_data.get(db, ALICE, f"!{number}:localhost", "m.direct") == names
    assert db.cache_pool.count < 10


def test_changes_are_told_once_with_what_holds_now(db: Database) -> None:
    """An item that was set twice is in the later interval only; intervals are half open."""
    first = put(db, "", "a", 1)
    second = put(db, ROOM, "b", 2)
    third = put(db, "", "a", 3)
    assert account_data.changes(db, ALICE, 0, first) == {}
    assert account_data.changes(db, ALICE, first, second) == {ROOM: {"b": {"n": 2}}}
    assert account_data.changes(db, ALICE, 0, third) == {ROOM: {"b": {"n": 2}}, "": {"a": {"n": 3}}}
    assert account_data.changes(db, ALICE, third, third + 9) == {}
    assert account_data.changes(db, BOB, 0, third) == {}


def test_only_the_user_is_woken(db: Database) -> None:
    """It is nobody else's business."""
    before = db.watch.last(("user", BOB))
    put(db, ROOM, "a")
    assert db.watch.last(("user", ALICE)) == db.current_count()
    assert db.watch.last(("user", BOB)) == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, set()),
        ({}, set()),
        ({"ignored_users": {BOB: {}}}, {BOB}),
        ({"ignored_users": [BOB]}, set()),
    ],
)
def test_ignored_users_of_any_content(db: Database, content: account_data.Content | None, expected: set[str]) -> None:
    """What does not follow the schema ignores nobody."""
    if content is not None:
        with db.batch() as batch:
            account_data.put(batch, ALICE, "", "m.ignored_user_list", content)
    assert set(account_data.ignored_users(db, ALICE)) == expected


def test_cached_items_follow_what_is_committed(db: Database) -> None:
    """A batch sees its own change, nobody sees that of one that was dropped."""
    put(db, "", "m.direct", 1)
    assert account_data.get(db, ALICE, "", "m.direct") == {"n": 1}
    with pytest.raises(RuntimeError), db.batch() as batch:
        account_data.put(batch, ALICE, "", "m.direct", {"n": 2})
        assert account_data.get(batch, ALICE, "", "m.direct") == {"n": 2}
        raise RuntimeError
    assert account_data.get(db, ALICE, "", "m.direct") == {"n": 1}
    put(db, "", "m.direct", 3)
    assert account_data.get(db, ALICE, "", "m.direct") == {"n": 3}


def test_deleting_all_leaves_no_row_of_that_user(db: Database) -> None:
    """Nor anything in a cache; others keep theirs."""
    with db.batch() as batch:
        account_data.put(batch, BOB, "", "m.direct", {"n": 9})
    for event_type in ("m.direct", "a"):
        put(db, "", event_type)
        put(db, ROOM, event_type)
    assert account_data.get(db, ALICE, "", "m.direct") == {"n": 0}
    with db.batch() as batch:
        account_data.delete_all(batch, ALICE)
    assert account_data.get(db, ALICE, "", "m.direct") is None
    assert account_data.get(db, BOB, "", "m.direct") == {"n": 9}
    for tree in (trees.roomuserdataid_accountdata, trees.roomusertype_roomuserdataid, trees.accountdata_stream):
        assert len(list(tree.keys(db))) == 1


_ITEMS = st.tuples(st.sampled_from(["", ROOM]), st.sampled_from(["a", "m.direct"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(_ITEMS, max_size=12), st.integers(0, 12))
def test_any_history_is_told_in_two_parts_as_in_one(items: list[tuple[str, str]], cut: int) -> None:
    """Who asks in between and goes on from there knows as much as who asks at the end."""
    db = Database(MemoryEngine(trees.TREE_NAMES))
    middle, seen = 0, {}
    for n, (room_id, event_type) in enumerate(items):
        if n == cut:
            middle = db.current_count()
            seen = account_data.changes(db, ALICE, 0, middle)
        put(db, room_id, event_type, n)
    for room_id, found in account_data.changes(db, ALICE, middle, db.current_count()).items():
        seen.setdefault(room_id, {}).update(found)
    expected = {room_id: account_data.all_of(db, ALICE, room_id) for room_id in ("", ROOM)}
    assert seen == {room_id: found for room_id, found in expected.items() if found}
