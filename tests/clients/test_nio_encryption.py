"""matrix-nio chats in encrypted rooms: devices verified by emoji, keys claimed and shared, the server sees only what it may."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nio
import pytest
from nio.crypto import OlmDevice, attachments

from tests.clients.person import Person, good, meet
from tests.support.process import ServerProcess

Pair = tuple[Person, Person]
ENCRYPTED = [nio.EnableEncryptionBuilder().as_dict()]


@pytest.fixture
async def pair(server: ServerProcess, named: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice and Bob, with keys uploaded."""
    async with (
        Person.new(server.url, named("alice"), store(tmp_path, "alice")) as alice,
        Person.new(server.url, named("bob"), store(tmp_path, "bob")) as bob,
    ):
        for person in (alice, bob):
            await person.until(lambda person=person: person.olm_account_shared, "the keys to be uploaded")
        yield alice, bob


def store(directory: Path, name: str) -> Path:
    """Return a new folder for somebody's keys."""
    path = directory / name
    path.mkdir()
    return path


async def device(person: Person, other: Person, is_there: bool = True) -> OlmDevice:
    """Return the other's device as the person knows it, once it is known (or once it is known to be gone)."""

    def found() -> OlmDevice | None:
        devices = {device.id: device for device in person.device_store.active_user_devices(other.user_id)}
        known = devices.get(other.device_id)
        return known if is_there else None if known else next(iter(devices.values()))

    return await person.until(found, f"device {other.device_id} to be {'known' if is_there else 'gone'}")


async def trust(*people: Person) -> None:
    """Let everybody take everybody else's devices for genuine."""
    for person in people:
        for other in people:
            if other is not person:
                person.verify_device(await device(person, other))


def auth(person: Person) -> dict[str, str]:
    """Return the headers of a request that nio has no method for."""
    return {"Authorization": f"Bearer {person.access_token}"}


async def step(person: Person, kind: type[nio.ToDeviceEvent]) -> nio.ToDeviceEvent:
    """Return the to-device message of that kind, once it is there."""
    return await person.until(
        lambda: next((event for event in person.to_device_events if isinstance(event, kind)), None), kind.__name__
    )


async def compare_emoji(alice: Person, bob: Person) -> None:
    """Verify each other's device, as people do who sit side by side. Source: "Short Authentication String (SAS) verification"."""
    good(await alice.start_key_verification(await device(alice, bob)))
    transaction = (await step(bob, nio.KeyVerificationStart)).transaction_id
    good(await bob.accept_key_verification(transaction))
    await step(alice, nio.KeyVerificationAccept)
    await step(bob, nio.KeyVerificationKey)
    await step(alice, nio.KeyVerificationKey)
    assert alice.key_verifications[transaction].get_emoji() == bob.key_verifications[transaction].get_emoji()
    for person in (alice, bob):
        good(await person.confirm_short_auth_string(transaction))
    for person in (alice, bob):
        await step(person, nio.KeyVerificationMac)
        await person.until(lambda person=person: person.key_verifications[transaction].verified, "the verification")


async def test_messages_are_read_by_those_they_are_for(pair: Pair) -> None:
    """After a verification by emoji; text, edit and reply both ways. The server has nothing but ciphertext."""
    alice, bob = pair
    room_id = await meet(alice, bob, initial_state=ENCRYPTED)
    await device(bob, alice)
    await compare_emoji(alice, bob)
    assert (await device(alice, bob)).verified
    assert (await device(bob, alice)).verified

    sent = await alice.say(room_id, "the key is under the mat")
    message = await bob.event(room_id, sent)
    assert isinstance(message, nio.RoomMessageText)
    assert (message.body, message.decrypted, message.verified) == ("the key is under the mat", True, True)
    answer = await alice.event(room_id, await bob.say(room_id, "found it"))
    assert (answer.body, answer.decrypted, answer.verified) == ("found it", True, True)

    stored = await (await bob.send("GET", f"/_matrix/client/v3/rooms/{room_id}/event/{sent}", headers=auth(bob))).json()
    assert stored["type"] == "m.room.encrypted"
    assert stored["content"]["algorithm"] == "m.megolm.v1.aes-sha2"
    assert "under the mat" not in str(stored)
    page = good(await bob.room_messages(room_id, limit=10))
    bodies = [event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)]
    assert bodies == ["found it", "the key is under the mat"]


