"""What servers look up of each other: profiles and aliases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.client import segment
from tests.support.federation import Network, network

PROFILE = "/_matrix/federation/v1/query/profile"
DIRECTORY = "/_matrix/federation/v1/query/directory"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def test_profile_is_told_whole_or_by_field(net: Network) -> None:
    """To another server, and so to its users."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    for name, value in {"displayname": "Alice", "avatar_url": "mxc://one.test/a", "m.tz": "Europe/Berlin"}.items():
        await alice.put(f"/profile/{alice.user_id}/{name}", {name: value})
    peer = net.peer("peer.test")
    whole = {"displayname": "Alice", "avatar_url": "mxc://one.test/a", "m.tz": "Europe/Berlin"}
    path = f"{PROFILE}?user_id={segment(alice.user_id)}"
    assert await peer.get("one.test", path) == whole
    assert await peer.get("one.test", f"{path}&field=displayname") == {"displayname": "Alice"}
    assert await peer.get("one.test", f"{path}&field=m.none") == {}
    assert await bob.get(f"/profile/{alice.user_id}") == whole
    assert await bob.get(f"/profile/{alice.user_id}/displayname") == {"displayname": "Alice"}


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("", "M_MISSING_PARAM"),
        ("?user_id=nonsense", "M_INVALID_PARAM"),
        ("?user_id=@bob:two.test", "M_INVALID_PARAM"),
        ("?user_id=@nobody:one.test", "M_NOT_FOUND"),
    ],
)
async def test_profile_query_is_checked(net: Network, query: str, errcode: str) -> None:
    """Only users of this server are looked up."""
    await net.peer("peer.test").get("one.test", PROFILE + query, errcode)


async def test_alias_is_resolved_for_other_servers(net: Network) -> None:
    """With the servers that are in the room."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="hall")
    asked = f"{DIRECTORY}?room_alias=%23hall%3Aone.test"
    expected = {"room_id": room_id, "servers": ["one.test"]}
    assert await net.peer("peer.test").get("one.test", asked) == expected
    assert await bob.get("/directory/room/%23hall%3Aone.test") == expected


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("", "M_MISSING_PARAM"),
        ("?room_alias=nonsense", "M_INVALID_PARAM"),
        ("?room_alias=%23a%3Atwo.test", "M_INVALID_PARAM"),
        ("?room_alias=%23a%3Aone.test", "M_NOT_FOUND"),
    ],
)
async def test_alias_query_is_checked(net: Network, query: str, errcode: str) -> None:
    """Only aliases of this server are looked up."""
    await net.peer("peer.test").get("one.test", DIRECTORY + query, errcode)
