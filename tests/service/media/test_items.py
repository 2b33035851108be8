"""Which items there are, and when a file is free to go."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.layouts import MediaMeta
from conduit.database.memory import MemoryEngine
from conduit.protocol.ids import ServerName
from conduit.service.media import items
from tests.support.rooms import ALICE, BOB, SERVER

ONE, TWO = b"1" * 32, b"2" * 32
AWAY = ServerName("away.example")


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(trees.TREE_NAMES))


def put(db: Database, media_id: str, digest: bytes = ONE, *, server: ServerName = SERVER, now_ms: int = 5000) -> None:
    """Name an item, Alice's if it is local."""
    meta = MediaMeta(digest, "name", "image/png", False)
    with db.batch() as batch:
        uploader = ALICE if server == SERVER else None
        items.put(batch, server, media_id, meta, size=10, uploader=uploader, now_ms=now_ms)


def put_thumbnail(db: Database, media_id: str, digest: bytes) -> None:
    """Name a thumbnail of a local item."""
    with db.batch() as batch:
        meta = MediaMeta(digest, "", "image/png", False)
        items.put_thumbnail(batch, SERVER, media_id, 32, 32, meta, size=3, now_ms=5000)


def delete(db: Database, media_id: str, server: ServerName = SERVER) -> list[bytes]:
    """Delete an item and return the files that are free then."""
    with db.batch() as batch:
        return items.delete(batch, server, media_id)


def rows(db: Database) -> int:
    """Count all rows."""
    return sum(1 for name in trees.TREE_NAMES if name != "global" for _ in db.scan(name, b"", None))


def test_item_is_found_by_name_owner_and_file(db: Database) -> None:
    """All three ways lead to it; times are in seconds."""
    put(db, "a", now_ms=5999)
    meta = items.get(db, SERVER, "a")
    assert meta == MediaMeta(ONE, "name", "image/png", False)
    assert items.uploader(db, SERVER, "a") == "alice"
    assert list(items.of_user(db, SERVER, ALICE)) == ["a"]
    assert list(items.of_user(db, SERVER, BOB)) == []
    assert items.file(db, ONE) == (10, 5, 5)
    assert items.get(db, AWAY, "a") is None


def test_file_goes_with_the_last_item_that_names_it(db: Database) -> None:
    """Two items with the same bytes: deleting the first frees nothing, deleting both leaves no row at all."""
    put(db, "a")
    put(db, "b")
    put(db, "c", server=AWAY)
    assert delete(db, "a") == []
    assert items.is_known_file(db, ONE)
    assert delete(db, "c", AWAY) == []
    assert delete(db, "b") == [ONE]
    assert delete(db, "b") == []
    assert rows(db) == 0


def test_thumbnails_go_with_their_item(db: Database) -> None:
    """Their files are free too, unless something else is these very bytes."""
    put(db, "a")
    put_thumbnail(db, "a", TWO)
    put(db, "b", TWO)
    assert delete(db, "a") == [ONE]
    assert items.get_thumbnail(db, SERVER, "a", 32, 32) is None
    assert delete(db, "b") == [TWO]
    assert rows(db) == 0


def test_file_that_is_a_thumbnail_stays_when_its_item_goes(db: Database) -> None:
    """An item's bytes may be another item's thumbnail."""
    put(db, "a", ONE)
    put_thumbnail(db, "a", TWO)
    put(db, "b", TWO)
    assert delete(db, "b") == []
    with db.batch() as batch:
        assert items.delete_thumbnails_of_file(batch, TWO)
    assert items.get_thumbnail(db, SERVER, "a", 32, 32) is None
    assert items.get(db, SERVER, "a") is not None


def test_blocking_an_item_blocks_its_bytes(db: Database) -> None:
    """What was blocked cannot come back under another name."""
    put(db, "a")
    put(db, "b")
    put(db, "c", TWO)
    assert not items.is_blocked(db, SERVER, "a")
    with db.batch() as batch:
        trees.blocked_servername_mediaid.put(batch, (SERVER, "a"), (5, "reason"))
    assert [items.is_blocked(db, SERVER, media_id) for media_id in "abc"] == [True, True, False]


def test_access_times_only_move_forwards(db: Database) -> None:
    """An older time, or one of a file that is gone, changes nothing; a new upload of known bytes keeps their age."""
    put(db, "a", now_ms=5000)
    with db.batch() as batch:
        items.touch(batch, {ONE: 9, TWO: 9})
    with db.batch() as batch:
        items.touch(batch, {ONE: 7})
    assert items.file(db, ONE) == (10, 5, 9)
    assert items.file(db, TWO) is None
    put(db, "b", now_ms=20_000)
    assert items.file(db, ONE) == (10, 5, 20)
