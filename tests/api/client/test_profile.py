"""Profiles over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import timeline
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver

ALICE = "/profile/@alice:localhost"
MXC = "mxc://localhost/abc"


async def test_fields_are_set_and_seen_by_anybody(hs: Homeserver) -> None:
    """No token is needed to look."""
    alice = await hs.register("alice")
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice Wonder"})
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": MXC})
    await alice.put(f"{ALICE}/m.tz", {"m.tz": "Europe/London"})
    await alice.put(f"{ALICE}/org.example.job", {"org.example.job": {"title": ["queen", None]}})
    everything = {
        "displayname": "Alice Wonder",
        "avatar_url": MXC,
        "m.tz": "Europe/London",
        "org.example.job": {"title": ["queen", None]},
    }
    stranger = hs.client()
    assert await stranger.get(ALICE) == everything
    for name, value in everything.items():
        assert await stranger.get(f"{ALICE}/{name}") == {name: value}


async def test_fields_can_be_removed(hs: Homeserver) -> None:
    """By DELETE, and names and avatars by an empty text as clients do; twice is once."""
    alice = await hs.register("alice")
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": MXC})
    await alice.put(f"{ALICE}/org.example.job", {"org.example.job": None})
    assert (await alice.get(ALICE))["org.example.job"] is None
    await alice.put(f"{ALICE}/displayname", {"displayname": ""})
    for name in ("avatar_url", "org.example.job", "org.example.job", "displayname"):
        await alice.delete(f"{ALICE}/{name}")
        await alice.get(f"{ALICE}/{name}", "M_NOT_FOUND")
    assert await alice.get(ALICE) == {}


@pytest.mark.parametrize("user", ["@nobody:localhost", "@alice:elsewhere.org"])
async def test_unknown_users_have_no_profile(hs: Homeserver, user: str) -> None:
    """There is none to show."""
    await hs.client().get(f"/profile/{user}", "M_NOT_FOUND")
    await hs.client().get(f"/profile/{user}/displayname", "M_NOT_FOUND")


async def test_only_ones_own_profile_can_be_changed(hs: Homeserver) -> None:
    """Not another's, and not without a token."""
    await hs.register("alice")
    bob = await hs.register("bob")
    await bob.put(f"{ALICE}/displayname", {"displayname": "Bob's pet"}, "M_FORBIDDEN")
    await bob.delete(f"{ALICE}/displayname", None, "M_FORBIDDEN")
    await hs.client().put(f"{ALICE}/displayname", {"displayname": "x"}, "M_MISSING_TOKEN")
    assert await bob.get(ALICE) == {"displayname": "alice"}


async def test_suspended_user_cannot_change_the_profile(hs: Homeserver) -> None:
    """As the specification recommends."""
    alice = await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(alice.user_id), suspended=True)
    await alice.put(f"{ALICE}/displayname", {"displayname": "x"}, "M_USER_SUSPENDED")


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": None}, "M_BAD_JSON"),
        ("displayname", {"displayname": 5}, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": {}}, "M_BAD_JSON"),
        ("avatar_url", {"avatar_url": "https://example.org/cat.png"}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "mxc://localhost/" + "a" * 2000}, "M_INVALID_PARAM"),
        ("m.tz", {"m.tz": 5}, "M_BAD_JSON"),
        ("Nonsense", {"Nonsense": 1}, "M_INVALID_PARAM"),
        ("plain", {"plain": 1}, "M_INVALID_PARAM"),
        ("org.example." + "x" * 250, {"x": 1}, "M_KEY_TOO_LARGE"),
        ("org.example.big", {"org.example.big": "x" * 65_536}, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_bad_fields_are_refused(hs: Homeserver, name: str, body: dict[str, Any], error: str) -> None:
    """And the profile stays as it was."""
    alice = await hs.register("alice")
    await alice.put(f"{ALICE}/{name}", body, error)
    assert await alice.get(ALICE) == {"displayname": "alice"}


async def test_change_of_name_reaches_all_rooms(hs: Homeserver) -> None:
    """Membership stays; what else a member event held goes on."""
    alice = await hs.register("alice")
    rooms = [await alice.create_room() for _ in range(3)]
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice Wonder"})
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": MXC})
    for room in rooms:
        content = await alice.state(room, "m.room.member", alice.user_id)
        assert content == {"membership": "join", "displayname": "Alice Wonder", "avatar_url": MXC}
    await alice.delete(f"{ALICE}/displayname")
    content = await alice.state(rooms[0], "m.room.member", alice.user_id)
    assert content == {"membership": "join", "avatar_url": MXC}


async def test_change_of_name_is_told_with_the_presence(hs: Homeserver) -> None:
    """To whoever shares a room; the presence itself stays as it is."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice Wonder"})
    told = [event for event in (await bob.sync(since))["presence"]["events"] if event["sender"] == alice.user_id]
    assert [event["content"]["displayname"] for event in told] == ["Alice Wonder"]
    assert told[0]["content"]["presence"] == (await bob.get(f"/presence/{alice.user_id}/status"))["presence"]


async def test_other_fields_send_no_events(hs: Homeserver) -> None:
    """Rooms know names and avatars only."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    before = timeline.last_position(hs.ctx.db, RoomId(room))
    await alice.put(f"{ALICE}/m.tz", {"m.tz": "Europe/London"})
    await alice.put(f"{ALICE}/displayname", {"displayname": "alice"})
    assert timeline.last_position(hs.ctx.db, RoomId(room)) == before
