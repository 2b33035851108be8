"""Presence."""

from __future__ import annotations

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_presence_is_seen_by_whoever_shares_a_room(hs: Homeserver) -> None:
    """State and status message reach a room mate; a stranger learns nothing."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    since = (await bob.sync())["next_batch"]
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "unavailable", "status_msg": "lunch"})
    events = (await bob.sync(since))["presence"]["events"]
    content = {event["sender"]: event["content"] for event in events}[alice.user_id]
    assert (content["presence"], content["status_msg"]) == ("unavailable", "lunch")
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "unavailable"
    await carol.get(f"/presence/{alice.user_id}/status", expect="M_FORBIDDEN")
    assert alice.user_id not in [e["sender"] for e in (await carol.sync()).get("presence", {}).get("events", [])]


async def test_presence_decays(hs: Homeserver) -> None:
    """Who is not heard of goes offline."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "online"})
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "online"
    for _ in range(10):
        await hs.clock.advance(10)
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "offline"


async def test_presence_of_others_cannot_be_set(hs: Homeserver) -> None:
    """Only one's own, and only to known states."""
    alice, bob = await people(hs, "alice", "bob")
    await bob.put(f"/presence/{alice.user_id}/status", {"presence": "online"}, expect="M_FORBIDDEN")
    await bob.put(f"/presence/{bob.user_id}/status", {"presence": "sleeping"}, expect="M_BAD_JSON")
    await bob.put(f"/presence/{bob.user_id}/status", {}, expect="M_MISSING_PARAM")
    body = {"presence": "online", "status_msg": "x" * 2000}
    await bob.put(f"/presence/{bob.user_id}/status", body, expect="M_INVALID_PARAM")


async def test_acting_ends_idleness(hs: Homeserver) -> None:
    """Who sends or sets state is not away any more."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for act in (alice.send(room_id, "hello"), alice.set_state(room_id, "m.room.topic", {"topic": "x"})):
        await alice.put(f"/presence/{alice.user_id}/status", {"presence": "unavailable"})
        await act
        assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "online"


async def test_acting_makes_nobody_online_who_does_not_sync(hs: Homeserver) -> None:
    """Others learn when such a user was last active, and that they are offline; a sync makes them online."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync(set_presence="offline")
    seen = await bob.get(f"/presence/{alice.user_id}/status")
    assert (seen["presence"], seen["last_active_ago"]) == ("offline", 0)
    await bob.send(room_id, "hidden")
    assert (await alice.get(f"/presence/{bob.user_id}/status"))["presence"] == "offline"
    await alice.sync()
    assert (await bob.get(f"/presence/{alice.user_id}/status"))["presence"] == "online"


async def test_newcomer_and_members_see_each_other(hs: Homeserver) -> None:
    """A join brings the presence of those who come into sight, once, though it is no news."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.put(f"/presence/{bob.user_id}/status", {"presence": "unavailable", "status_msg": "lunch"})
    seen = {user.user_id: (await user.sync())["next_batch"] for user in (alice, bob)}
    await bob.join(room_id)
    for user, other in ((alice, bob), (bob, alice)):
        body = await user.sync(seen[user.user_id])
        senders = [event["sender"] for event in body["presence"]["events"]]
        assert senders.count(other.user_id) == 1
        assert "presence" not in await user.sync(body["next_batch"])
