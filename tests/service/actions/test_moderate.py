"""Kicking, banning, unbanning: who may, and whom."""

from __future__ import annotations

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_kick_of_who_is_not_there_is_refused(hs: Homeserver) -> None:
    """Strangers, people who left, and the banned cannot be kicked."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    path = f"/rooms/{room_id}/kick"
    await alice.post(path, {"user_id": "@stranger:localhost"}, "M_FORBIDDEN")
    await bob.join(room_id)
    await alice.post(path, {"user_id": bob.user_id})
    await alice.post(path, {"user_id": bob.user_id}, "M_FORBIDDEN")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    await alice.post(path, {"user_id": bob.user_id}, "M_FORBIDDEN")
    assert (await alice.state(room_id, "m.room.member", bob.user_id))["membership"] == "ban"


async def test_kick_takes_an_invite_away(hs: Homeserver) -> None:
    """A kicked invitee cannot join."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    await bob.join(room_id, expect="M_FORBIDDEN")


async def test_moderation_without_power_is_refused(hs: Homeserver) -> None:
    """Ordinary members neither kick nor ban, and nobody does so to who has as much power."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(
        preset="public_chat", power_level_content_override={"users": {bob.user_id: 50}}, room_version="12"
    )
    for user in (bob, carol):
        await user.join(room_id)
    for act in ("kick", "ban"):
        await carol.post(f"/rooms/{room_id}/{act}", {"user_id": bob.user_id}, "M_FORBIDDEN")
        await bob.post(f"/rooms/{room_id}/{act}", {"user_id": alice.user_id}, "M_FORBIDDEN")
    await bob.post(f"/rooms/{room_id}/ban", {"user_id": carol.user_id})


async def test_ban_keeps_out_until_unbanned(hs: Homeserver) -> None:
    """The banned are out, cannot return, and can after the ban was lifted."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    assert (await bob.get("/joined_rooms"))["joined_rooms"] == []
    await bob.join(room_id, expect="M_FORBIDDEN")
    await alice.post(f"/rooms/{room_id}/unban", {"user_id": bob.user_id})
    await bob.join(room_id)


async def test_unban_of_who_is_not_banned_is_a_bad_state(hs: Homeserver) -> None:
    """Unbanning somebody who is in the room does not put them out."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.post(f"/rooms/{room_id}/unban", {"user_id": bob.user_id}, "M_BAD_STATE")
    assert (await bob.get("/joined_rooms"))["joined_rooms"] == [room_id]


async def test_ban_of_who_has_forgotten_the_room_can_be_lifted(hs: Homeserver) -> None:
    """Forgetting is the user's own affair: to the room they are banned as before."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for lift in ("unban", "state"):
        await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
        await bob.post(f"/rooms/{room_id}/forget")
        if lift == "unban":
            await alice.post(f"/rooms/{room_id}/unban", {"user_id": bob.user_id})
        else:
            await alice.set_state(room_id, "m.room.member", {"membership": "leave"}, bob.user_id)
        await bob.join(room_id)
