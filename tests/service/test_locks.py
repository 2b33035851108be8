"""Tests of the named locks."""

from __future__ import annotations

import asyncio

from conduit.protocol.ids import RoomId, UserId
from conduit.service.locks import Locks


async def test_room_lock_lets_one_deed_in_at_a_time_in_order_of_arrival() -> None:
    """Deeds on one room never overlap, and none overtakes another."""
    locks = Locks()
    seen: list[str] = []

    async def deed(name: str) -> None:
        async with locks.room(RoomId("!a:localhost")):
            seen.append(f"{name} in")
            await asyncio.sleep(0)
            seen.append(f"{name} out")

    await asyncio.gather(deed("one"), deed("two"), deed("three"))
    assert seen == ["one in", "one out", "two in", "two out", "three in", "three out"]


async def test_locks_of_other_rooms_and_of_users_do_not_wait() -> None:
    """A room's lock holds up neither another room nor a user."""
    locks = Locks()
    async with (
        locks.user(UserId("@a:localhost")),
        locks.room(RoomId("!a:localhost")),
        asyncio.timeout(1),
        locks.room(RoomId("!b:localhost")),
        locks.user(UserId("@b:localhost")),
    ):
        pass
