"""Summaries of rooms, wherever they are known."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.client import segment
from tests.support.federation import Network, network

PATH = "/_matrix/client/v1/room_summary/"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def test_summary_of_a_room_elsewhere(net: Network) -> None:
    """By alias, by its server's name in the id, or by a server that is named."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room_id = await alice.create_room(name="Hall", preset="public_chat", room_alias_name="hall", room_version="11")
    expected = {"room_id": room_id, "name": "Hall", "room_version": "11", "join_rule": "public"}
    for path in (segment("#hall:one.test"), segment(room_id), f"{segment(room_id)}?via=one.test"):
        found = await bob.get(PATH + path)
        assert expected.items() <= found.items()
        assert "membership" not in found
    newest = await alice.create_room(name="New", preset="public_chat", room_version="12")
    await bob.get(PATH + segment(newest), "M_NOT_FOUND")
    net.clock.jump(3600)
    assert (await bob.get(f"{PATH}{segment(newest)}?via=away.test&via=one.test"))["name"] == "New"


async def test_closed_rooms_and_strangers_get_nothing(net: Network) -> None:
    """Nobody is asked on behalf of somebody who is not logged in."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    closed = await alice.create_room(name="Closed", room_version="11")
    public = await alice.create_room(name="Hall", preset="public_chat", room_alias_name="hall", room_version="11")
    await bob.get(PATH + segment(closed), "M_NOT_FOUND")
    before = len(net.board.requests)
    stranger = net["two.test"].client()
    for path in (segment(public), segment("#hall:one.test")):
        await stranger.get(PATH + path, "M_NOT_FOUND")
    assert len(net.board.requests) == before


async def test_invited_user_has_the_summary_of_the_room(net: Network) -> None:
    """With the membership; the server that invited is asked."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    closed = await alice.create_room(name="Closed", room_version="12", invite=[bob.user_id])
    found = await bob.get(PATH + segment(closed))
    assert (found["name"], found["membership"]) == ("Closed", "invite")
