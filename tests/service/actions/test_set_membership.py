"""Member events set as plain state do what the endpoints do, no more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_set_membership_join_enters_with_a_name_for_this_room(hs: Homeserver) -> None:
    """A member event with `join` joins, under the name it gives."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.set_state(room_id, "m.room.member", {"membership": "join", "displayname": "Over"}, bob.user_id)
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["displayname"] == "Over"
    await bob.set_state(room_id, "m.room.member", {"membership": "join", "displayname": None}, bob.user_id)
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["displayname"] is None


async def test_set_membership_walks_through_all_memberships(hs: Homeserver) -> None:
    """Invite, kick, ban, unban and leave can all be set as state."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    for membership in ("invite", "leave", "ban", "leave", "invite"):
        await alice.set_state(room_id, "m.room.member", {"membership": membership}, bob.user_id)
        assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == membership
    await bob.set_state(room_id, "m.room.member", {"membership": "join"}, bob.user_id)
    await bob.set_state(room_id, "m.room.member", {"membership": "leave", "reason": "x"}, bob.user_id)
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["reason"] == "x"


@pytest.mark.parametrize(
    ("state_key", "content", "errcode"),
    [
        ("@bob:localhost", {"membership": "join"}, "M_FORBIDDEN"),
        ("@bob:localhost", {"membership": "knock"}, "M_FORBIDDEN"),
        ("@alice:localhost", {"membership": "knock"}, "M_FORBIDDEN"),
        ("@alice:localhost", {"membership": "invite"}, "M_FORBIDDEN"),
        ("@alice:localhost", {"membership": "ban"}, "M_FORBIDDEN"),
        ("@bob:localhost", {"membership": "leave"}, "M_FORBIDDEN"),
        ("@bob:localhost", {"membership": "dance"}, "M_BAD_JSON"),
        ("@bob:localhost", {"membership": 5}, "M_BAD_JSON"),
        ("@bob:localhost", {"membership": ["join"]}, "M_BAD_JSON"),
        ("@bob:localhost", {}, "M_BAD_JSON"),
        ("@alice:localhost", {"membership": "join", "displayname": 5}, "M_BAD_JSON"),
        ("@alice:localhost", {"membership": "join", "avatar_url": {}}, "M_BAD_JSON"),
        ("@alice:localhost", {"membership": "leave", "reason": 5}, "M_BAD_JSON"),
        ("", {"membership": "join"}, "M_INVALID_PARAM"),
        ("bob", {"membership": "invite"}, "M_INVALID_PARAM"),
        ("@bob:elsewhere.org", {"membership": "invite"}, "M_FORBIDDEN"),
    ],
)
async def test_set_membership_of_nonsense_is_refused(
    hs: Homeserver, state_key: str, content: dict[str, Any], errcode: str
) -> None:
    """What no endpoint would do cannot be done by state either."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    before = await alice.get(f"/rooms/{room_id}/members")
    await alice.set_state(room_id, "m.room.member", content, state_key, expect=errcode)
    assert await alice.get(f"/rooms/{room_id}/members") == before


async def test_set_membership_cannot_forge_an_authorised_join(hs: Homeserver) -> None:
    """`join_authorised_via_users_server` from a client is not taken."""
    alice, bob = await people(hs, "alice", "bob")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": []}}
    room_id = await alice.create_room(room_version="10", initial_state=[rules])
    content = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    await bob.set_state(room_id, "m.room.member", content, bob.user_id, expect="M_FORBIDDEN")
