"""Looking up keys here and on other servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit.protocol.ids import ServerName, UserId
from conduit.service.keys import remote_devices
from tests.service.keys.remote import EVE, PEER, QUERY, Eve, devices_of, query
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.federation import network

NEW = UserId("@new:peer.test")


@pytest.fixture
async def eve() -> Any:
    """One homeserver and a scripted one with a user."""
    async with network("one.test") as net:
        yield Eve(net)


def answered(*users: str, **more: Any) -> dict[str, Any]:
    """Return the answer of a server's own query endpoint."""
    return {"device_keys": {user: {"DEV": device_keys(UserId(user), "DEV")} for user in users}, **more}


async def test_advisory_13_user_who_shares_no_room_is_asked_for_and_not_kept(eve: Eve) -> None:
    """No updates of such a list would come; the copy made for others is not shown either."""
    alice, bob = await eve.hs.register("alice"), await eve.hs.register("bob")
    await eve.meet(bob)
    await devices_of(bob)
    eve.peer.on("POST", QUERY, {"device_keys": {EVE: {"NOW": device_keys(EVE, "NOW")}}})
    for _ in range(2):
        assert list(await devices_of(alice)) == ["NOW"]
    assert sum(incoming.path == QUERY for incoming in eve.peer.received) == 2
    assert list(await devices_of(bob)) == ["DEV"]


async def test_users_of_one_server_are_asked_for_in_one_request(eve: Eve) -> None:
    """With the devices that are wanted; what the server adds is dropped."""
    alice = await eve.hs.register("alice")
    signer = CrossSigner(NEW, 50)
    more = {"master_keys": {NEW: signer.key("master")}, "self_signing_keys": {NEW: signer.key("self_signing")}}
    eve.peer.on("POST", QUERY, answered(EVE, NEW, "@third:peer.test", "@x:other.test", **more))
    answer = await alice.post("/keys/query", {"device_keys": {EVE: ["DEV"], NEW: []}})
    assert sorted(answer["device_keys"]) == [EVE, NEW]
    assert answer["master_keys"] == {NEW: signer.key("master")}
    assert answer["self_signing_keys"] == {NEW: signer.key("self_signing")}
    (asked,) = [incoming.json() for incoming in eve.peer.received if incoming.path == QUERY]
    assert asked == {"device_keys": {EVE: ["DEV"], NEW: []}}


async def test_server_that_cannot_be_asked_is_a_failure_and_the_others_answer(eve: Eve) -> None:
    """Unreachable, slow or broken."""
    alice = await eve.hs.register("alice")
    eve.peer.on("POST", QUERY, answered(EVE))
    eve.net.peer("broken.test").on("POST", QUERY, (500, {"errcode": "M_UNKNOWN", "error": "Oh"}))
    users: dict[str, list[str]] = {EVE: [], "@x:away.test": [], "@x:broken.test": [], alice.user_id: []}
    answer = await alice.post("/keys/query", {"device_keys": users})
    assert sorted(answer["failures"]) == ["away.test", "broken.test"]
    assert answer["failures"]["away.test"]["status"] == 503
    assert sorted(answer["device_keys"]) == sorted([EVE, alice.user_id])


async def test_timeout_ends_the_waiting_and_not_the_fetch(eve: Eve) -> None:
    """What comes too late for one query is there for the next."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    gate = asyncio.Event()

    async def answer(incoming: Any) -> Any:
        await gate.wait()
        return eve.list()

    eve.answer = answer  # type: ignore[method-assign]
    first = await query(alice, timeout=0)
    assert list(first["failures"]) == [PEER]
    assert EVE not in first["device_keys"]
    gate.set()
    await eve.settled()
    assert list(await devices_of(alice)) == ["DEV"]
    assert eve.asked() == 1


async def test_server_without_device_lists_is_asked_the_other_way(eve: Eve) -> None:
    """Its answer is shown and not kept."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.answer = lambda incoming: (404, {"errcode": "M_UNRECOGNIZED", "error": "No"})  # type: ignore[method-assign]
    eve.peer.on("POST", QUERY, answered(EVE))
    answer = await query(alice)
    assert list(answer["device_keys"][EVE]) == ["DEV"]
    assert answer["failures"] == {}
    assert not remote_devices.is_known(eve.ctx.db, EVE)


async def test_refusal_is_a_failure_in_the_servers_own_words(eve: Eve) -> None:
    """Where neither way leads anywhere."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    refusal = (403, {"errcode": "M_FORBIDDEN", "error": "Go away"})
    eve.answer = lambda incoming: refusal  # type: ignore[method-assign]
    eve.peer.on("POST", QUERY, refusal)
    answer = await query(alice)
    assert answer["failures"] == {PEER: {"status": 403, "errcode": "M_FORBIDDEN", "message": "Go away"}}


async def test_advisory_12_keys_of_wrong_shapes_are_not_shown(eve: Eve) -> None:
    """Neither from a copy nor from a direct answer."""
    alice = await eve.hs.register("alice")
    bad = {"A": 5, "B": {"user_id": NEW}, "C": {"keys": {"x": 5}}, "D": {"algorithms": {}}, "x" * 300: {}, "": {}}
    eve.peer.on("POST", QUERY, {"device_keys": {EVE: bad}, "master_keys": 5, "self_signing_keys": {EVE: []}})
    assert await query(alice) == {"device_keys": {EVE: {}}, "failures": {}}
    await eve.meet(alice)
    eve.devices = bad
    assert await query(alice) == {"device_keys": {EVE: {}}, "failures": {}}
    assert remote_devices.is_current(eve.ctx.db, EVE, ServerName("one.test"))


async def test_only_devices_named_are_shown_of_a_copy(eve: Eve) -> None:
    """An empty list stands for all."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.devices["TWO"] = device_keys(EVE, "TWO")
    answer = await alice.post("/keys/query", {"device_keys": {EVE: ["TWO", "NONE"]}})
    assert list(answer["device_keys"][EVE]) == ["TWO"]
