"""The check finds nothing in what a server has written, and whatever is then taken away or changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.database import trees
from conduit.database.check import check
from conduit.database.database import COUNTER_KEY, Database
from conduit.database.layouts import PduId
from conduit.database.memory import MemoryEngine
from conduit.database.tree import Tree
from conduit.database.trees import TREE_NAMES
from tests.support.homeserver import Homeserver, serve


async def chat(hs: Homeserver) -> str:
    """Let people do a bit of everything; return the room."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat", room_alias_name="lobby", name="Lobby")
    await bob.join(room)
    await alice.invite(room, carol)

    async def say(user: Any, body: str, **more: Any) -> str:
        content = {"msgtype": "m.text", "body": body, **more}
        sent = await user.put(f"/rooms/{room}/send/m.room.message/{user.next_txn()}", content)
        event_id: str = sent["event_id"]
        return event_id

    first = await say(alice, "hello")
    for number in range(3):
        last = await say(bob, f"{number}", **{"m.relates_to": {"rel_type": "m.thread", "event_id": first}})
    await bob.put(
        f"/rooms/{room}/send/m.reaction/r",
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "x"}},
    )
    await alice.redact(room, last)
    await say(alice, "bob", **{"m.mentions": {"user_ids": [bob.user_id]}})
    await bob.post(f"/rooms/{room}/receipt/m.read/{first}", {})
    await carol.join(room)
    await alice.post(f"/rooms/{room}/ban", {"user_id": carol.user_id})
    await bob.leave(room)
    await bob.post(f"/rooms/{room}/forget", {})
    await alice.put(f"/user/{alice.user_id}/account_data/m.direct", {})
    await alice.post("/keys/upload", {"one_time_keys": {"signed_curve25519:A": {"key": "x", "signatures": {}}}})
    twelve = await alice.create_room(room_version="12")
    await alice.send(twelve, "x")
    return room


@pytest.fixture
async def hs() -> AsyncIterator[Homeserver]:
    """Return a server on which people have chatted, to be damaged."""
    async with serve(allow_registration=True, checked=False) as server:
        await chat(server)
        yield server


@pytest.mark.parametrize("engine", ["rocksdb", "lmdb"])
async def test_what_a_server_writes_agrees(engine: str) -> None:
    """On both engines, read while it runs."""
    async with serve(engine=engine, allow_registration=True) as hs:
        await chat(hs)
        assert [str(finding) for finding in check(hs.ctx.db)] == []


DERIVED: list[Tree[Any, Any]] = [
    trees.pduid_pdu,
    trees.eventid_pduid,
    trees.eventid_shorteventid,
    trees.shorteventid_eventid,
    trees.roomid_shortroomid,
    trees.shortroomid_roomid,
    trees.statekey_shortstatekey,
    trees.shortstatekey_statekey,
    trees.shorteventid_meta,
    trees.room_events,
    trees.shortstatehash_statediff,
    trees.roomstate,
    trees.roomstate_history,
    trees.membership,
    trees.userroomid_joined,
    trees.roomuserid_joined,
    trees.roomid_joinedcount,
    trees.roomserverids,
    trees.serverroomids,
    trees.roomid_pduleaves,
    trees.redaction,
    trees.relation,
    trees.thread,
    trees.thread_order,
    trees.notify_ordinal,
    trees.receipt,
    trees.receipt_stream,
    trees.roomuserdataid_accountdata,
    trees.roomusertype_roomuserdataid,
    trees.accountdata_stream,
    trees.onetimekeyid_onetimekeys,
    trees.onetimekey_order,
    trees.devicelist_stream,
    trees.devicelist_latest,
    trees.userdeviceid_metadata,
    trees.token_userdeviceid,
    trees.transaction,
    trees.transaction_age,
]


async def test_every_row_that_goes_missing_is_noticed(hs: Homeserver) -> None:
    """Take the first row of each tree away, look, and put it back."""
    db = hs.ctx.db
    assert check(db) == []
    unnoticed = []
    for tree in DERIVED:
        # Of a history the newest row matters, and marks of what was sent stand beside the receipts.
        rows = db.scan(tree.name, b"", None, reverse=tree is trees.roomstate_history)
        raw_key, data = next(row for row in rows if tree is not trees.receipt or b'"count"' in row[1])
        with db.batch() as batch:
            batch.delete(tree.name, raw_key)
        if not check(db):
            unnoticed.append(tree.name)
        with db.batch() as batch:
            batch.put(tree.name, raw_key, data)
    assert unnoticed == []
    assert check(db) == []


async def test_unreadable_rows_are_named(hs: Homeserver) -> None:
    """A value or key of another form, in any tree."""
    db: Database = hs.ctx.db
    with db.batch() as batch:
        batch.put("roomid_joinedcount", b"!r:localhost", b"three")
        batch.put("roomuserid_joined", b"no separator", b"")
    found = [str(finding) for finding in check(db)]
    assert any(line.startswith("roomid_joinedcount: '!r:localhost': the value cannot be read") for line in found)
    assert any(line.startswith("roomuserid_joined: b'no separator': the key cannot be read") for line in found)


async def test_counts_ahead_of_the_counter_are_noticed(hs: Homeserver) -> None:
    """They would be given a second time; so would all if Conduit has set the counter."""
    db: Database = hs.ctx.db
    with db.batch() as batch:
        trees.receipt_stream.put(batch, (1, 1 << 40), ("@a:localhost", "m.read", ""))
    assert any("ahead of the counter" in finding.what for finding in check(db))
    with db.batch() as batch:
        batch.put("global", COUNTER_KEY, (1 << 41).to_bytes(8, "big"))
    assert any("Conduit has written" in finding.what for finding in check(db))


async def test_event_in_the_wrong_place_is_noticed(hs: Homeserver) -> None:
    """An event in another room's timeline, and another event at an event's place."""
    db: Database = hs.ctx.db
    (place, data), *_ = trees.pduid_pdu.scan(db)
    other = max(short for _, short in trees.roomid_shortroomid.scan(db))
    with db.batch() as batch:
        trees.pduid_pdu.put(batch, PduId(other, place.live), data)
    found = {finding.what for finding in check(db)}
    assert "it lies in the timeline of another room" in found


def test_progress_is_told() -> None:
    """Which tree, and how many rows so far."""
    db = Database(MemoryEngine(TREE_NAMES))
    with db.batch() as batch:
        for number in range(5000):
            trees.eventid_shorteventid.put(batch, f"${number}", number)
    told: list[tuple[str, int]] = []
    check(db, progress=lambda tree, rows: told.append((tree, rows)))
    assert told[0] == ("eventid_shorteventid", 4096)