async def test_files_are_read_by_those_they_are_for(pair: Pair) -> None:
    """What is uploaded is ciphertext; its key is in the message."""
    alice, bob = pair
    room_id = await meet(alice, bob, initial_state=ENCRYPTED)
    await trust(alice, bob)
    data = bytes(range(256)) * 500
    sent, keys = await alice.upload(io.BytesIO(data), filename="plan.pdf", encrypt=True, filesize=len(data))
    assert keys is not None
    file = {"url": good(sent).content_uri, **keys}
    message = await bob.event(
        room_id, await alice.put(room_id, {"msgtype": "m.file", "body": "plan.pdf", "file": file})
    )
    assert isinstance(message, nio.RoomEncryptedFile)
    got = good(await bob.download(message.url))
    assert got.body != data
    key, digest, iv = message.key["k"], message.hashes["sha256"], message.iv
    assert attachments.decrypt_attachment(got.body, key, digest, iv) == data


async def test_claimed_keys_are_replaced(pair: Pair) -> None:
    """A session takes one of the other's one-time keys; its owner is told how many are left and uploads new ones."""
    alice, bob = pair
    room_id = await meet(alice, bob, initial_state=ENCRYPTED)
    await trust(alice, bob)
    (first,) = bob.answers_of(nio.KeysUploadResponse)
    counts: list[int | None] = []

    async def count(response: nio.SyncResponse) -> None:
        counts.append(response.device_key_count.signed_curve25519)

    bob.add_response_callback(count, nio.SyncResponse)
    await bob.event(room_id, await alice.say(room_id, "hello"))
    (claim,) = alice.answers_of(nio.KeysClaimResponse)
    assert list(claim.one_time_keys) == [bob.user_id]
    (key_id,) = claim.one_time_keys[bob.user_id][bob.device_id]
    assert key_id.startswith("signed_curve25519:")
    await bob.until(lambda: len(bob.answers_of(nio.KeysUploadResponse)) == 2, "new keys to be uploaded")
    assert first.signed_curve25519_count - 1 in counts
    assert bob.answers_of(nio.KeysUploadResponse)[1].signed_curve25519_count == first.signed_curve25519_count


async def test_new_device_is_noticed_and_given_the_keys(pair: Pair, tmp_path: Path) -> None:
    """Nothing is sent before it is trusted; then it reads along. When it is logged out the others forget it."""
    alice, bob = pair
    room_id = await meet(alice, bob, initial_state=ENCRYPTED)
    await trust(alice, bob)
    await bob.event(room_id, await alice.say(room_id, "for one device"))
    async with Person.login_again(bob.homeserver, bob.user, "phone", store(tmp_path, "phone")) as phone:
        await device(alice, phone)
        with pytest.raises(nio.OlmUnverifiedDeviceError):
            await alice.say(room_id, "too early")
        await trust(alice, phone)
        await trust(bob, phone)
        sent = await alice.say(room_id, "for both devices")
        for reader in (bob, phone):
            message = await reader.event(room_id, sent)
            assert (message.body, message.verified) == ("for both devices", True)
        await phone.rest()
        good(await phone.logout())
    await device(alice, phone, is_there=False)
    assert (await bob.event(room_id, await alice.say(room_id, "for one again"))).verified


async def test_room_becomes_encrypted(pair: Pair) -> None:
    """From then on messages are; who leaves is given no more keys."""
    alice, bob = pair
    room_id = await meet(alice, bob)
    plain = await bob.event(room_id, await alice.say(room_id, "in the open"))
    assert not plain.decrypted
    good(await alice.room_put_state(room_id, "m.room.encryption", ENCRYPTED[0]["content"]))
    for person in (alice, bob):
        await person.until(lambda person=person: person.rooms[room_id].encrypted, "the encryption")
    await trust(alice, bob)
    assert (await bob.event(room_id, await alice.say(room_id, "in private"))).decrypted

    assert alice.olm is not None
    shared = alice.olm.outbound_group_sessions[room_id].id
    good(await bob.room_leave(room_id))
    await alice.member(room_id, bob.user_id, is_there=False)
    await alice.say(room_id, "alone")
    session = alice.olm.outbound_group_sessions[room_id]
    assert session.id != shared
    assert bob.user_id not in {user for user, _ in session.users_shared_with}
