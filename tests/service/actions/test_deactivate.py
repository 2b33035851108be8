"""Deactivation that takes long or was cut off."""

from __future__ import annotations

import asyncio

import pytest

from conduit.database import trees
from conduit.protocol.ids import RoomId, UserId
from conduit.service.actions import deactivate
from conduit.service.rooms import members
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver

ALICE = UserId("@alice:localhost")


async def _finished(hs: Homeserver) -> None:
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == f"rooms of {ALICE}"))
    assert not accounts.with_flag(hs.ctx.db, "leaving")


async def test_many_rooms_are_left_in_the_background(hs: Homeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is barred at once."""
    monkeypatch.setattr(deactivate, "AT_ONCE", 1)
    alice = await hs.register("alice")
    rooms = [RoomId(await alice.create_room()) for _ in range(3)]
    await deactivate.deactivate(hs.ctx, ALICE)
    await alice.get("/account/whoami", "M_UNKNOWN_TOKEN")
    await _finished(hs)
    assert [members.membership(hs.ctx.db, room, ALICE) for room in rooms] == ["leave"] * 3


async def test_leaving_that_was_cut_off_goes_on_at_the_next_start(hs: Homeserver) -> None:
    """The account says so itself."""
    alice = await hs.register("alice")
    room = RoomId(await alice.create_room())
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, ALICE, deactivated=True, leaving=True)
    deactivate.resume(hs.ctx)
    await _finished(hs)
    assert members.membership(hs.ctx.db, room, ALICE) == "leave"


async def test_nothing_of_the_account_is_left_but_its_name(hs: Homeserver) -> None:
    """Keys, backups, pushers, filters and account data of an erased one; the name stays taken, and how many changes of devices were told."""
    alice = await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        trees.keyid_key.put(batch, (ALICE, "master"), {})
        trees.userid_masterkeyid.put(batch, ALICE, (ALICE, "master"))
        trees.backupid_algorithm.put(batch, (ALICE, "1"), {})
        trees.backupid_etag.put(batch, (ALICE, "1"), 1)
        trees.backupkeyid_backup.put(batch, (ALICE, "1", "!r:x", "s"), {})
        trees.senderkey_pusher.put(batch, (ALICE, "key"), {})
        trees.userfilterid_filter.put(batch, (ALICE, "f"), {})
    await alice.put("/user/@alice:localhost/account_data/org.example.x", {"a": 1})
    await deactivate.deactivate(hs.ctx, ALICE, erase=True)
    left = {
        name
        for name in trees.TREE_NAMES
        for key, _ in hs.ctx.db.scan(name, b"", None)
        if key.split(b"\xff")[0] == ALICE.encode()
    }
    assert left <= {"userid_password", "account", "devicelist_latest", "devicelist_chain", "userid_devicelistversion"}
