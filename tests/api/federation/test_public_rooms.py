"""The published room directory between servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.federation import Network, network

PATH = "/_matrix/federation/v1/publicRooms"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers."""
    async with network("one.test", "two.test") as found:
        yield found


async def test_directory_is_listed_and_searched_by_other_servers(net: Network) -> None:
    """In pages, and by what is sought."""
    alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
    rooms = [await alice.create_room(visibility="public", name=f"Room {n}") for n in range(3)]
    await alice.create_room(name="Hidden")
    whole = await peer.get("one.test", PATH)
    assert sorted(room["room_id"] for room in whole["chunk"]) == sorted(rooms)
    assert whole["total_room_count_estimate"] == 3
    page = await peer.get("one.test", f"{PATH}?limit=2")
    rest = await peer.get("one.test", f"{PATH}?limit=2&since={page['next_batch']}")
    assert [len(page["chunk"]), len(rest["chunk"])] == [2, 1]
    assert len((await peer.get("one.test", f"{PATH}?limit=0&include_all_networks=true"))["chunk"]) == 3
    found = await peer.post("one.test", PATH, {"filter": {"generic_search_term": "room 1"}})
    assert [room["name"] for room in found["chunk"]] == ["Room 1"]
    await peer.get("one.test", f"{PATH}?since=nonsense", "M_INVALID_PARAM")
    await peer.post("one.test", PATH, {"filter": 5}, "M_BAD_JSON")


async def test_rooms_that_are_closed_to_other_servers_are_not_told_to_them(net: Network) -> None:
    """Nobody of them could join; users of this server see them."""
    alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
    opened = await alice.create_room(visibility="public", name="Open")
    closed = await alice.create_room(visibility="public", name="Ours", creation_content={"m.federate": False})
    for listed in (await peer.get("one.test", PATH), await peer.post("one.test", PATH, {})):
        assert [room["room_id"] for room in listed["chunk"]] == [opened]
        assert listed["total_room_count_estimate"] == 1
    assert {room["room_id"] for room in (await alice.get("/publicRooms"))["chunk"]} == {opened, closed}


async def test_users_list_and_search_directories_of_other_servers(net: Network) -> None:
    """By the name of the server; their own server's name means no other."""
    alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
    rooms = [await alice.create_room(visibility="public", name=f"Room {n}") for n in range(3)]
    own = await bob.create_room(visibility="public", name="Own")
    listed = await bob.get("/publicRooms?server=one.test")
    assert sorted(room["room_id"] for room in listed["chunk"]) == sorted(rooms)
    page = await bob.get("/publicRooms?server=one.test&limit=2")
    rest = await bob.get(f"/publicRooms?server=one.test&limit=2&since={page['next_batch']}")
    assert {room["room_id"] for room in page["chunk"] + rest["chunk"]} == set(rooms)
    sought = {"filter": {"generic_search_term": "ROOM 2", "room_types": [None]}}
    found = await bob.post("/publicRooms?server=one.test", sought)
    assert [room["name"] for room in found["chunk"]] == ["Room 2"]
    assert [room["room_id"] for room in (await bob.get("/publicRooms?server=two.test"))["chunk"]] == [own]
    await bob.get("/publicRooms?server=away.test", 502)
    await net["two.test"].client().get("/publicRooms?server=one.test", "M_MISSING_TOKEN")
