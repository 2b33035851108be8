"""The published room directory by its endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import admin, people, person


async def test_directory_lists_what_is_known_of_a_room(hs: Homeserver) -> None:
    """Name, topic, alias, avatar, kind, rules and size; without a token too."""
    alice = await person(hs)
    room_id = await alice.create_room(
        visibility="public",
        room_alias_name="cheese",
        name="CHEESE",
        topic="Tasty",
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://localhost/brie"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    answer = await hs.client().get("/publicRooms")
    assert answer == {
        "chunk": [
            {
                "room_id": room_id,
                "name": "CHEESE",
                "topic": "Tasty",
                "canonical_alias": "#cheese:localhost",
                "avatar_url": "mxc://localhost/brie",
                "join_rule": "public",
                "room_type": "m.space",
                "num_joined_members": 1,
                "world_readable": True,
                "guest_can_join": True,
            }
        ],
        "total_room_count_estimate": 1,
    }


async def test_directory_leaves_out_what_has_the_wrong_type(hs: Homeserver) -> None:
    """State of any shape neither breaks the list nor gets into it."""
    alice = await person(hs)
    room_id = await alice.create_room(visibility="public")
    for event_type, content in (
        ("m.room.name", {"name": 5}),
        ("m.room.topic", {"topic": {}}),
        ("m.room.avatar", {"url": "http://example.org/a.png"}),
        ("m.room.history_visibility", {"history_visibility": []}),
        ("m.room.guest_access", {}),
        ("m.room.join_rules", {}),
    ):
        await alice.set_state(room_id, event_type, content)
    (room,) = (await alice.get("/publicRooms"))["chunk"]
    assert set(room) == {"room_id", "num_joined_members", "world_readable", "guest_can_join", "join_rule"}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"limit": "5"}, "M_BAD_JSON"),
        ({"limit": -1}, "M_INVALID_PARAM"),
        ({"limit": True}, "M_BAD_JSON"),
        ({"since": 5}, "M_BAD_JSON"),
        ({"since": "nonsense"}, "M_INVALID_PARAM"),
        ({"since": "n5"}, "M_INVALID_PARAM"),
        ({"since": "n5_nowhere"}, "M_INVALID_PARAM"),
        ({"since": "n" + "9" * 50 + "_!a:b"}, "M_INVALID_PARAM"),
        ({"filter": []}, "M_BAD_JSON"),
        ({"filter": {"generic_search_term": 5}}, "M_BAD_JSON"),
        ({"filter": {"room_types": "m.space"}}, "M_BAD_JSON"),
        ({"filter": {"room_types": [5]}}, "M_BAD_JSON"),
        ({"filter": {"room_types": [["m.space"]]}}, "M_BAD_JSON"),
        ({"include_all_networks": "yes"}, "M_BAD_JSON"),
        ({"third_party_instance_id": 5}, "M_BAD_JSON"),
        ({"third_party_instance_id": "irc", "include_all_networks": True}, "M_INVALID_PARAM"),
    ],
)
async def test_directory_search_of_nonsense_is_refused(hs: Homeserver, body: dict[str, Any], errcode: str) -> None:
    """Wrong types and tokens have the fitting code."""
    alice = await person(hs)
    await alice.post("/publicRooms", body, errcode)


async def test_directory_query_of_nonsense_is_refused(hs: Homeserver) -> None:
    """Numbers and servers in the query are checked; huge limits are clamped; other servers are not asked yet."""
    client = hs.client()
    for query in ("limit=x", "limit=-1", "limit=%D9%A1", "since=x", "server=a%20b"):
        await client.get(f"/publicRooms?{query}", "M_INVALID_PARAM")
    await client.get("/publicRooms?server=elsewhere.org", "M_FORBIDDEN")
    await client.get("/publicRooms?limit=99999999999999999999&server=localhost")
    await client.post("/publicRooms", {}, "M_MISSING_TOKEN")


async def test_visibility_is_set_by_power_and_administrators_only(hs: Homeserver) -> None:
    """Who may say how a room is found, may publish it."""
    alice, bob = await people(hs, "alice", "bob")
    operator = await admin(hs)
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    path = f"/directory/list/room/{room_id}"
    await bob.put(path, {"visibility": "public"}, "M_FORBIDDEN")
    assert await hs.client().get(path) == {"visibility": "private"}
    await alice.put(path, {})
    assert await hs.client().get(path) == {"visibility": "public"}
    await operator.put(path, {"visibility": "private"})
    assert await hs.client().get(path) == {"visibility": "private"}


async def test_visibility_of_nonsense_is_refused(hs: Homeserver) -> None:
    """Unknown rooms are not found, unknown values refused."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.get("/directory/list/room/!nowhere:localhost", "M_NOT_FOUND")
    await alice.put("/directory/list/room/!nowhere:localhost", {"visibility": "public"}, "M_NOT_FOUND")
    await alice.get("/directory/list/room/nowhere", "M_INVALID_PARAM")
    await alice.put(f"/directory/list/room/{room_id}", {"visibility": "secret"}, "M_INVALID_PARAM")
    await alice.put(f"/directory/list/room/{room_id}", {"visibility": 5}, "M_BAD_JSON")


async def test_network_visibility_is_for_application_services(hs: Homeserver) -> None:
    """Ordinary users cannot touch the directories of networks."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.put(f"/directory/list/appservice/irc/{room_id}", {"visibility": "public"}, "M_FORBIDDEN")
