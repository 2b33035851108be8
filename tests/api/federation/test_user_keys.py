"""Keys for other servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit.protocol.ids import UserId
from tests.service.keys.remote import EVE, Eve, devices_of
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.federation import network

QUERY = "/_matrix/federation/v1/user/keys/query"
CLAIM = "/_matrix/federation/v1/user/keys/claim"


@pytest.fixture
async def eve() -> Any:
    """One homeserver and a scripted one with a user."""
    async with network("one.test") as net:
        yield Eve(net)


async def test_keys_of_local_users_are_told_with_their_own_signatures_only(eve: Eve) -> None:
    """The user-signing key, and who else has signed, are for local eyes."""
    alice = await eve.hs.register("alice")
    user_id = UserId(alice.user_id)
    keys = device_keys(user_id, alice.device_id)
    await alice.post("/keys/upload", {"device_keys": keys})
    signer = CrossSigner(user_id, 50)
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": alice.password,
    }
    await alice.post("/keys/device_signing/upload", {**signer.body(), "auth": auth})
    answer = await eve.peer.post("one.test", QUERY, {"device_keys": {user_id: [], "@nobody:one.test": []}})
    assert answer["device_keys"] == {user_id: {alice.device_id: {**keys, "unsigned": {}}}}
    assert answer["master_keys"] == {user_id: signer.key("master")}
    assert answer["self_signing_keys"] == {user_id: signer.key("self_signing")}
    assert "user_signing_keys" not in answer


async def test_advisory_13_nothing_is_told_of_remote_users(eve: Eve) -> None:
    """Whatever is known here of them."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    assert await devices_of(alice)
    other = eve.net.peer("other.test")
    assert await other.post("one.test", QUERY, {"device_keys": {EVE: []}}) == {"device_keys": {}}
    await other.get("one.test", f"/_matrix/federation/v1/user/devices/{EVE}", "M_NOT_FOUND")


async def test_one_time_keys_are_handed_out_once(eve: Eve) -> None:
    """Those of local users only."""
    alice = await eve.hs.register("alice")
    key = {"key": "abc", "signatures": {}}
    await alice.post("/keys/upload", {"one_time_keys": {"signed_curve25519:A": key}})
    wanted = {alice.user_id: {alice.device_id: "signed_curve25519"}, EVE: {"DEV": "signed_curve25519"}}
    answer = await eve.peer.post("one.test", CLAIM, {"one_time_keys": wanted})
    assert answer == {"one_time_keys": {alice.user_id: {alice.device_id: {"signed_curve25519:A": key}}}}
    assert await eve.peer.post("one.test", CLAIM, {"one_time_keys": wanted}) == {"one_time_keys": {}}


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        (QUERY, {}, "M_MISSING_PARAM"),
        (QUERY, {"device_keys": []}, "M_BAD_JSON"),
        (QUERY, {"device_keys": {"@a:one.test": "x"}}, "M_BAD_JSON"),
        (QUERY, {"device_keys": {"a": []}}, "M_INVALID_PARAM"),
        (CLAIM, {}, "M_MISSING_PARAM"),
        (CLAIM, {"one_time_keys": {"@a:one.test": []}}, "M_BAD_JSON"),
        (CLAIM, {"one_time_keys": {"a": {}}}, "M_INVALID_PARAM"),
    ],
)
async def test_malformed_requests_are_refused(eve: Eve, path: str, body: Any, errcode: str) -> None:
    """With the code that fits."""
    await eve.peer.post("one.test", path, body, errcode)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (QUERY, {"device_keys": {f"@u{number}:one.test": [] for number in range(5000)}}),
        (CLAIM, {"one_time_keys": {f"@u{number}:one.test": {"DEV": "x"} for number in range(2500)}}),
        (CLAIM, {"one_time_keys": {"@u:one.test": {f"DEV{number}": "x" for number in range(5000)}}}),
    ],
)
async def test_advisory_25_others_get_their_turn_while_thousands_are_asked_about(
    eve: Eve, target: str, body: Any
) -> None:
    """However many users or devices a server names."""
    asking = asyncio.ensure_future(eve.peer.post("one.test", target, body))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    assert not any(asking.result().values())
    quick = asyncio.ensure_future(eve.peer.post("one.test", target, {name: {} for name in body}))
    least = 0
    while not quick.done():
        await asyncio.sleep(0)
        least += 1
    assert turns - least >= 4
