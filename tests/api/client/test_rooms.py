"""GET /members, /joined_members and /joined_rooms."""

from __future__ import annotations

import pytest

from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import people, person


async def members_of(user: User, room_id: str, **params: str) -> dict[str, str]:
    """Return user -> membership as /members lists it."""
    body = await user.get(f"/rooms/{room_id}/members", params=params)
    return {event["state_key"]: event["content"]["membership"] for event in body["chunk"]}


async def test_members_are_filtered_by_membership(hs: Homeserver) -> None:
    """One filter, the other, or either of both."""
    alice, bob, carol, dave = await people(hs, "alice", "bob", "carol", "dave")
    room_id = await alice.create_room(preset="public_chat", invite=[bob.user_id])
    await carol.join(room_id)
    await carol.leave(room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": dave.user_id})
    everybody = {alice.user_id: "join", bob.user_id: "invite", carol.user_id: "leave", dave.user_id: "ban"}
    assert await members_of(alice, room_id) == everybody
    assert await members_of(alice, room_id, membership="join") == {alice.user_id: "join"}
    assert await members_of(alice, room_id, not_membership="leave") == {
        user: membership for user, membership in everybody.items() if membership != "leave"
    }
    both = await members_of(alice, room_id, membership="leave", not_membership="ban")
    assert both == {user: membership for user, membership in everybody.items() if membership != "ban"}


@pytest.mark.parametrize("name", ["membership", "not_membership"])
async def test_members_unknown_membership_is_refused(hs: Homeserver, name: str) -> None:
    """Only real memberships can be asked for."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.get(f"/rooms/{room_id}/members", "M_INVALID_PARAM", params={name: "dancing"})


async def test_members_follow_every_change(hs: Homeserver) -> None:
    """Lists asked for before do not outlive a change."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    for _ in range(2):
        assert await members_of(alice, room_id, membership="join") == {alice.user_id: "join"}
        await bob.join(room_id)
        assert set(await members_of(alice, room_id, membership="join")) == {alice.user_id, bob.user_id}
        await bob.leave(room_id)


@pytest.mark.parametrize("at", ["x", "t", "t-", "t99999999999999999999999", "s", "s1_", "-5", "t1~"])
async def test_members_at_a_bad_token_is_refused(hs: Homeserver, at: str) -> None:
    """Tokens that no server has given out are M_INVALID_PARAM."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.get(f"/rooms/{room_id}/members", "M_INVALID_PARAM", params={"at": at})


async def test_joined_members_are_those_in_the_room_with_their_profiles(hs: Homeserver) -> None:
    """Name and avatar of who is in the room; fields of the wrong type are left out."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    await alice.put(f"/profile/{alice.user_id}/avatar_url", {"avatar_url": "mxc://localhost/face"})
    room_id = await alice.create_room(preset="public_chat", invite=[carol.user_id])
    content = {"membership": "join", "displayname": None, "avatar_url": "http://not.mxc/"}
    await bob.set_state(room_id, "m.room.member", content, bob.user_id)
    assert await alice.get(f"/rooms/{room_id}/joined_members") == {
        "joined": {alice.user_id: {"display_name": "alice", "avatar_url": "mxc://localhost/face"}, bob.user_id: {}}
    }


async def test_joined_members_are_for_members_only(hs: Homeserver) -> None:
    """Neither strangers nor people who have left may ask, even in a world-readable room."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    await bob.get(f"/rooms/{room_id}/joined_members", "M_FORBIDDEN")
    await bob.join(room_id)
    await bob.leave(room_id)
    await bob.get(f"/rooms/{room_id}/joined_members", "M_FORBIDDEN")
    await bob.get("/rooms/!nowhere:localhost/joined_members", "M_FORBIDDEN")
    await bob.get("/rooms/nowhere/joined_members", "M_INVALID_PARAM")


async def test_joined_rooms_lists_joined_rooms_only(hs: Homeserver) -> None:
    """Invites and rooms that were left are not in the list."""
    alice, bob = await people(hs, "alice", "bob")
    one, two, _ = [await alice.create_room(preset="public_chat", invite=[bob.user_id]) for _ in range(3)]
    for room_id in (one, two):
        await bob.join(room_id)
    await bob.leave(one)
    assert await bob.get("/joined_rooms") == {"joined_rooms": [two]}


async def test_members_at_a_token_of_sync_or_history_are_those_of_then(hs: Homeserver) -> None:
    """Both kinds of tokens that clients hold name a moment."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    since = (await alice.sync())["next_batch"]
    await bob.join(room_id)
    later = (await alice.sync())["next_batch"]
    prev_batch = (await alice.messages(room_id, limit=1))["end"]
    for at, expected in (
        (since, {alice.user_id}),
        (prev_batch, {alice.user_id}),
        (later, {alice.user_id, bob.user_id}),
    ):
        assert set(await members_of(alice, room_id, at=at)) == expected
