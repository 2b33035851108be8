"""Typing notices."""

from __future__ import annotations

from typing import Any

from tests.support.homeserver import Homeserver
from tests.support.people import people


def typing_in(answer: dict[str, Any], room_id: str) -> list[str] | None:
    """Return who types in a room according to a /sync answer, or `None` if it says nothing."""
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    events = room.get("ephemeral", {}).get("events", [])
    return next((event["content"]["user_ids"] for event in events if event["type"] == "m.typing"), None)


async def test_notice_reaches_others_and_ends_in_time(hs: Homeserver) -> None:
    """A start wakes a waiting /sync, and so does the end by itself."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first = (await bob.sync())["next_batch"]
    first = (await bob.sync(first))["next_batch"]
    waiting = bob.start(bob.sync(first, timeout_ms=30_000))
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": True, "timeout": 20_000})
    started = await waiting
    while typing_in(started, room_id) is None:  # presence may come first
        started = await bob.sync(started["next_batch"], timeout_ms=30_000)
    assert typing_in(started, room_id) == [alice.user_id]
    await hs.clock.advance(21)
    ended = await bob.sync(started["next_batch"])
    assert typing_in(ended, room_id) == []


async def test_stop_and_leave_end_a_notice(hs: Homeserver) -> None:
    """Somebody who stops or leaves types no longer."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    path = f"/rooms/{room_id}/typing/{bob.user_id}"

    async def is_typing() -> bool:
        return bool(typing_in(await alice.sync(), room_id))

    await bob.put(path, {"typing": True, "timeout": 20_000})
    assert await is_typing()
    await bob.put(path, {"typing": False})
    assert not await is_typing()
    await bob.put(path, {"typing": True, "timeout": 20_000})
    await bob.leave(room_id)
    assert not await is_typing()


async def test_strangers_and_others_are_refused(hs: Homeserver) -> None:
    """One types for oneself, in one's own rooms."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    body = {"typing": True, "timeout": 1000}
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", body, expect="M_FORBIDDEN")
    await bob.put(f"/rooms/{room_id}/typing/{alice.user_id}", body, expect="M_FORBIDDEN")
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": "yes"}, expect="M_BAD_JSON")
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {}, expect="M_MISSING_PARAM")


async def test_initial_sync_tells_that_typing_is_over(hs: Homeserver) -> None:
    """A client that starts over may still show the notice; of a room where nobody has typed nothing is said."""
    (alice,) = await people(hs, "alice")
    room_id, quiet = await alice.create_room(), await alice.create_room()
    path = f"/rooms/{room_id}/typing/{alice.user_id}"
    await alice.put(path, {"typing": True, "timeout": 30_000})
    await alice.put(path, {"typing": False})
    rooms = (await alice.sync())["rooms"]["join"]
    assert rooms[room_id]["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": []}}]
    assert not rooms[quiet].get("ephemeral", {}).get("events")
