"""What encrypted rooms need of two servers: device lists, keys, messages to devices."""

from __future__ import annotations

import itertools
from typing import Any

from conduit.protocol.signing import SigningKey
from tests.api.client.test_keys import CrossSigner, device_keys
from tests.support.client import segment
from tests.synapse.rooms import met
from tests.synapse.sides import Person, Side, eventually

_SEEDS = itertools.count(1)


async def publish(person: Person) -> dict[str, Any]:
    """Upload device keys, four one-time keys and a fallback key; return the device keys."""
    key = SigningKey(next(_SEEDS).to_bytes(32, "big"), person.device_id)
    signed = device_keys(person, key)
    one_time = {
        f"signed_curve25519:{name}": key.sign_json({"key": name * 43}, person.user_id) for name in ("A", "B", "C", "D")
    }
    fallback = {"signed_curve25519:F": key.sign_json({"key": "F" * 43, "fallback": True}, person.user_id)}
    await person.post("/keys/upload", {"device_keys": signed, "one_time_keys": one_time, "fallback_keys": fallback})
    return signed


async def query(person: Person, other: Person) -> dict[str, Any]:
    """Return the devices of somebody, with the fields that are signed."""
    answer = await person.post("/keys/query", {"device_keys": {other.user_id: []}})
    devices = answer["device_keys"].get(other.user_id, {})
    return {name: {k: v for k, v in device.items() if k != "unsigned"} for name, device in devices.items()}


async def cross_sign(person: Person) -> str:
    """Publish cross-signing keys; return the master key."""
    signer = CrossSigner(person, next(_SEEDS) % 250)
    answer = await person.raw("POST", "/keys/device_signing/upload", signer.body())
    if answer.status == 401:
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": person.user_id},
            "password": person.password,
            "session": answer.json()["session"],
        }
        await person.post("/keys/device_signing/upload", {**signer.body(), "auth": auth})
    return signer.master.public_key


async def test_keys_and_messages_to_devices(host: Side, guest: Side) -> None:
    """Devices are found and watched, keys claimed once each, messages delivered once each and in order."""
    room = await met(host, guest)
    await room.host.set_state(room.id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    for person, other in ((room.host, room.guest), (room.guest, room.host)):
        # As clients do: they ask once, and then again when they are told of a change.
        await person.look()
        await query(person, other)
        keys = await publish(other)
        await person.until(lambda: other.user_id in person.seen.changed_devices, "the new keys")  # noqa: B023

        async def known(person: Person = person, other: Person = other) -> Any:
            return (await query(person, other)).get(other.device_id)

        # A change may have been told of that was before the keys.
        await eventually(known, lambda device: device == keys, "the keys")  # noqa: B023

        wanted = {"one_time_keys": {other.user_id: {other.device_id: "signed_curve25519"}}}
        claimed = [await person.post("/keys/claim", wanted) for _ in range(5)]
        names = [next(iter(answer["one_time_keys"][other.user_id][other.device_id])) for answer in claimed]
        assert sorted(names) == [f"signed_curve25519:{name}" for name in "ABCDF"]

        for number in range(20):
            message = {"messages": {other.user_id: {other.device_id: {"number": number}}}}
            await person.put(f"/sendToDevice/org.example.test/{segment(person.next_txn())}", message)
        await other.until(lambda: len(other.seen.to_device) >= 20, "twenty messages")  # noqa: B023
        assert [event["content"]["number"] for event in other.seen.to_device] == list(range(20))
        assert {event["sender"] for event in other.seen.to_device} == {person.user_id}


async def test_device_lists(host: Side, guest: Side) -> None:
    """New devices, new cross-signing keys and deleted devices are told; so is who is no longer to be watched."""
    room = await met(host, guest)
    await room.host.set_state(room.id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    for person, other in ((room.host, room.guest), (room.guest, room.host)):
        await publish(other)
        await person.look()

        async def devices(person: Person = person, other: Person = other) -> set[str]:
            return set(await query(person, other))

        await eventually(devices, lambda found: found == {other.device_id}, "the first device")  # noqa: B023
        second = await other.side.log_in(other)
        person.seen.changed_devices.clear()
        await publish(second)
        await person.until(lambda: other.user_id in person.seen.changed_devices, "the second device")  # noqa: B023
        await eventually(devices, lambda found: second.device_id in found, "two devices")  # noqa: B023
        message = {"messages": {other.user_id: {"*": {"all": True}}}}
        await person.put(f"/sendToDevice/org.example.test/{segment(person.next_txn())}", message)
        for device in (other, second):
            await device.until(lambda: device.seen.to_device, "a message to all devices")  # noqa: B023

        person.seen.changed_devices.clear()
        cross = await cross_sign(other)
        await person.until(lambda: other.user_id in person.seen.changed_devices, "the cross-signing keys")  # noqa: B023

        async def master(person: Person = person, other: Person = other) -> Any:
            answer = await person.post("/keys/query", {"device_keys": {other.user_id: []}})
            return answer.get("master_keys", {}).get(other.user_id, {}).get("keys")

        await eventually(master, lambda keys: keys == {f"ed25519:{cross}": cross}, "the master key")  # noqa: B023

        person.seen.changed_devices.clear()
        await second.post("/logout")
        await person.until(lambda: other.user_id in person.seen.changed_devices, "the logout")  # noqa: B023
        await eventually(devices, lambda found: found == {other.device_id}, "one device")  # noqa: B023

    await room.guest.leave(room.id)
    await room.host.until(lambda: room.guest.user_id in room.host.seen.left_devices, "no more shared rooms")
    newcomer = await guest.register("newcomer")
    await publish(newcomer)
    await newcomer.join_via(room.id, host)
    await room.host.until(lambda: newcomer.user_id in room.host.seen.changed_devices, "the newcomer's devices")
    assert set(await query(room.host, newcomer)) == {newcomer.device_id}


async def test_encrypted_events_pass_as_they_are(host: Side, guest: Side) -> None:
    """What is encrypted reaches the other side unchanged."""
    room = await met(host, guest)
    await room.host.set_state(room.id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": "AwgAEnACgAkLmt6qF84IK++J7UDH2Za1YVchHyprqTqsg2yyOwAtHaZTwyNg37afzg8f3r9",
        "device_id": room.host.device_id,
        "sender_key": "IlRMeOPX2e0MurIyfWEucYBRVOEEUMrOHqn/8mLqMjA",
        "session_id": "X3lUlvLELLYxeTx4yOVu6UDpasGEVO0Jbu+QFnm0cKQ",
    }
    for person, other in ((room.host, room.guest), (room.guest, room.host)):
        event_id = await person.send(room.id, content, "m.room.encrypted")
        assert (await other.sees(room.id, event_id))["content"] == content
