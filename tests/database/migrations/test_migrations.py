"""Bringing a directory of Conduit up to date, as a whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from conduit.database import trees
from conduit.database.check import check
from conduit.database.database import COUNTER_KEY, COUNTER_MIRROR_KEY, Database
from conduit.database.migrations import SCHEMA, SCHEMA_KEY, bring_up_to_date, bulk
from conduit.database.open import open_database
from tests.database.conduit_directory import joined
from tests.database.migrations.conftest import World
from tests.support.homeserver import serve


def everything(db: Database) -> dict[str, dict[bytes, bytes]]:
    """Return all rows but the counter's."""
    found = {tree.name: dict(db.scan(tree.name, b"", None)) for tree in trees.TREES}
    for key in (COUNTER_KEY, COUNTER_MIRROR_KEY):
        found["global"].pop(key, None)
    return found


def test_result_agrees_with_itself(db: Database) -> None:
    """The check that operators run finds nothing."""
    assert [str(finding) for finding in check(db)] == []


def test_own_rows_of_conduit_are_kept(world: World, db: Database) -> None:
    """What Conduit has written is there still, but for its queues and the notes that shared a tree with the highlights."""
    for name, rows in world.conduit.rows.items():
        if name in ("global", "servernameevent_data", "servercurrentevent_data", "userroomid_highlightcount"):
            continue
        found = dict(db.scan(name, b"", None))
        missing = {key: value for key, value in rows.items() if found.get(key) != value}
        assert missing == {}, name


def test_schema_and_counter_are_noted(world: World, db: Database) -> None:
    """The schema is written, and the counter has gone on from Conduit's, in both rows alike."""
    assert db.get("global", SCHEMA_KEY) == SCHEMA.to_bytes(8, "big")
    count = db.get("global", COUNTER_KEY)
    assert count is not None
    assert count == db.get("global", COUNTER_MIRROR_KEY)
    assert int.from_bytes(count, "big") > world.conduit.count


def test_second_opening_changes_nothing(conduit_directory: tuple[World, Path], tmp_path: Path) -> None:
    """A directory that is up to date is only opened."""
    shutil.copytree(conduit_directory[1], tmp_path / "db")
    db = open_database(tmp_path / "db")
    before = everything(db)
    db.close_now()
    db = open_database(tmp_path / "db")
    assert everything(db) == before
    db.close_now()


class Interrupted(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("stop_at", [1, 5, 40, 90, 135])
def test_interrupted_run_is_repeated(
    conduit_directory: tuple[World, Path], tmp_path: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any number of batches, the next opening makes of it what one run makes."""
    shutil.copytree(conduit_directory[1], tmp_path / "db")
    monkeypatch.setattr(bulk, "_BATCH_BYTES", 200)
    batches = 0
    commit = Database._commit

    def count_and_commit(db: Database, batch: Any) -> None:
        nonlocal batches
        batches += 1
        if batches == stop_at:
            raise Interrupted
        commit(db, batch)

    monkeypatch.setattr(Database, "_commit", count_and_commit)
    with pytest.raises(Interrupted):
        open_database(tmp_path / "db")
    monkeypatch.setattr(Database, "_commit", commit)
    db = open_database(tmp_path / "db")
    assert db.get("global", SCHEMA_KEY) == SCHEMA.to_bytes(8, "big")
    assert [str(finding) for finding in check(db)] == []
    db.close_now()


def test_writing_of_conduit_in_between_is_noticed(conduit_directory: tuple[World, Path], tmp_path: Path) -> None:
    """If Conduit has drawn counts since, everything derived is made again, and what is only ours stays."""
    world = conduit_directory[0]
    shutil.copytree(conduit_directory[1], tmp_path / "db")
    db = open_database(tmp_path / "db")
    with db.batch() as batch:
        trees.profile_field.put(batch, ("@alice:localhost", "m.tz"), "UTC")
        count = int.from_bytes(db.get("global", COUNTER_KEY) or b"", "big") + 10
        # Conduit lets carol join again, and knows nothing of our trees.
        room_id = world.room.room_id
        batch.put("global", COUNTER_KEY, count.to_bytes(8, "big"))
        batch.put("userroomid_joined", joined("@carol:localhost", "!new:localhost"), b"")
        batch.delete("userroomid_leftstate", joined("@dave:localhost", room_id))
    db.close_now()
    db = open_database(tmp_path / "db")
    assert trees.profile_field.get(db, ("@alice:localhost", "m.tz")) == "UTC"
    assert db.current_count() >= count
    assert db.get("global", COUNTER_KEY) == db.get("global", COUNTER_MIRROR_KEY)
    assert [
        finding for finding in check(db) if "membership" not in finding.tree and finding.tree != "userroomid_joined"
    ] == []
    db.close_now()


def test_rows_that_cannot_be_read_are_passed_over(conduit_directory: tuple[World, Path], tmp_path: Path) -> None:
    """One damaged row does not keep a server from starting; the check names it."""
    shutil.copytree(conduit_directory[1], tmp_path / "db")
    db = open_database(tmp_path / "db")
    with db.batch() as batch:
        batch.delete("global", SCHEMA_KEY)
        batch.put("roomid_shortroomid", b"!broken:localhost", b"short")
        batch.put("pduid_pdu", conduit_directory[0].room.short.to_bytes(8, "big") + (1 << 40).to_bytes(8, "big"), b"{}")
        batch.put("readreceiptid_readreceipt", b"nonsense", b"nonsense")
    bring_up_to_date(db)
    assert {finding.tree for finding in check(db)} >= {"roomid_shortroomid", "pduid_pdu", "readreceiptid_readreceipt"}
    db.close_now()


async def test_server_serves_the_rooms(conduit_directory: tuple[World, Path], tmp_path: Path) -> None:
    """With the token that Conduit gave, the rooms, their state, their history and what is unread can be read, and one can go on talking."""
    world = conduit_directory[0]
    shutil.copytree(conduit_directory[1], tmp_path / "db")
    room_id = world.room.room_id
    async with serve(engine="rocksdb", directory=tmp_path / "db") as hs:
        alice, bob = hs.client("token-of-alice"), hs.client("token-of-bob")
        whoami = await alice.get("/account/whoami")
        assert whoami["user_id"] == "@alice:localhost"
        sync = await bob.get("/sync")
        assert {room_id, world.old.room_id} <= sync["rooms"]["join"].keys()
        joined_room = sync["rooms"]["join"][room_id]
        assert joined_room["unread_notifications"]["notification_count"] == 1
        members = await alice.get(f"/rooms/{room_id}/joined_members")
        assert members["joined"].keys() == {"@alice:localhost", "@bob:localhost", "@far:elsewhere.org"}
        assert (await alice.get("/sync"))["rooms"]["invite"].keys() == {"!afar:elsewhere.org"}
        page = await alice.get(f"/rooms/{room_id}/messages?dir=b&limit=100")
        bodies = [event["content"].get("body") for event in page["chunk"]]
        assert {"news", "hello world", "ancient"} <= set(bodies)
        assert "rude words" not in bodies
        for room in (world.room, world.hashed, world.old):
            speaker = bob if room is world.old else alice
            sent = await speaker.put(
                f"/rooms/{room.room_id}/send/m.room.message/t1", {"msgtype": "m.text", "body": "on"}
            )
            event = hs.ctx.db.get("eventid_pduid", sent["event_id"].encode())
            assert event is not None
            assert orjson.loads(hs.ctx.db.get("pduid_pdu", event) or b"")["prev_events"]
        assert [str(finding) for finding in check(hs.ctx.db)] == []
