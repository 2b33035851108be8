"""Backups of room keys: which version is current, which of two keys is kept, and what the counts say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.protocol.errors import BadJson, InvalidParam, NotFound, WrongRoomKeysVersion
from conduit.service.keys import backups
from tests.support.rooms import ALICE, BOB

ROOM, OTHER = "!r:localhost", "!other:localhost"


def key(index: int = 0, forwarded: int = 0, verified: bool = False, **data: Any) -> dict[str, Any]:
    """Return key backup data."""
    numbers = {"first_message_index": index, "forwarded_count": forwarded}
    return {**numbers, "is_verified": verified, "session_data": data}


def create(db: Database) -> str:
    """Start a version for Alice."""
    with db.batch() as batch:
        return backups.create(batch, ALICE, "m.a", {"n": 1})


def put(db: Database, version: str, rooms: backups.Rooms) -> dict[str, Any]:
    """Store Alice's keys."""
    with db.batch() as batch:
        return backups.put_keys(batch, ALICE, version, rooms)


def delete(db: Database, version: str, *which: str) -> dict[str, Any]:
    """Delete keys of Alice's."""
    with db.batch() as batch:
        return backups.delete_keys(batch, ALICE, version, *which)


def test_newest_version_is_the_greatest_number(db: Database) -> None:
    """10 comes after 9, although it sorts before; each user has versions of their own."""
    assert backups.current_version(db, ALICE) is None
    versions = [create(db) for _ in range(12)]
    assert sorted(versions) != versions
    assert backups.current_version(db, ALICE) == versions[-1]
    assert backups.current_version(db, BOB) is None
    described = backups.describe(db, ALICE, None)
    assert described == {
        "algorithm": "m.a",
        "auth_data": {"n": 1},
        "version": versions[-1],
        "count": 0,
        "etag": described["etag"],
    }
    with pytest.raises(NotFound):
        backups.describe(db, BOB, None)
    with pytest.raises(NotFound):
        backups.describe(db, BOB, versions[-1])


def test_deleted_version_is_gone_with_its_keys_and_stays_so(db: Database) -> None:
    """Deleting it once more succeeds; the one before is current again; what never was cannot be deleted."""
    first, second = create(db), create(db)
    put(db, second, {ROOM: {"s": key()}})
    for _ in range(2):
        with db.batch() as batch:
            backups.delete_version(batch, ALICE, second)
    assert backups.current_version(db, ALICE) == first
    assert list(trees.backupkeyid_backup.keys(db)) == []
    with pytest.raises(NotFound):
        backups.keys(db, ALICE, second)
    with pytest.raises(NotFound), db.batch() as batch:
        backups.delete_version(batch, ALICE, "99999")


def test_auth_data_changes_and_the_algorithm_does_not(db: Database) -> None:
    """Of a version that is there."""
    version = create(db)
    with db.batch() as batch:
        backups.set_auth_data(batch, ALICE, version, "m.a", {"n": 2})
    assert backups.describe(db, ALICE, version)["auth_data"] == {"n": 2}
    with pytest.raises(InvalidParam), db.batch() as batch:
        backups.set_auth_data(batch, ALICE, version, "m.b", {})
    with pytest.raises(NotFound), db.batch() as batch:
        backups.set_auth_data(batch, ALICE, "99999", "m.a", {})


def test_keys_go_only_to_the_current_version(db: Database) -> None:
    """Another is refused with the name of the current one; without any there is nothing to store them in."""
    with pytest.raises(NotFound):
        put(db, "1", {})
    old, current = create(db), create(db)
    with pytest.raises(WrongRoomKeysVersion) as refused:
        put(db, old, {ROOM: {"s": key()}})
    assert refused.value.body()["current_version"] == current
    assert put(db, current, {ROOM: {"s": key()}})["count"] == 1


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (key(0, 0), key(9, 9, verified=True)),
        (key(5, 0), key(4, 9)),
        (key(5, 3), key(5, 2)),
    ],
)
def test_better_key_is_kept(db: Database, worse: dict[str, Any], better: dict[str, Any]) -> None:
    """Verified before not, then the lower message index, then the lower count of forwards; in whichever order they come."""
    version = create(db)
    put(db, version, {ROOM: {"a": worse, "b": better}})
    put(db, version, {ROOM: {"a": better, "b": worse}})
    assert backups.keys(db, ALICE, version) == {ROOM: {"a": better, "b": better}}


