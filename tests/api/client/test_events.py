"""Tests of the deprecated event stream."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.homeserver import Homeserver
from tests.support.people import people


def _bodies(answer: dict[str, Any]) -> list[str]:
    return [event["content"]["body"] for event in answer["chunk"] if event["type"] == "m.room.message"]


def _find(answer: dict[str, Any], event_type: str, sender: str | None = None) -> dict[str, Any]:
    (event,) = [e for e in answer["chunk"] if e["type"] == event_type and sender in (None, e.get("sender"))]
    found: dict[str, Any] = event
    return found


async def test_events_come_after_the_token_and_wake_the_waiting(hs: Homeserver) -> None:
    """Events since the token come at once; without any the request waits for one."""
    alice, bob = await people(hs, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    start = (await bob.get("/initialSync"))["end"]
    for n in range(3):
        await alice.send(room, f"m{n}")
    body = await bob.get("/events", params={"from": start})
    assert body["start"] == start
    assert _bodies(body) == ["m0", "m1", "m2"]
    waiting = hs.start(bob.get("/events", params={"from": body["end"], "timeout": 20_000}))
    await alice.send(room, "woken")
    body = await asyncio.wait_for(waiting, 10)
    assert _bodies(body) == ["woken"]
    assert (await bob.get("/events", params={"from": body["end"]}))["chunk"] == []


async def test_bad_parameters_are_refused(hs: Homeserver) -> None:
    """Tokens and numbers must be such."""
    (bob,) = await people(hs, "bob")
    for name, value in (("from", "x"), ("timeout", "hello"), ("limit", "hello"), ("limit", "-2"), ("room_id", "x")):
        await bob.get("/events", "M_INVALID_PARAM", params={name: value})


async def test_pages_of_events_follow_each_other_without_gap(hs: Homeserver) -> None:
    """Whatever the limit and however many rooms, every event comes once and in order."""
    alice, bob = await people(hs, "alice", "bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in rooms:
        await bob.join(room)
    token = (await bob.get("/events"))["end"]
    for n in range(9):
        await alice.send(rooms[n % 2], f"m{n}")
    seen: list[str] = []
    for _ in range(3):
        body = await bob.get("/events", params={"from": token, "limit": 3})
        token = body["end"]
        assert len(_bodies(body)) == 3
        seen += _bodies(body)
    assert seen == [f"m{n}" for n in range(9)]
    assert (await bob.get("/events", params={"from": token}))["chunk"] == []


async def test_stream_has_what_is_in_no_timeline(hs: Homeserver) -> None:
    """Typing, receipts, presence and account data name their room or user, and come once."""
    alice, bob = await people(hs, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    sent = await alice.send(room, "hello")
    token = (await bob.get("/events"))["end"]
    await alice.put(f"/rooms/{room}/typing/{alice.user_id}", {"typing": True, "timeout": 10_000})
    await alice.post(f"/rooms/{room}/receipt/m.read/{sent}", {})
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "unavailable"})
    await bob.put(f"/user/{bob.user_id}/rooms/{room}/tags/u.work", {"order": 0.5})
    await bob.put(f"/user/{bob.user_id}/account_data/org.example.one", {"a": 1})
    body = await bob.get("/events", params={"from": token})
    assert _find(body, "m.typing") == {
        "type": "m.typing",
        "room_id": room,
        "content": {"user_ids": [alice.user_id]},
    }
    receipt = _find(body, "m.receipt")
    assert receipt["room_id"] == room
    assert list(receipt["content"][sent]["m.read"]) == [alice.user_id]
    presence = _find(body, "m.presence", alice.user_id)["content"]
    assert (presence["user_id"], presence["presence"]) == (alice.user_id, "unavailable")
    tags = _find(body, "m.tag")
    assert (tags["room_id"], list(tags["content"]["tags"])) == (room, ["u.work"])
    assert _find(body, "org.example.one") == {"type": "org.example.one", "content": {"a": 1}}
    assert (await bob.get("/events", params={"from": body["end"]}))["chunk"] == []


async def test_invites_and_removals_are_told(hs: Homeserver) -> None:
    """The own membership comes though the room is none of the user's; nothing else of it does."""
    alice, bob = await people(hs, "alice", "bob")
    room = await alice.create_room()
    token = (await bob.get("/events"))["end"]
    await alice.send(room, "secret")
    await alice.invite(room, bob)
    body = await bob.get("/events", params={"from": token})
    (event,) = [event for event in body["chunk"] if event.get("room_id") == room]
    assert (event["state_key"], event["content"]["membership"]) == (bob.user_id, "invite")
    await bob.join(room)
    await alice.post(f"/rooms/{room}/kick", {"user_id": bob.user_id})
    await alice.send(room, "gone")
    body = await bob.get("/events", params={"from": body["end"]})
    memberships = [e["content"]["membership"] for e in body["chunk"] if e.get("state_key") == bob.user_id]
    assert memberships == ["join", "leave"]
    assert _bodies(body) == []


async def test_preview_shows_an_open_room_to_strangers(hs: Homeserver) -> None:
    """Events, receipts and presence of a world-readable room; of any other room nothing at all."""
    alice, bob, eve = await people(hs, "alice", "bob", "eve")
    room = await alice.create_room(preset="public_chat")
    await eve.get("/events", "M_FORBIDDEN", params={"room_id": room})
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    token = (await eve.get("/events", params={"room_id": room}))["end"]
    waiting = hs.start(eve.get("/events", params={"room_id": room, "from": token, "timeout": 20_000}))
    await bob.put(f"/presence/{bob.user_id}/status", {"presence": "unavailable"})
    sent = await alice.send(room, "shown")
    assert _bodies(await asyncio.wait_for(waiting, 10)) == ["shown"]
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "unavailable"})
    await alice.post(f"/rooms/{room}/receipt/m.read/{sent}", {})
    body = await eve.get("/events", params={"room_id": room, "from": token})
    assert [e["sender"] for e in body["chunk"] if e["type"] == "m.presence"] == [alice.user_id]
    assert _find(body, "m.receipt")["room_id"] == room


async def test_who_has_left_sees_the_past_of_a_room_only(hs: Homeserver) -> None:
    """What was sent afterwards, and what goes on there now, is not told."""
    alice, bob = await people(hs, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    token = (await bob.get("/events"))["end"]
    await alice.send(room, "before")
    await bob.leave(room)
    sent = await alice.send(room, "after")
    await alice.post(f"/rooms/{room}/receipt/m.read/{sent}", {})
    body = await bob.get("/events", params={"room_id": room, "from": token})
    assert _bodies(body) == ["before"]
    assert {event["type"] for event in body["chunk"]} == {"m.room.message", "m.room.member"}
