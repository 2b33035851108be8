"""/sync: what comes beside timelines and state: receipts, typing, account data, messages to devices, device lists, presence."""

from __future__ import annotations

from typing import Any

from tests.support.client import segment
from tests.support.homeserver import Homeserver, serve

Json = dict[str, Any]


def joined(body: Json, room_id: str) -> Json:
    """Return the section of a joined room."""
    section: Json = body["rooms"]["join"][room_id]
    return section


def timeline(body: Json, room_id: str) -> list[str]:
    """Return what happened in a room, in short: the bodies of messages and the types of other events."""
    events = joined(body, room_id)["timeline"]["events"]
    return [event["content"].get("body", event["type"]) for event in events]


def state_keys(section: Json, name: str = "state") -> set[tuple[str, str]]:
    """Return the state keys of a state section."""
    return {(event["type"], event["state_key"]) for event in section.get(name, {}).get("events", [])}


async def test_receipts_and_unread_counts_come_with_their_room(hs: Homeserver) -> None:
    """A message counts as unread, a receipt clears that, and both tell the other people's devices what they should."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    mine, his = (await alice.sync())["next_batch"], (await bob.sync())["next_batch"]
    event_id = await alice.send(room, "hello")
    body = await bob.sync(his)
    assert joined(body, room)["unread_notifications"]["notification_count"] == 1
    await bob.post(f"/rooms/{segment(room)}/receipt/m.read/{segment(event_id)}")
    section = joined(await bob.sync(body["next_batch"]), room)
    assert section["unread_notifications"]["notification_count"] == 0
    assert bob.user_id in section["ephemeral"]["events"][0]["content"][event_id]["m.read"]
    receipts = joined(await alice.sync(mine), room)["ephemeral"]["events"]
    assert bob.user_id in receipts[0]["content"][event_id]["m.read"]


async def test_private_receipt_is_for_the_reader_alone(hs: Homeserver) -> None:
    """A private receipt comes to the reader's own devices and to nobody else."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    event_id = await alice.send(room, "hello")
    mine, his = (await alice.sync())["next_batch"], (await bob.sync())["next_batch"]
    await bob.post(f"/rooms/{segment(room)}/receipt/m.read.private/{segment(event_id)}")
    assert event_id in joined(await bob.sync(his), room)["ephemeral"]["events"][0]["content"]
    assert "rooms" not in await alice.sync(mine)


async def test_typing_comes_and_goes(hs: Homeserver) -> None:
    """Typing notices come as ephemeral events, also the one that says nobody types any more."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    path = f"/rooms/{segment(room)}/typing/{segment(alice.user_id)}"
    await alice.put(path, {"typing": True, "timeout": 10_000})
    body = await bob.sync(since)
    assert joined(body, room)["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": [alice.user_id]}}]
    await alice.put(path, {"typing": False})
    assert joined(await bob.sync(body["next_batch"]), room)["ephemeral"]["events"][0]["content"] == {"user_ids": []}


async def test_account_data_comes_globally_and_for_rooms(hs: Homeserver) -> None:
    """Account data is in the initial sync, and in the incremental one what was set since."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    base = f"/user/{segment(alice.user_id)}"
    await alice.put(f"{base}/account_data/org.example.global", {"n": 1})
    await alice.put(f"{base}/rooms/{segment(room)}/account_data/org.example.room", {"n": 1})
    body = await alice.sync()
    assert {"type": "org.example.global", "content": {"n": 1}} in body["account_data"]["events"]
    assert joined(body, room)["account_data"]["events"] == [{"type": "org.example.room", "content": {"n": 1}}]
    await alice.put(f"{base}/rooms/{segment(room)}/tags/u.work", {"order": 0.5})
    body = await alice.sync(body["next_batch"])
    assert "account_data" not in body
    tag = {"type": "m.tag", "content": {"tags": {"u.work": {"order": 0.5}}}}
    assert joined(body, room)["account_data"]["events"] == [tag]


