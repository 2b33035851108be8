"""Telling other servers of local users' devices."""

from __future__ import annotations

from typing import Any

import orjson

from conduit.database import trees
from conduit.protocol.ids import DeviceId, EventId, RoomId, ServerName, UserId
from conduit.service.actions import change_devices
from conduit.service.keys import cross_signing, device_keys, device_lists, device_updates
from conduit.service.rooms import members, partial
from conduit.service.sending import queue
from conduit.service.users import devices
from tests.service.keys import signers
from tests.support.rooms import ALICE, BOB, World

FAR = ServerName("far.test")


def far_member(world: World, room_id: RoomId, server: str = FAR) -> None:
    """Let a user of another server be in the room."""
    with world.db.batch() as batch:
        user_id = UserId(f"@x:{server}")
        members.record(batch, room_id, user_id, "join", count=batch.next_count(), event=1)


def upload(world: World, user_id: UserId, device_id: str, seed: int = 1) -> None:
    """Let a user have a device with keys."""
    with world.db.batch() as batch:
        devices.create(batch, user_id, device_id, display_name="Phone")
        device_keys.upload(batch, user_id, DeviceId(device_id), signers.device_keys(user_id, device_id, seed))


async def told(world: World, server: str = FAR) -> list[dict[str, Any]]:
    """Return the EDUs that are queued for a server now, and take them out."""
    await device_updates.tell_all(world.ctx)
    found = []
    with world.db.batch() as batch:
        for key, raw in list(trees.destination_queue.scan(batch, (server, queue.EDU))):
            found.append(orjson.loads(raw))
            trees.destination_queue.delete(batch, key)
    return found


async def test_each_change_of_a_device_is_told_in_a_chain() -> None:
    """Keys, name and deletion; every update names the one before."""
    world = World(allow_federation=True)
    room_id = world.create()
    far_member(world, room_id)
    upload(world, ALICE, "DEV")
    (first,) = await told(world)
    assert first["edu_type"] == "m.device_list_update"
    content = first["content"]
    assert content == {
        "user_id": ALICE,
        "device_id": "DEV",
        "stream_id": device_updates.stream_id(world.db, ALICE),
        "prev_id": [],
        "keys": signers.device_keys(ALICE, "DEV"),
        "device_display_name": "Phone",
    }
    change_devices.rename(world.ctx, ALICE, "DEV", "Tablet")
    change_devices.delete(world.ctx, ALICE, ["DEV", "UNKNOWN"])
    second, third = [edu["content"] for edu in await told(world)]
    assert second["prev_id"] == [content["stream_id"]]
    assert third["prev_id"] == [second["stream_id"]]
    assert third["deleted"] is True
    assert "keys" not in third
    assert list(trees.devicelist_outgoing.keys(world.db, ())) == []


async def test_chain_goes_on_while_nobody_is_told() -> None:
    """Who knew the list before sees that something was missed."""
    world = World(allow_federation=True)
    upload(world, ALICE, "DEV")
    unseen = device_updates.stream_id(world.db, ALICE)
    assert unseen
    assert await told(world) == []
    far_member(world, world.create())
    upload(world, ALICE, "DEV", seed=2)
    (edu,) = await told(world)
    assert edu["content"]["prev_id"] == [unseen]


async def test_only_servers_in_shared_rooms_are_told() -> None:
    """And each once, in however many rooms it is; none while federation is off or with a server that is denied."""
    world = World(allow_federation=True, federation_denied_servers=("denied.test",))
    for _ in range(2):
        room_id = world.create()
        far_member(world, room_id)
        far_member(world, room_id, "denied.test")
    far_member(world, world.create(BOB), "other.test")
    upload(world, ALICE, "DEV")
    assert len(await told(world)) == 1
    assert await told(world, "denied.test") == []
    assert await told(world, "other.test") == []
    alone = World()
    far_member(alone, alone.create())
    upload(alone, ALICE, "DEV")
    assert await told(alone) == []


async def test_cross_signing_keys_are_told_without_the_signatures_of_others() -> None:
    """The user-signing key stays here; a signature on a device is an update of that device."""
    world = World(allow_federation=True)
    far_member(world, world.create())
    upload(world, ALICE, "DEV")
    await told(world)
    signer = signers.CrossSigner(ALICE, 50)
    with world.db.batch() as batch:
        cross_signing.upload(batch, ALICE, cross_signing.parse(signer.body(), ALICE))
    (edu,) = await told(world)
    assert edu["edu_type"] == "m.signing_key_update"
    assert edu["content"] == {"user_id": ALICE, **signer.body("master", "self_signing")} | {
        "master_key": signer.key("master")
    }
    signed = signer.self_signing.sign_json(signers.device_keys(ALICE, "DEV"), ALICE)
    with world.db.batch() as batch:
        cross_signing.add_signatures(batch, ALICE, {ALICE: {"DEV": signed}}, is_local=lambda user: True)
    (edu,) = await told(world)
    assert edu["edu_type"] == "m.device_list_update"
    assert edu["content"]["keys"] == signed
    foreign = {**signer.key("master"), "signatures": {BOB: {"ed25519:x": "y"}}}
    assert device_updates.only_own_signatures(foreign, ALICE)["signatures"] == {}


async def test_servers_that_are_met_by_a_join_are_told_that_there_is_something_to_know() -> None:
    """With an update that names none before it, so that they fetch the list; servers that share another room are told nothing."""
    world = World(allow_federation=True)
    upload(world, ALICE, "DEV")
    known, room_id = world.create(), world.create(BOB)
    far_member(world, known)
    far_member(world, room_id)
    far_member(world, room_id, "new.test")
    await told(world)
    world.join(room_id, ALICE)
    assert await told(world) == []
    (edu,) = await told(world, "new.test")
    assert edu["content"]["device_id"] == "DEV"
    assert edu["content"]["prev_id"] == []
    assert edu["content"]["stream_id"] == device_updates.stream_id(world.db, ALICE)


async def test_servers_named_in_a_room_whose_members_are_still_to_come_are_told() -> None:
    """Their users are in it, only it is not known yet who they are."""
    world = World(allow_federation=True)
    room_id = world.create()
    with world.db.batch() as batch:
        named = partial.Partial(EventId("$join"), frozenset({FAR, ServerName("localhost")}), (FAR,))
        partial.begin(batch, room_id, named)
    upload(world, ALICE, "DEV")
    assert len(await told(world)) == 1


async def test_join_of_somebody_without_keys_is_not_worth_a_word() -> None:
    """Nor of somebody who has left again meanwhile."""
    world = World(allow_federation=True)
    room_id = world.create(BOB)
    far_member(world, room_id)
    world.join(room_id, ALICE)
    assert await told(world) == []
    world.leave(room_id, ALICE)
    upload(world, ALICE, "DEV")
    world.join(room_id, ALICE)
    world.leave(room_id, ALICE)
    assert await told(world) == []


async def test_remote_users_changes_are_not_passed_on() -> None:
    """Their own server does that."""
    world = World(allow_federation=True)
    far_member(world, world.create())
    with world.db.batch() as batch:
        device_lists.record_remote_change(batch, UserId("@x:far.test"), ServerName("localhost"))
    assert await told(world) == []
