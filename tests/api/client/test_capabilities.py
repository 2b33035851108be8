"""GET /capabilities."""

from __future__ import annotations

from conduit.protocol.ids import UserId
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver, serve


async def test_capabilities_are_told(hs: Homeserver) -> None:
    """What may be changed, and which room versions there are."""
    alice = await hs.register("alice")
    answer = (await alice.get("/capabilities"))["capabilities"]
    assert answer["m.change_password"] == {"enabled": True}
    assert answer["m.3pid_changes"] == {"enabled": False}
    assert answer["m.room_versions"]["default"] == "12"
    assert set(answer["m.room_versions"]["available"]) == {str(number) for number in range(1, 13)}
    assert answer["m.room_versions"]["available"]["12"] == "stable"
    assert "m.account_moderation" not in answer


async def test_unstable_room_versions_can_be_switched_off() -> None:
    """As in Conduit these are versions 3 to 5."""
    async with serve(allow_unstable_room_versions=False, default_room_version="10") as hs:
        alice = await hs.register("alice")
        versions = (await alice.get("/capabilities"))["capabilities"]["m.room_versions"]
        assert versions["default"] == "10"
        assert not {"3", "4", "5"} & set(versions["available"])


async def test_administrators_may_moderate_accounts(hs: Homeserver) -> None:
    """Others are not told of it."""
    alice = await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(alice.user_id), admin=True)
    answer = (await alice.get("/capabilities"))["capabilities"]
    assert answer["m.account_moderation"] == {"suspend": True, "lock": True}


async def test_guests_are_told_what_they_cannot_change() -> None:
    """A guest has a display name only, and no password."""
    async with serve(allow_guest_registration=True) as hs:
        guest = hs.client((await hs.client().post("/register", params={"kind": "guest"}))["access_token"])
        answer = (await guest.get("/capabilities"))["capabilities"]
        assert answer["m.profile_fields"] == {"enabled": True, "allowed": ["displayname"]}
        off = {name for name, value in answer.items() if value.get("enabled") is False}
        assert {"m.set_avatar_url", "m.change_password", "m.get_login_token"} <= off
        assert "m.set_displayname" not in off


async def test_suspended_users_are_told_that_their_profile_stays(hs: Homeserver) -> None:
    """In the old way, too."""
    alice = await hs.register("alice")
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(alice.user_id), suspended=True)
    answer = (await alice.get("/capabilities"))["capabilities"]
    for name in ("m.profile_fields", "m.set_displayname", "m.set_avatar_url"):
        assert answer[name] == {"enabled": False}


async def test_capabilities_want_a_token(hs: Homeserver) -> None:
    """They are the caller's."""
    await hs.client().get("/capabilities", "M_MISSING_TOKEN")
