"""The first account."""

from __future__ import annotations

from typing import Any

from conduit.service.admin import room
from conduit.service.rooms import members, timeline
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver, serve

DUMMY = {"type": "m.login.dummy"}


def _admins(hs: Homeserver) -> list[str]:
    return [user_id for user_id in accounts.admins(hs.ctx.db) if user_id != "@conduit:localhost"]


async def _register(hs: Homeserver, name: str, auth: dict[str, Any], *, from_afar: bool = False) -> None:
    headers = {"X-Forwarded-For": "198.51.100.1"} if from_afar else {}
    body = {"username": name, "password": "x", "auth": auth}
    await hs.client().request("POST", "/register", body, headers=headers)


async def test_first_account_from_this_machine_becomes_the_administrators() -> None:
    """It is in the admin room and was told so; the second is an ordinary one."""
    async with serve(first_is_admin=True) as hs:
        alice = await hs.register("alice")
        await hs.register("bob")
        assert _admins(hs) == ["@alice:localhost"]
        admin_room = room.room_id(hs.ctx.db, hs.ctx.server_name)
        assert admin_room is not None
        assert members.joined(hs.ctx.db, admin_room) == {"@alice:localhost", "@conduit:localhost"}
        levels = await alice.state(admin_room, "m.room.power_levels")
        assert levels["users"]["@alice:localhost"] == 100
        _, event = next(iter(timeline.scan(hs.ctx.db, admin_room, reverse=True)))
        assert event.sender == "@conduit:localhost"
        assert "administrator" in event.content["body"]


async def test_first_account_from_elsewhere_does_not() -> None:
    """Who comes through a proxy is a stranger, also if the server is open; the place is kept."""
    async with serve(first_is_admin=True) as hs:
        await _register(hs, "mallory", DUMMY, from_afar=True)
        assert _admins(hs) == []
        assert accounts.first_token(hs.ctx.db) is not None
        await hs.register("alice")
        assert _admins(hs) == ["@alice:localhost"]


async def test_first_account_with_the_one_time_token_does() -> None:
    """From wherever, on a closed server too, and once."""
    async with serve(first_is_admin=True, allow_registration=False) as hs:
        token = accounts.first_token(hs.ctx.db)
        auth = {"type": "m.login.registration_token", "token": token}
        await hs.client().post(
            "/register", {"username": "eve", "password": "x", "auth": {**auth, "token": "guess"}}, 401
        )
        await _register(hs, "alice", auth, from_afar=True)
        assert _admins(hs) == ["@alice:localhost"]
        body = {"username": "bob", "password": "x", "auth": auth}
        await hs.client().post("/register", body, "M_FORBIDDEN")


async def test_guest_never_becomes_the_administrator() -> None:
    """However early."""
    async with serve(first_is_admin=True, allow_guest_registration=True) as hs:
        await hs.client().post("/register?kind=guest", {})
        assert _admins(hs) == []


async def test_token_is_offered_only_while_nobody_is_here(hs: Homeserver) -> None:
    """A server with accounts waits for no first one."""
    await hs.register("alice")
    assert room.first_account_token(hs.ctx) is None
