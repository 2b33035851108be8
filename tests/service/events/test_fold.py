"""Leaves of a room are kept few."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conduit.service.rooms import leaves, members
from tests.support.federation import Network, network
from tests.support.guest import Guest, room_of, until


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def test_many_leaves_are_folded(net: Network) -> None:
    """A server that always cites the same old event makes many leaves: one event of ours takes their place."""
    _, room = await room_of(net)
    guest = await Guest.enter(net, room)
    root = guest.tip
    branches = [guest.message(str(number), prev=[root]) for number in range(15)]
    await guest.send(*branches)
    ctx = net["one.test"].ctx
    await until(lambda: len(leaves.of(ctx.db, guest.room_id)) <= 10)
    assert members.is_joined(ctx.db, guest.room_id, guest.join.sender)
