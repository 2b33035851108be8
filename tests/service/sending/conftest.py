"""A server that sends, a user on it, and a destination with somebody in a room of hers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.client import User
from tests.support.federation import Network, network
from tests.support.outgoing import Sink, enter


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, and servers that tests script."""
    async with network("one.test") as net:
        yield net


@pytest.fixture
async def alice(net: Network) -> User:
    """A user of the homeserver."""
    return await net["one.test"].register("alice")


@pytest.fixture
async def sink(net: Network) -> Sink:
    """The other server."""
    return Sink(net, "two.test")


@pytest.fixture
async def room(net: Network, alice: User, sink: Sink) -> str:
    """A room of Alice's with Bob of the other server in it."""
    room_id = await alice.create_room(preset="public_chat")
    enter(net["one.test"], room_id, "@bob:two.test")
    return room_id
