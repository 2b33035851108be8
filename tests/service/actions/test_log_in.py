"""Opening and ending sessions."""

from __future__ import annotations

import argon2
import pytest

from conduit.database import trees
from conduit.protocol.errors import Forbidden, UserDeactivated
from conduit.protocol.ids import RoomId, UserId
from conduit.service.actions import log_in
from conduit.service.users import accounts, devices
from conduit.service.users.passwords import Hasher
from tests.support.homeserver import PASSWORD, Homeserver

ALICE = UserId("@alice:localhost")


async def test_outdated_hash_is_renewed_at_the_next_login(hs: Homeserver) -> None:
    """The password is known then, and only then; a current hash is left alone."""
    await hs.register("alice")
    old = argon2.PasswordHasher(time_cost=3, memory_cost=128, parallelism=1).hash(PASSWORD)
    with hs.ctx.db.batch() as batch:
        accounts.set_password(batch, ALICE, old)
    await log_in.check_login_password(hs.ctx, ALICE, PASSWORD)
    renewed = accounts.password_hash(hs.ctx.db, ALICE)
    assert renewed is not None
    assert renewed != old
    assert not hs.ctx.hasher.is_outdated(renewed)
    await log_in.check_login_password(hs.ctx, ALICE, PASSWORD)
    assert accounts.password_hash(hs.ctx.db, ALICE) == renewed


async def test_unknown_user_costs_as_much_as_a_wrong_password(hs: Homeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """One verification each, so that the time tells nothing."""
    await hs.register("alice")
    work: list[str | None] = []
    verify = Hasher.verify

    async def counted(self: Hasher, stored: str | None, password: str) -> bool:
        work.append(stored)
        return await verify(self, stored, password)

    monkeypatch.setattr(Hasher, "verify", counted)
    for user_id in (ALICE, UserId("@nobody:localhost"), UserId("@conduit:localhost"), None):
        before = len(work)
        with pytest.raises(Forbidden):
            await log_in.check_login_password(hs.ctx, user_id, "wrong")
        assert len(work) == before + 1


async def test_barred_user_gets_no_session_whoever_asks_for_it(hs: Homeserver) -> None:
    """The last door is the session itself: every way to log in goes through it."""
    await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, ALICE, deactivated=True)
    before = devices.ids(hs.ctx.db, ALICE)
    with pytest.raises(UserDeactivated):
        log_in.log_in(hs.ctx, ALICE, log_in.Client(device_id="NEW"))
    assert devices.ids(hs.ctx.db, ALICE) == before


async def test_sessions_that_begin_and_end_are_told_to_those_who_encrypt(hs: Homeserver) -> None:
    """The user moves to the end of the device-list stream; a login on a known device changes nothing."""
    alice = await hs.register("alice", device_id="A")
    bob = await hs.register("bob")
    room = RoomId(await alice.create_room(preset="public_chat"))
    await bob.join(room)

    def newest() -> int:
        count = trees.devicelist_latest.get(hs.ctx.db, ALICE)
        assert count is not None
        return count

    first = newest()
    await hs.login("alice", device_id="A")
    assert newest() == first
    with hs.ctx.db.watch.register([("user", bob.user_id), ("room", room)]) as waiter:
        await hs.login("alice", device_id="B")
        assert await waiter.wait(5)
        second = newest()
        assert second > first
        log_in.log_out(hs.ctx, ALICE, "B")
        assert await waiter.wait(5)
        assert newest() > second
