"""Device lists for other servers."""

from __future__ import annotations

from conduit.protocol.ids import UserId
from conduit.service.keys import device_updates
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.federation import network

PATH = "/_matrix/federation/v1/user/devices/"


async def test_devices_with_keys_are_listed() -> None:
    """With names, cross-signing keys and the stream id that the next update follows."""
    async with network("one.test") as net:
        hs, peer = net["one.test"], net.peer("peer.test")
        alice = await hs.register("alice", initial_device_display_name="Phone")
        await hs.login("alice")
        user_id = UserId(alice.user_id)
        keys = device_keys(user_id, alice.device_id)
        await alice.post("/keys/upload", {"device_keys": keys})
        stream_id = device_updates.stream_id(hs.ctx.db, user_id)
        answer = await peer.get("one.test", PATH + user_id)
        listed = {"device_id": alice.device_id, "keys": keys, "device_display_name": "Phone"}
        assert answer == {"user_id": user_id, "stream_id": stream_id, "devices": [listed]}
        signer = CrossSigner(user_id, 50)
        identifier = {"type": "m.id.user", "user": "alice"}
        auth = {"type": "m.login.password", "identifier": identifier, "password": alice.password}
        await alice.post("/keys/device_signing/upload", {**signer.body(), "auth": auth})
        answer = await peer.get("one.test", PATH + user_id)
        assert answer["master_key"] == signer.key("master")
        assert answer["self_signing_key"] == signer.key("self_signing")


async def test_unknown_and_remote_users_are_not_found() -> None:
    """A user without devices is."""
    async with network("one.test") as net:
        peer = net.peer("peer.test")
        alice = await net["one.test"].register("alice")
        await peer.get("one.test", PATH + "@nobody:one.test", "M_NOT_FOUND")
        await peer.get("one.test", PATH + "@eve:peer.test", "M_NOT_FOUND")
        await peer.get("one.test", PATH + "nonsense", "M_INVALID_PARAM")
        assert (await peer.get("one.test", PATH + alice.user_id))["devices"] == []
