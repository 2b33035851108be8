"""Listing, searching and paging the directory."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import RoomId, UserId
from conduit.service.browse.public_rooms import Query, search
from conduit.service.rooms import directory
from tests.support.rooms import ALICE, BOB, CAROL, World


def publish(world: World, name: str, *users: UserId, **content: Any) -> RoomId:
    """Make a published room with further members."""
    room_id = world.create(ALICE, content=content)
    world.set(room_id, ALICE, "m.room.name", {"name": name})
    for user in users:
        world.join(room_id, user)
    with world.db.batch() as batch:
        directory.set_public(batch, room_id, True)
    return room_id


async def names(world: World, **query: Any) -> list[str]:
    """Return the names of the rooms on a page."""
    return [room["name"] for room in (await search(world.db, Query(**query)))["chunk"]]


async def test_search_lists_largest_rooms_first_and_no_deserted_ones() -> None:
    """The order is by members; a room that everybody has left is not listed."""
    world = World()
    publish(world, "small")
    publish(world, "large", BOB, CAROL)
    publish(world, "middle", BOB)
    world.leave(publish(world, "deserted"), ALICE)
    assert await names(world) == ["large", "middle", "small"]


async def test_search_term_is_found_in_name_topic_and_alias_in_any_case() -> None:
    """A term is plain text, whatever characters it has."""
    world = World()
    room_id = publish(world, "Straße [a-z]*")
    world.set(room_id, ALICE, "m.room.topic", {"topic": "WOMBLES"})
    publish(world, "other")
    for term in ("STRASSE", "[A-Z]*", "wombles", "  Wombles "):
        assert await names(world, term=term) == ["Straße [a-z]*"]
    assert await names(world, term=".*") == []
    assert await names(world, term="a" * 100_000) == []


async def test_search_sees_changes_at_once() -> None:
    """What is kept of a room is made anew when its state changes."""
    world = World()
    room_id = publish(world, "before")
    assert await names(world, term="before") == ["before"]
    world.set(room_id, ALICE, "m.room.name", {"name": "after"})
    assert await names(world, term="before") == []
    assert await names(world, term="after") == ["after"]


async def test_search_by_room_type_knows_rooms_without_one() -> None:
    """`None` among the types stands for rooms that have none."""
    world = World()
    publish(world, "space", type="m.space")
    publish(world, "plain", BOB)
    assert await names(world, room_types=frozenset({"m.space"})) == ["space"]
    assert await names(world, room_types=frozenset({None})) == ["plain"]
    assert await names(world, room_types=frozenset({None, "m.space"})) == ["plain", "space"]
    assert await names(world, room_types=frozenset()) == []


async def test_paging_forwards_and_back_shows_every_room_once() -> None:
    """All pages together are the list, in both directions; the first and the last page say that they are."""
    world = World()
    for number in range(7):
        publish(world, str(number), *([BOB] if number % 2 else []))
    whole = await names(world)
    seen: list[str] = []
    page = await search(world.db, Query(limit=3))
    assert "prev_batch" not in page
    sizes = []
    while True:
        seen += [room["name"] for room in page["chunk"]]
        sizes.append(len(page["chunk"]))
        if "next_batch" not in page:
            break
        page = await search(world.db, Query(limit=3, since=page["next_batch"]))
    assert (seen, sizes) == (whole, [3, 3, 1])
    back: list[str] = []
    while "prev_batch" in page:
        page = await search(world.db, Query(limit=3, since=page["prev_batch"]))
        back = [room["name"] for room in page["chunk"]] + back
    assert back == whole[:-1]


async def test_paging_while_rooms_come_and_go_repeats_none() -> None:
    """A token keeps its place though the rooms around it change."""
    world = World()
    rooms = {name: publish(world, name, BOB) for name in "abcdef"}
    page = await search(world.db, Query(limit=2))
    first = {room["name"] for room in page["chunk"]}
    with world.db.batch() as batch:
        for name in first:
            directory.set_public(batch, rooms[name], False)
    publish(world, "huge", BOB, CAROL)
    rest = await names(world, since=page["next_batch"])
    assert sorted(rest) == sorted(set("abcdef") - first)


async def test_search_of_networks_has_their_rooms_only_or_all() -> None:
    """A network's directory is apart, and everything can be asked for together."""
    world = World()
    publish(world, "ours")
    bridged = world.create(ALICE)
    world.set(bridged, ALICE, "m.room.name", {"name": "bridged"})
    with world.db.batch() as batch:
        directory.set_on_network(batch, "irc", "libera", bridged, True)
    assert await names(world) == ["ours"]
    assert await names(world, network="irc|libera") == ["bridged"]
    assert await names(world, network="unknown") == []
    assert sorted(await names(world, all_networks=True)) == ["bridged", "ours"]
