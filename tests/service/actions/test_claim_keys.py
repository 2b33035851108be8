"""Claiming keys of several devices at once."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidParam
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.actions.claim_keys import claim_keys, parse
from conduit.service.keys import one_time_keys
from tests.support.federation import network
from tests.support.rooms import ALICE, BOB, context

FAR = UserId("@carol:away.example")


async def test_one_key_for_each_device_named() -> None:
    """Devices without a key are left out, and so are users without any; other servers are failures."""
    ctx = context()
    with ctx.db.batch() as batch:
        for user_id, device_id in ((ALICE, "A1"), (ALICE, "A2"), (BOB, "B1")):
            keys = {f"a:{n}": {"key": f"{device_id} {n}"} for n in range(2)}
            one_time_keys.upload(batch, user_id, DeviceId(device_id), keys)
    wanted = parse({ALICE: {"A1": "a", "A2": "a", "A3": "a"}, BOB: {"B1": "b"}, FAR: {"C": "a"}})
    answer = await claim_keys(ctx, wanted)
    assert answer["one_time_keys"] == {ALICE: {name: {"a:0": {"key": f"{name} 0"}} for name in ("A1", "A2")}}
    assert list(answer["failures"]) == ["away.example"]
    again = await claim_keys(ctx, parse({ALICE: {"A1": "a"}}))
    assert again == {"one_time_keys": {ALICE: {"A1": {"a:1": {"key": "A1 1"}}}}, "failures": {}}


@pytest.mark.parametrize(
    ("value", "error"),
    [({ALICE: []}, BadJson), ({ALICE: {"A": 1}}, BadJson), ({"alice": {}}, InvalidParam), ({"": {}}, InvalidParam)],
)
def test_malformed_wishes_are_refused(value: dict[str, Any], error: type[Exception]) -> None:
    """Before any key is handed out."""
    with pytest.raises(error):
        parse(value)


async def test_keys_of_other_servers_devices_are_claimed_there() -> None:
    """One request a server; what it adds, or has in the wrong shape, is dropped; who does not answer is a failure."""
    async with network("one.test") as net:
        alice, peer = await net["one.test"].register("alice"), net.peer("peer.test")
        key = {"key": "abc", "signatures": {}}
        told = {"@eve:peer.test": {"DEV": {"a:1": key}, "BAD": {"a:1": {"key": 5}}}, alice.user_id: {"X": {"a:1": key}}}
        peer.on("POST", "/_matrix/federation/v1/user/keys/claim", {"one_time_keys": told})
        wanted = {
            "@eve:peer.test": {"DEV": "a", "BAD": "a"},
            "@new:peer.test": {"DEV": "a"},
            "@far:away.test": {"DEV": "a"},
        }
        answer = await alice.post("/keys/claim", {"one_time_keys": wanted, "timeout": 1000})
        assert answer["one_time_keys"] == {"@eve:peer.test": {"DEV": {"a:1": key}}}
        assert list(answer["failures"]) == ["away.test"]
        (asked,) = [incoming.json() for incoming in peer.received]
        assert asked == {"one_time_keys": {user: wanted[user] for user in ("@eve:peer.test", "@new:peer.test")}}
