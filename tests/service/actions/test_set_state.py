"""Setting state: guests are put out when they may no longer be there."""

from __future__ import annotations

from conduit.protocol.ids import UserId
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_guests_leave_when_guest_access_is_revoked(hs: Homeserver) -> None:
    """Local guests leave the room, and nobody else does."""
    alice, bob, guest = await people(hs, "alice", "bob", "guest")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(guest.user_id), kind="guest")  # type: ignore[arg-type]
    access = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}
    room_id = await alice.create_room(preset="public_chat", initial_state=[access])
    for user in (bob, guest):
        await user.join(room_id)
    await alice.set_state(room_id, "m.room.guest_access", {"guest_access": "can_join", "x": 1})
    assert guest.user_id in (await alice.get(f"/rooms/{room_id}/joined_members"))["joined"]
    await alice.set_state(room_id, "m.room.guest_access", {})
    assert set((await alice.get(f"/rooms/{room_id}/joined_members"))["joined"]) == {alice.user_id, bob.user_id}
    assert (await alice.state(room_id, "m.room.member", guest.user_id))["membership"] == "leave"


async def test_state_by_who_is_not_in_the_room_is_refused(hs: Homeserver) -> None:
    """Strangers set nothing, and do not learn whether the room is there."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.set_state(room_id, "org.example", {}, expect="M_FORBIDDEN")
    await bob.set_state("!nowhere:localhost", "org.example", {}, expect="M_FORBIDDEN")