def test_etag_changes_only_when_keys_do(db: Database) -> None:
    """An equal key replaces nothing, so clients need not fetch anything."""
    version = create(db)
    first = put(db, version, {ROOM: {"s": key(x=1)}})
    assert put(db, version, {ROOM: {"s": key(x=2)}}) == first
    assert backups.keys(db, ALICE, version)[ROOM]["s"]["session_data"] == {"x": 1}
    better = put(db, version, {ROOM: {"s": key(verified=True)}})
    assert (better["count"], better["etag"] != first["etag"]) == (1, True)
    assert delete(db, version, OTHER) == better
    assert delete(db, version, ROOM)["etag"] != better["etag"]


def test_keys_are_read_and_deleted_by_room_and_session(db: Database) -> None:
    """A room whose name begins like another's is another."""
    version = create(db)
    put(db, version, {ROOM: {"s": key(1), "s2": key(2)}, ROOM + "x": {"s": key(3)}})
    assert backups.keys(db, ALICE, version, ROOM) == {ROOM: {"s": key(1), "s2": key(2)}}
    assert backups.keys(db, ALICE, version, ROOM, "s") == {ROOM: {"s": key(1)}}
    assert backups.keys(db, ALICE, version, ROOM, "none") == {}
    assert delete(db, version, ROOM, "s")["count"] == 2
    assert delete(db, version, ROOM)["count"] == 1
    assert backups.keys(db, ALICE, version) == {ROOM + "x": {"s": key(3)}}
    assert delete(db, version)["count"] == 0
    with pytest.raises(NotFound):
        delete(db, "99999")


_NAMES = st.sampled_from(["a", "b", "c"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), _NAMES, _NAMES, st.integers(0, 2)), max_size=15))
def test_count_is_the_number_of_keys_after_any_history(steps: list[tuple[bool, str, str, int]]) -> None:
    """The cached count never strays from what is stored."""
    db = Database(MemoryEngine(trees.TREE_NAMES))
    version = create(db)
    for is_put, room, session, index in steps:
        told = put(db, version, {room: {session: key(index)}}) if is_put else delete(db, version, room, session)
        stored = sum(len(sessions) for sessions in backups.keys(db, ALICE, version).values())
        assert told["count"] == backups.state(db, ALICE, version)["count"] == stored


def test_count_of_a_dropped_batch_is_forgotten(db: Database) -> None:
    """What was not committed does not count."""
    version = create(db)
    with pytest.raises(RuntimeError), db.batch() as batch:
        assert backups.put_keys(batch, ALICE, version, {ROOM: {"s": key()}})["count"] == 1
        raise RuntimeError
    assert backups.state(db, ALICE, version)["count"] == 0


def test_only_known_fields_are_kept() -> None:
    """Whatever else a client sends is left out."""
    assert backups.parse_key({**key(1, 2, True, x=1), "more": 1}) == key(1, 2, True, x=1)


@pytest.mark.parametrize(
    "change",
    [
        {"first_message_index": -1},
        {"first_message_index": True},
        {"forwarded_count": "1"},
        {"is_verified": 1},
        {"session_data": {"number": 0.5}},
    ],
)
def test_malformed_keys_are_refused(change: dict[str, Any]) -> None:
    """With M_BAD_JSON, and so is a missing field."""
    with pytest.raises(BadJson):
        backups.parse_key({**key(), **change})
    with pytest.raises(BadJson):
        backups.parse_key({name: value for name, value in key().items() if name not in change})
    with pytest.raises(BadJson):
        backups.parse_key([])


def test_a_user_has_a_bearable_number_of_versions(db: Database) -> None:
    """Each chunk of keys looks at all of them; who deletes one can start another."""
    versions = [create(db) for _ in range(1000)]
    with pytest.raises(InvalidParam):
        create(db)
    with db.batch() as batch:
        backups.delete_version(batch, ALICE, versions[0])
    create(db)
