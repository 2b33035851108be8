"""Logout over HTTP."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_logout_ends_the_session_and_deletes_the_device(hs: Homeserver) -> None:
    """Other sessions stay."""
    phone = await hs.register("alice", device_id="1")
    laptop = await hs.login("alice", device_id="10")
    assert await phone.post("/logout") == {}
    answer = await phone.get("/account/whoami", 401)
    assert answer["errcode"] == "M_UNKNOWN_TOKEN"
    assert answer["soft_logout"] is False
    devices = (await laptop.get("/devices"))["devices"]
    assert [device["device_id"] for device in devices] == ["10"]


async def test_logout_everywhere_ends_all_sessions_of_that_user_only(hs: Homeserver) -> None:
    """No device is left."""
    phone = await hs.register("alice")
    laptop = await hs.login("alice")
    bob = await hs.register("bob")
    await phone.post("/logout/all")
    await laptop.get("/account/whoami", "M_UNKNOWN_TOKEN")
    await bob.get("/account/whoami")
    fresh = await hs.login("alice")
    assert len((await fresh.get("/devices"))["devices"]) == 1


async def test_logout_wants_a_token(hs: Homeserver) -> None:
    """One that is known."""
    await hs.client().post("/logout", {}, "M_MISSING_TOKEN")
    await hs.client("made-up").post("/logout", {}, "M_UNKNOWN_TOKEN")


async def test_logout_ends_refresh_tokens(hs: Homeserver) -> None:
    """The pair ends together."""
    body = {"username": "alice", "password": "x", "refresh_token": True, "auth": {"type": "m.login.dummy"}}
    answer = await hs.client().post("/register", body)
    await hs.client(answer["access_token"]).post("/logout")
    await hs.client().post("/refresh", {"refresh_token": answer["refresh_token"]}, "M_UNKNOWN_TOKEN")
