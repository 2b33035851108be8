"""Joining and knocking by their endpoints: ids and aliases, bodies, hostile input."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.service.users import accounts
from tests.support.homeserver import Homeserver
from tests.support.people import people


@pytest.mark.parametrize("path", ["/rooms/{id}/join", "/join/{id}", "/join/%23lobby:localhost"])
async def test_join_by_every_path_enters_the_room(hs: Homeserver, path: str) -> None:
    """All three ways lead into the room, and the answer names it."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="lobby")
    assert await bob.post(path.format(id=room_id)) == {"room_id": room_id}
    assert (await bob.get("/joined_rooms"))["joined_rooms"] == [room_id]


async def test_join_carries_profile_reason_and_further_content(hs: Homeserver) -> None:
    """The member event has the profile, the reason and what else the client put into the body."""
    alice, bob = await people(hs, "alice", "bob")
    await bob.put(f"/profile/{bob.user_id}/avatar_url", {"avatar_url": "mxc://localhost/face"})
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}?via=elsewhere.org&server_name=a.b", {"reason": "Hi", "org.example": 1})
    assert await alice.state(room_id, "m.room.member", bob.user_id) == {
        "membership": "join",
        "displayname": "bob",
        "avatar_url": "mxc://localhost/face",
        "reason": "Hi",
        "org.example": 1,
    }


async def test_join_without_body_is_taken(hs: Homeserver) -> None:
    """Many clients send no body at all."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    assert (await bob.raw("POST", f"/join/{room_id}")).status == 200


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("/join/lobby", {}, "M_INVALID_PARAM"),
        ("/join/%23lobby", {}, "M_INVALID_PARAM"),
        ("/join/!" + "a" * 300 + ":b", {}, "M_INVALID_PARAM"),
        ("/join/%23nowhere:localhost", {}, "M_NOT_FOUND"),
        ("/join/%23room:elsewhere.org", {}, "M_NOT_FOUND"),
        ("/join/!nowhere:localhost", {}, "M_NOT_FOUND"),
        ("/rooms/%23lobby:localhost/join", {}, "M_INVALID_PARAM"),
        ("/rooms/!a%00b:c/join", {}, "M_INVALID_PARAM"),
        ("/join/{id}", {"reason": 5}, "M_BAD_JSON"),
        ("/join/{id}", {"displayname": 5}, "M_BAD_JSON"),
        ("/join/{id}", {"x": 1.5}, "M_BAD_JSON"),
        ("/join/{id}", {"x": "y" * 70_000}, "M_TOO_LARGE"),
        ("/join/{id}", {"third_party_signed": "x"}, "M_BAD_JSON"),
        ("/join/{id}", {"third_party_signed": {}}, "M_MISSING_PARAM"),
        ("/knock/{id}", {"reason": []}, "M_BAD_JSON"),
        ("/knock/nothing", {}, "M_INVALID_PARAM"),
        ("/knock/!nowhere:localhost", {}, "M_NOT_FOUND"),
        ("/knock/{id}", {}, "M_FORBIDDEN"),
    ],
)
async def test_join_or_knock_of_nonsense_is_refused(
    hs: Homeserver, path: str, body: dict[str, Any], errcode: str
) -> None:
    """Bad ids, bad bodies and rooms that are not there have the fitting code, and nobody has joined."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(path.format(id=room_id), body, errcode)
    assert (await bob.get("/joined_rooms"))["joined_rooms"] == []


async def test_join_body_cannot_set_what_the_server_says(hs: Homeserver) -> None:
    """Membership and the authorising user are not the client's to choose."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    body = {"membership": "ban", "join_authorised_via_users_server": alice.user_id, "displayname": "Robert"}
    await bob.post(f"/join/{room_id}", body)
    member = await alice.state(room_id, "m.room.member", bob.user_id)
    assert member == {"membership": "join", "displayname": "Robert"}


async def test_join_while_suspended_is_refused(hs: Homeserver) -> None:
    """Suspended users neither join nor knock, but may leave."""
    alice, bob = await people(hs, "alice", "bob")
    one, two = [await alice.create_room(preset="public_chat") for _ in range(2)]
    await bob.join(one)
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, bob.user_id, suspended=True)  # type: ignore[arg-type]
    await bob.join(two, expect="M_USER_SUSPENDED")
    await bob.post(f"/knock/{two}", {}, "M_USER_SUSPENDED")
    await bob.leave(one)


async def test_knock_by_alias_answers_the_room(hs: Homeserver) -> None:
    """A knock takes an alias too."""
    alice, bob = await people(hs, "alice", "bob")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(initial_state=[rules], room_alias_name="door")
    assert await bob.post("/knock/%23door:localhost", {"reason": "Let me in"}) == {"room_id": room_id}
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["reason"] == "Let me in"
