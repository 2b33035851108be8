"""Guests leave rooms whose guest access another server has revoked; for one's own users see test_set_state.py."""

from __future__ import annotations

from pathlib import Path

from conduit.protocol.ids import RoomId, UserId
from conduit.service.rooms import members
from conduit.service.users import accounts
from tests.support.client import User
from tests.support.federation import network
from tests.support.homeserver import Homeserver, serve
from tests.support.outgoing import until

ACCESS = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}


def become_guest(hs: Homeserver, user: User) -> None:
    """Make a guest of a user."""
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(user.user_id), kind="guest")  # type: ignore[arg-type]


async def guest_in(hs: Homeserver, room_id: str) -> User:
    """Return a guest who is in a room of the server."""
    guest = await hs.register("guest")
    become_guest(hs, guest)
    await guest.post(f"/join/{room_id}", {})
    return guest


async def test_guests_leave_when_another_server_revokes_their_access() -> None:
    """Each server sees to its own guests; its other users stay."""
    async with network("one.test", "two.test") as net:
        one, two = net["one.test"].ctx.db, net["two.test"].ctx.db
        alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
        powers = {"users": {alice.user_id: 100, bob.user_id: 50}}
        room = await alice.create_room(
            preset="public_chat", initial_state=[ACCESS], room_version="11", power_level_content_override=powers
        )
        guest = await guest_in(net["one.test"], room)
        await bob.post(f"/join/{room}?via=one.test", {})
        await bob.set_state(room, "m.room.guest_access", {"guest_access": "can_join", "x": 1})
        await bob.set_state(room, "m.room.guest_access", {"guest_access": "forbidden"})
        await until(lambda: not members.is_joined(two, RoomId(room), UserId(guest.user_id)))
        assert members.joined(one, RoomId(room)) == {alice.user_id, bob.user_id}


async def test_guests_who_should_have_left_leave_at_the_start(tmp_path: Path) -> None:
    """As when the server was stopped in between. Where guests are welcome they stay."""
    async with serve(engine="rocksdb", directory=tmp_path) as hs:
        alice = await hs.register("alice")
        closed = RoomId(await alice.create_room(preset="public_chat"))
        opened = RoomId(await alice.create_room(preset="public_chat", initial_state=[ACCESS]))
        bob = await hs.register("bob")
        for room in (closed, opened):
            await bob.post(f"/join/{room}", {})
        become_guest(hs, bob)
        await hs.restart()
        await until(lambda: not members.is_joined(hs.ctx.db, closed, UserId(bob.user_id)))
        assert members.is_joined(hs.ctx.db, opened, UserId(bob.user_id))
