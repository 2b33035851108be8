"""Invites: whom, by whom, and what the invited learn."""

from __future__ import annotations

from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.rooms import members
from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_invite_again_changes_nothing(hs: Homeserver) -> None:
    """The same invite twice is one event; with another reason it is a new one."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    path = f"/rooms/{room_id}/state/m.room.member/{bob.user_id}"
    before = await alice.get(path, params={"format": "event"})
    await alice.invite(room_id, bob)
    assert await alice.get(path, params={"format": "event"}) == before
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": bob.user_id, "reason": "Please"})
    assert (await alice.get(path, params={"format": "event"}))["event_id"] != before["event_id"]


async def test_invite_carries_the_profile_of_the_invited(hs: Homeserver) -> None:
    """The member event shows who is invited."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    assert await alice.state(room_id, "m.room.member", bob.user_id) == {"membership": "invite", "displayname": "bob"}


async def test_invite_without_power_or_to_members_and_banned_is_refused(hs: Homeserver) -> None:
    """The room's rules decide whom one may invite."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.invite(room_id, carol, expect="M_FORBIDDEN")
    await alice.invite(room_id, bob, expect="M_FORBIDDEN")
    await alice.invite(room_id, alice, expect="M_FORBIDDEN")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": carol.user_id})
    await alice.invite(room_id, carol, expect="M_FORBIDDEN")


async def test_invite_of_users_elsewhere_is_refused_in_words(hs: Homeserver) -> None:
    """Without federation nobody of another server can be invited."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    error = await alice.invite(room_id, "@bob:elsewhere.org", expect="M_FORBIDDEN")
    assert "federation" in error["error"]


async def test_invite_of_who_blocks_invites_is_refused_by_every_way(hs: Homeserver) -> None:
    """`m.invite_permission_config` with `block` turns every kind of invite away, and nothing is written."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    with hs.ctx.db.batch() as batch:
        account_data.put(batch, UserId(bob.user_id), "", "m.invite_permission_config", {"default_action": "block"})
    await alice.invite(room_id, bob, expect="M_INVITE_BLOCKED")
    await alice.create_room(invite=[bob.user_id], expect="M_INVITE_BLOCKED")
    await alice.set_state(room_id, "m.room.member", {"membership": "invite"}, bob.user_id, expect="M_INVITE_BLOCKED")
    await alice.state(room_id, "m.room.member", bob.user_id, expect="M_NOT_FOUND")
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == [room_id]


async def test_invite_shows_stripped_state_with_the_create_event(hs: Homeserver) -> None:
    """The invited learn what kind of room it is, who invites, and the invite itself."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(name="Lobby", topic="Cheese", invite=[bob.user_id])
    stripped = members.invite_state(hs.ctx.db, RoomId(room_id), UserId(bob.user_id))
    assert [(event["type"], event["state_key"]) for event in stripped] == [
        ("m.room.create", ""),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", alice.user_id),
        ("m.room.member", bob.user_id),
    ]
    assert all(set(event) == {"type", "state_key", "sender", "content"} for event in stripped)
