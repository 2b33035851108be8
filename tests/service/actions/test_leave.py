"""Leaving, rejecting invites, taking back knocks, forgetting."""

from __future__ import annotations

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_leave_rejects_an_invite(hs: Homeserver) -> None:
    """An invited user who leaves is out, and needs another invite."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await bob.leave(room_id)
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == "leave"
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_leave_rejects_an_invite_to_a_deserted_room(hs: Homeserver) -> None:
    """An invite can be rejected when nobody is in the room any more."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await alice.leave(room_id)
    await bob.leave(room_id)


async def test_leave_takes_back_a_knock(hs: Homeserver) -> None:
    """Who knocks and leaves may knock again."""
    alice, bob = await people(hs, "alice", "bob")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(initial_state=[rules])
    await bob.post(f"/knock/{room_id}")
    await bob.leave(room_id)
    await bob.post(f"/knock/{room_id}")


async def test_leave_twice_is_the_same_event(hs: Homeserver) -> None:
    """Leaving once more is well, and makes no second event."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.leave(room_id)
    path = f"/rooms/{room_id}/state/m.room.member/{bob.user_id}"
    before = await alice.get(path, params={"format": "event"})
    await bob.post(f"/rooms/{room_id}/leave", {"reason": "again"})
    assert await alice.get(path, params={"format": "event"}) == before


async def test_leave_by_who_was_never_there_or_is_banned_is_refused(hs: Homeserver) -> None:
    """Strangers have nothing to leave, and nobody lifts a ban by leaving."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.leave(room_id, expect="M_FORBIDDEN")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    await bob.leave(room_id, expect="M_FORBIDDEN")
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == "ban"


async def test_forget_ends_all_access_until_the_next_join(hs: Homeserver) -> None:
    """A forgotten room cannot be read any more; joining again makes it known again."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat", name="Lobby")
    await bob.join(room_id)
    await bob.leave(room_id)
    assert await bob.state(room_id, "m.room.name") == {"name": "Lobby"}
    await bob.post(f"/rooms/{room_id}/forget")
    await bob.state(room_id, "m.room.name", expect="M_FORBIDDEN")
    await bob.get(f"/rooms/{room_id}/members", "M_FORBIDDEN")
    await bob.join(room_id)
    assert await bob.state(room_id, "m.room.name") == {"name": "Lobby"}


async def test_forget_twice_is_well(hs: Homeserver) -> None:
    """A room can be forgotten again."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.leave(room_id)
    await bob.post(f"/rooms/{room_id}/forget")
    await bob.post(f"/rooms/{room_id}/forget")


async def test_forget_while_banned_is_allowed(hs: Homeserver) -> None:
    """Banned users may forget the room, and are banned still."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    await bob.post(f"/rooms/{room_id}/forget")
    await bob.join(room_id, expect="M_FORBIDDEN")
