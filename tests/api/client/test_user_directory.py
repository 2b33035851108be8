"""Tests of searching people."""

from __future__ import annotations

from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members
from tests.support.client import User, segment
from tests.support.federation import network
from tests.support.guest import until
from tests.support.homeserver import Homeserver


async def found(user: User, term: str, **options: object) -> list[str]:
    """Return the ids of those who are found."""
    body = await user.post("/user_directory/search", {"search_term": term, **options})
    return [result["user_id"] for result in body["results"]]


async def test_only_people_one_could_meet_are_found(hs: Homeserver) -> None:
    """Who shares a room, or is in one that is open to all, is found; anybody else is not."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bobby", "bobina")]
    assert await found(alice, "bob") == []
    private = await bob.create_room()
    await bob.invite(private, alice)
    assert await found(alice, "bob") == []
    await alice.join(private)
    assert await found(alice, "bob") == [bob.user_id]
    await carol.create_room(preset="public_chat")
    assert await found(alice, "bob") == [bob.user_id, carol.user_id]
    await bob.leave(private)
    assert await found(alice, "bob") == [carol.user_id]


async def test_people_find_themselves_where_others_could(hs: Homeserver) -> None:
    """That is in a room open to all, and not in one with others only."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.join(room_id)
    assert await found(bob, "bob") == []
    assert await found(alice, "bob") == [bob.user_id]
    for event_type, shown, hidden in (
        ("m.room.join_rules", {"join_rule": "public"}, {"join_rule": "invite"}),
        ("m.room.history_visibility", {"history_visibility": "world_readable"}, {"history_visibility": "shared"}),
    ):
        await alice.set_state(room_id, event_type, shown)
        assert await found(bob, "bob") == [bob.user_id]
        await alice.set_state(room_id, event_type, hidden)
        assert await found(bob, "bob") == []


async def test_display_names_and_ids_are_searched_without_case(hs: Homeserver) -> None:
    """A user is found by the beginning of any word of the display name or of the id."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await bob.put(f"/profile/{segment(bob.user_id)}/displayname", {"displayname": "Robert O'Brien"})
    for term in ("rob", "BRIEN", "robert o'br", "bob", "@bob", bob.user_id):
        assert await found(alice, term) == [bob.user_id], term
    for term in ("obert", "robert smith", "", "localhost"):
        assert await found(alice, term) == [], term
    body = await alice.post("/user_directory/search", {"search_term": "rob"})
    assert body["results"][0]["display_name"] == "Robert O'Brien"
    await bob.put(f"/profile/{segment(bob.user_id)}/displayname", {"displayname": "Someone"})
    assert await found(alice, "brien") == []


async def test_names_used_in_one_room_do_not_leak(hs: Homeserver) -> None:
    """What somebody calls themselves in a single room is neither found nor shown."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await bob.set_state(room, "m.room.member", {"membership": "join", "displayname": "Zorro"}, bob.user_id)
    assert await found(alice, "zorro") == []
    body = await alice.post("/user_directory/search", {"search_term": "bob"})
    assert body["results"][0].get("display_name") != "Zorro"


async def test_limit_is_kept_and_told(hs: Homeserver) -> None:
    """No more than the limit come, and the answer says whether there are more."""
    alice = await hs.register("alice")
    room = await alice.create_room(preset="public_chat")
    for n in range(3):
        await (await hs.register(f"friend{n}")).join(room)
    body = await alice.post("/user_directory/search", {"search_term": "friend", "limit": 2})
    assert len(body["results"]) == 2
    assert body["limited"] is True
    body = await alice.post("/user_directory/search", {"search_term": "friend"})
    assert len(body["results"]) == 3
    assert body["limited"] is False
    await alice.post("/user_directory/search", {}, "M_MISSING_PARAM")
    await alice.post("/user_directory/search", {"search_term": 1}, "M_BAD_JSON")


async def test_people_of_other_servers_are_found_by_what_they_are_called_in_shared_rooms() -> None:
    """And by nobody who shares no room with them."""
    async with network("one.test", "two.test") as net:
        alice, carol = await net["one.test"].register("alice"), await net["one.test"].register("carol")
        bob = await net["two.test"].register("bob")
        await alice.put(f"/profile/{segment(alice.user_id)}/displayname", {"displayname": "Ada Lovelace"})
        await alice.put(f"/profile/{segment(alice.user_id)}/avatar_url", {"avatar_url": "mxc://one.test/ada"})
        room = await alice.create_room(preset="public_chat")
        assert await found(bob, "love") == []
        await bob.post(f"/join/{room}?via=one.test", {})
        for term in ("love", "ada lov", "alice", "@alice:one.test"):
            assert await found(bob, term) == [alice.user_id], term
        (result,) = (await bob.post("/user_directory/search", {"search_term": "ADA"}))["results"]
        assert result == {"user_id": alice.user_id, "display_name": "Ada Lovelace", "avatar_url": "mxc://one.test/ada"}
        assert await found(bob, "") == []
        assert await found(bob, "carol") == []
        await carol.post(f"/rooms/{room}/join", {})
        # Of two branches at one moment of the clock the id of an event would decide.
        await until(lambda: members.is_joined(net["two.test"].ctx.db, RoomId(room), UserId(carol.user_id)))
        await bob.post(f"/rooms/{room}/leave", {})
        assert await found(bob, "love") == []


async def test_people_of_other_servers_are_found_in_published_rooms_open_to_all() -> None:
    """Without sharing the room; but not once it is closed or no longer published."""
    async with network("one.test", "two.test") as net:
        alice, carol = await net["one.test"].register("alice"), await net["one.test"].register("carol")
        bob = await net["two.test"].register("bobby")
        room = await alice.create_room(preset="public_chat", visibility="public")
        assert await found(carol, "bob") == []
        await bob.post(f"/join/{segment(room)}?via=one.test", {})
        assert await found(carol, "bob") == [bob.user_id]
        await alice.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
        assert await found(carol, "bob") == []
        await alice.set_state(room, "m.room.join_rules", {"join_rule": "public"})
        await alice.put(f"/directory/list/room/{segment(room)}", {"visibility": "private"})
        assert await found(carol, "bob") == []
        assert await found(alice, "bob") == [bob.user_id]
