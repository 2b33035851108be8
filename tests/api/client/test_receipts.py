"""Receipts and read markers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people


def receipts_in(answer: dict[str, Any], room_id: str) -> dict[str, Any]:
    """Return the receipts of a room in a /sync answer."""
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    events = room.get("ephemeral", {}).get("events", [])
    return next((event["content"] for event in events if event["type"] == "m.receipt"), {})


async def test_receipts_are_seen_by_others_unless_private(hs: Homeserver) -> None:
    """A public receipt reaches everybody, a private one only its user's own devices."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first, second = [await alice.send(room_id, text) for text in ("one", "two")]
    since = (await alice.sync())["next_batch"]
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{first}", {})
    await bob.post(f"/rooms/{room_id}/receipt/m.read.private/{second}", {})
    seen = receipts_in(await alice.sync(since), room_id)
    assert list(seen) == [first]
    assert list(seen[first]["m.read"]) == [bob.user_id]
    assert set(seen[first]["m.read"][bob.user_id]) == {"ts"}
    own = receipts_in(await bob.sync(), room_id)
    assert set(own) == {first, second}
    assert list(own[second]) == ["m.read.private"]


async def test_newer_receipt_replaces_the_older(hs: Homeserver) -> None:
    """There is one public receipt a user; an older event does not move it back."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first, second = [await alice.send(room_id, text) for text in ("one", "two")]
    for event_id in (first, second, first):
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}", {})
    assert list(receipts_in(await alice.sync(), room_id)) == [second]


async def test_threaded_receipts_carry_their_thread(hs: Homeserver) -> None:
    """The thread stands in the receipt, and it must be the event's own."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    root = await alice.send(room_id, "root")
    reply = {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    event_id = await alice.send(room_id, reply)
    other = await alice.send(room_id, "elsewhere")
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}", {"thread_id": root})
    assert receipts_in(await alice.sync(), room_id)[event_id]["m.read"][bob.user_id]["thread_id"] == root
    for event, thread in ((other, root), (event_id, "main"), (event_id, ""), (event_id, 3)):
        await bob.post(f"/rooms/{room_id}/receipt/m.read/{event}", {"thread_id": thread}, expect="M_INVALID_PARAM")
    body = {"thread_id": root}
    await bob.post(f"/rooms/{room_id}/receipt/m.fully_read/{event_id}", body, expect="M_INVALID_PARAM")


async def test_read_markers_set_all_together(hs: Homeserver) -> None:
    """The fully-read marker is account data of the room, the receipts are receipts."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.send(room_id)
    await bob.post(f"/rooms/{room_id}/read_markers", {"m.fully_read": event_id, "m.read": event_id})
    answer = await bob.sync()
    assert list(receipts_in(answer, room_id)) == [event_id]
    events = answer["rooms"]["join"][room_id]["account_data"]["events"]
    assert {"type": "m.fully_read", "content": {"event_id": event_id}} in events
    await bob.post(f"/rooms/{room_id}/receipt/m.fully_read/{event_id}", {})


@pytest.mark.parametrize("kind", ["m.read", "m.fully_read", "m.nonsense"])
async def test_receipts_for_what_one_may_not_or_cannot_read_are_refused(hs: Homeserver, kind: str) -> None:
    """Strangers, unknown events, events of other rooms and unknown types."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    other = await alice.create_room()
    event_id = await alice.send(room_id)
    path = f"/rooms/{room_id}/receipt/{kind}"
    if kind == "m.nonsense":
        await alice.post(f"{path}/{event_id}", {}, expect="M_INVALID_PARAM")
        return
    await bob.post(f"{path}/{event_id}", {}, expect="M_FORBIDDEN")
    await alice.post(f"/rooms/{other}/receipt/{kind}/{event_id}", {}, expect="M_NOT_FOUND")
    await alice.post(f"{path}/$unknown:localhost", {}, expect="M_NOT_FOUND")
    await alice.post(f"{path}/nonsense", {}, expect="M_INVALID_PARAM")
