"""Administration over HTTP."""

from __future__ import annotations

import pytest

from tests.support.homeserver import Homeserver, serve

BARS = [("lock", "locked", "M_USER_LOCKED"), ("suspend", "suspended", "M_USER_SUSPENDED")]
V1 = "/_matrix/client/v1/admin"


@pytest.mark.parametrize(("act", "field", "error"), BARS)
async def test_accounts_are_barred_and_freed(act: str, field: str, error: str) -> None:
    """By an administrator; the user feels it at once."""
    async with serve(first_is_admin=True) as hs:
        alice, bob = await hs.register("alice"), await hs.register("bob")
        path = f"{V1}/{act}/{bob.user_id}"
        profile = f"/profile/{bob.user_id}/displayname"
        assert await alice.get(path) == {field: False}
        assert await alice.put(path, {field: True}) == {field: True}
        assert await alice.get(path) == {field: True}
        await bob.put(profile, {"displayname": "Bobby"}, error)
        assert await alice.put(path, {field: False}) == {field: False}
        await bob.put(profile, {"displayname": "Bobby"})
        await alice.put(path, {field: "yes"}, "M_BAD_JSON")
        await alice.put(path, {}, "M_MISSING_PARAM")


@pytest.mark.parametrize("act", ["lock", "suspend"])
async def test_only_administrators_bar_and_nobody_bars_them(act: str) -> None:
    """Who asks is checked before whom they ask about."""
    async with serve(first_is_admin=True) as hs:
        alice, bob = await hs.register("alice"), await hs.register("bob")
        body = {"locked": True, "suspended": True}
        for user_id in (alice.user_id, bob.user_id, "@nobody:localhost", "@x:elsewhere.org"):
            await bob.put(f"{V1}/{act}/{user_id}", body, "M_FORBIDDEN")
            await bob.get(f"{V1}/{act}/{user_id}", "M_FORBIDDEN")
        for user_id, error in (
            (alice.user_id, "M_FORBIDDEN"),
            ("@conduit:localhost", "M_FORBIDDEN"),
            ("@nobody:localhost", "M_NOT_FOUND"),
            ("@bob:elsewhere.org", "M_INVALID_PARAM"),
        ):
            await alice.put(f"{V1}/{act}/{user_id}", body, error)
            await alice.get(f"{V1}/{act}/{user_id}", error)


async def test_whois_tells_last_use_to_oneself_and_administrators(hs: Homeserver) -> None:
    """Nobody else learns addresses."""
    alice = await hs.register("alice", device_id="PHONE")
    bob = await hs.register("bob")
    hs.clock.jump(3600)
    await alice.request("GET", "/account/whoami", headers={"User-Agent": "teapot/1"})
    connection = {"ip": "127.0.0.1", "last_seen": hs.clock.now_ms(), "user_agent": "teapot/1"}
    assert await alice.get(f"/admin/whois/{alice.user_id}") == {
        "user_id": alice.user_id,
        "devices": {"PHONE": {"sessions": [{"connections": [connection]}]}},
    }
    await bob.get(f"/admin/whois/{alice.user_id}", "M_FORBIDDEN")