async def test_to_device_messages_stay_until_acknowledged(hs: Homeserver) -> None:
    """A message comes again for a repeated token, and is gone once the device has come back with the next one."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    since = (await bob.sync())["next_batch"]
    path = "/sendToDevice/org.example.ping/1"
    await alice.put(path, {"messages": {bob.user_id: {bob.device_id: {"n": 1}}}})
    expected = [{"type": "org.example.ping", "sender": alice.user_id, "content": {"n": 1}}]
    first = await bob.sync(since)
    assert first["to_device"]["events"] == expected
    assert (await bob.sync(since))["to_device"]["events"] == expected
    assert "to_device" not in await bob.sync(first["next_batch"])
    assert "to_device" not in await bob.sync()


async def test_to_device_queue_longer_than_one_answer_comes_in_order(hs: Homeserver) -> None:
    """More messages than fit into one answer come in the next ones at once; none is lost or repeated."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    since = (await bob.sync())["next_batch"]
    for n in range(130):
        await alice.put(f"/sendToDevice/org.example.ping/{n}", {"messages": {bob.user_id: {"*": {"n": n}}}})
    first = await bob.sync(since, timeout_ms=5000)
    second = await bob.sync(first["next_batch"], timeout_ms=5000)
    numbers = [event["content"]["n"] for body in (first, second) for event in body["to_device"]["events"]]
    assert numbers == list(range(130))
    assert "to_device" not in await bob.sync(second["next_batch"])


async def test_device_lists_tell_who_came_changed_and_left(hs: Homeserver) -> None:
    """A newcomer is changed, a new device is changed, and who shares no room any more has left."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    since = (await alice.sync())["next_batch"]
    await bob.join(room)
    body = await alice.sync(since)
    assert body["device_lists"]["changed"] == [bob.user_id]
    keys = {
        "user_id": bob.user_id,
        "device_id": bob.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{bob.device_id}": "x" * 43},
        "signatures": {},
    }
    await bob.post("/keys/upload", {"device_keys": keys})
    body = await alice.sync(body["next_batch"])
    assert body["device_lists"] == {"changed": [bob.user_id]}
    await bob.leave(room)
    body = await alice.sync(body["next_batch"])
    assert body["device_lists"] == {"left": [bob.user_id]}


async def test_presence_of_people_met_by_a_join_comes_with_it(hs: Homeserver) -> None:
    """Joining a room brings the presence of those in it; strangers' presence does not come."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    stranger = await hs.register("stranger")
    room = await alice.create_room(preset="public_chat")
    await alice.sync()
    await stranger.sync()
    since = (await bob.sync())["next_batch"]
    await bob.join(room)
    body = await bob.sync(since)
    senders = {event["sender"] for event in body["presence"]["events"]}
    assert alice.user_id in senders
    assert stranger.user_id not in senders


async def test_set_presence_offline_does_not_mark_online(hs: Homeserver) -> None:
    """A sync that says offline leaves the presence as it is; an unknown word is refused."""
    alice = await hs.register("alice")
    body = await alice.sync(set_presence="offline")
    assert "presence" not in body
    await alice.get("/sync", "M_INVALID_PARAM", params={"set_presence": "dancing"})


async def test_typing_from_before_a_restart_is_cleared(tmp_path: Any, clock: Any) -> None:
    """A client that comes with a token of the former process is told that nobody types."""
    async with serve(engine="lmdb", directory=tmp_path, clock=clock) as hs:
        alice, bob = await hs.register("alice"), await hs.register("bob")
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        await alice.put(f"/rooms/{segment(room)}/typing/{segment(alice.user_id)}", {"typing": True, "timeout": 30_000})
        since = (await bob.sync())["next_batch"]
        await hs.restart()
        body = await bob.sync(since, timeout_ms=1000)
        assert joined(body, room)["ephemeral"]["events"][0]["content"] == {"user_ids": []}
        again = await bob.sync(body["next_batch"])
        assert "rooms" not in again
