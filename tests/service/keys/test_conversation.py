"""An encrypted conversation between users of two servers, as far as servers see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from conduit.protocol.ids import UserId
from tests.service.keys.remote import changed, devices_of, query, since
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.client import User
from tests.support.federation import network

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """Return what `look` finds as soon as it finds something. What goes from server to server takes some turns of the loop."""
    async with asyncio.timeout(10):
        while not (found := await look()):  # noqa: ASYNC110 (many events may lead to it)
            await asyncio.sleep(0)
        return found


async def upload(user: User, seed: int = 1) -> None:
    """Give a user's device identity keys and a one-time key."""
    keys = {"signed_curve25519:1": {"key": f"once {seed}", "signatures": {}}}
    own = device_keys(UserId(user.user_id), user.device_id, seed)
    await user.post("/keys/upload", {"device_keys": own, "one_time_keys": keys})


async def messages_of(user: User) -> list[Any]:
    """Return the to-device messages that wait for a user's device."""
    found: list[Any] = (await user.get("/sync")).get("to_device", {}).get("events", [])
    return found


async def test_encrypted_conversation_between_two_servers() -> None:
    """Devices are found, keys claimed, messages exchanged; new, renamed and deleted devices are noticed, whichever server was away."""
    async with network("one.test", "two.test") as net:
        alice, bob = await net["one.test"].register("alice"), await net["two.test"].register("bob")
        await upload(alice, 1)
        await upload(bob, 2)
        room = await alice.create_room(preset="public_chat")
        token = await since(alice)
        await bob.post(f"/join/{room}?via=one.test", {})
        # Bob comes into sight, and each finds the other's device.
        assert await until(lambda: changed(alice, token)) == [bob.user_id]
        assert list(await devices_of(alice, bob.user_id)) == [bob.device_id]
        assert list(await devices_of(bob, alice.user_id)) == [alice.device_id]
        # Alice sets up a session with Bob's device by its only one-time key.
        wanted = {"one_time_keys": {bob.user_id: {bob.device_id: "signed_curve25519"}}}
        claimed = await alice.post("/keys/claim", wanted)
        once = {"signed_curve25519:1": {"key": "once 2", "signatures": {}}}
        assert claimed["one_time_keys"] == {bob.user_id: {bob.device_id: once}}
        assert (await alice.post("/keys/claim", wanted))["one_time_keys"] == {}
        sent = [{"ciphertext": f"number {n}"} for n in range(5)]
        for content in sent:
            path = f"/sendToDevice/m.room.encrypted/{alice.next_txn()}"
            await alice.put(path, {"messages": {bob.user_id: {bob.device_id: content}}})
        found = await until(lambda: _all_of(bob, len(sent)))
        assert [message["content"] for message in found] == sent
        assert {message["sender"] for message in found} == {alice.user_id}
        # Bob logs in anew, names that device, and deletes it; Alice hears of each.
        for step in (_log_in, _rename, _log_out):
            token = await since(alice)
            await step(bob)
            assert await until(lambda before=token: changed(alice, before)) == [bob.user_id]  # type: ignore[misc]
            expected = 1 if step is _log_out else 2
            await until(lambda count=expected: _shows(alice, bob, count))  # type: ignore[misc]
        # Cross-signing keys come along, too.
        token = await since(alice)
        signer = CrossSigner(UserId(bob.user_id), 60)
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "bob"},
            "password": bob.password,
        }
        await bob.post("/keys/device_signing/upload", {**signer.body(), "auth": auth})
        assert await until(lambda: changed(alice, token)) == [bob.user_id]
        answer = await query(alice, bob.user_id)
        assert answer["master_keys"][bob.user_id] == signer.key("master")
        assert answer["self_signing_keys"][bob.user_id] == signer.key("self_signing")
        # All of that took one fetch of each list.
        fetched = [incoming for incoming in net.board.requests if "/user/devices/" in incoming.target]
        assert len([incoming for incoming in fetched if incoming.origin == "one.test"]) == 1


async def _shows(user: User, other: User, count: int) -> bool:
    return len(await devices_of(user, other.user_id)) == count


async def _all_of(user: User, count: int) -> list[Any]:
    found = await messages_of(user)
    return found if len(found) >= count else []


async def _log_in(bob: User) -> None:
    await upload(await bob.server.login("bob", device_id="SECOND"), 9)


async def _rename(bob: User) -> None:
    await bob.put("/devices/SECOND", {"display_name": "Second"})


async def _log_out(bob: User) -> None:
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}, "password": bob.password}
    await bob.delete("/devices/SECOND", {"auth": auth})
