"""Leaving and forgetting by their endpoints."""

from __future__ import annotations

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people


async def test_leave_gives_the_reason(hs: Homeserver) -> None:
    """The member event carries the reason, and no profile."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.post(f"/rooms/{room_id}/leave", {"reason": "Farewell"})
    assert await alice.state(room_id, "m.room.member", bob.user_id) == {"membership": "leave", "reason": "Farewell"}
    assert (await bob.get("/joined_rooms"))["joined_rooms"] == []


@pytest.mark.parametrize(
    ("room", "body", "errcode"),
    [
        ("{id}", {"reason": 5}, "M_BAD_JSON"),
        ("{id}", {"reason": "x" * 70_000}, "M_TOO_LARGE"),
        ("%23lobby:localhost", {}, "M_INVALID_PARAM"),
        ("!nowhere:localhost", {}, "M_FORBIDDEN"),
    ],
)
async def test_leave_of_nonsense_is_refused(hs: Homeserver, room: str, body: dict[str, object], errcode: str) -> None:
    """Bad bodies and unknown rooms change nothing."""
    (alice,) = await people(hs, "alice")
    room_id = await alice.create_room()
    await alice.post(f"/rooms/{room.format(id=room_id)}/leave", body, errcode)
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == [room_id]


async def test_forget_of_a_room_one_is_in_is_refused(hs: Homeserver) -> None:
    """While joined or invited a room cannot be forgotten: 400 M_UNKNOWN."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(invite=[bob.user_id])
    await alice.post(f"/rooms/{room_id}/forget", {}, "M_UNKNOWN")
    await bob.post(f"/rooms/{room_id}/forget", {}, "M_UNKNOWN")


async def test_forget_of_an_unknown_room_is_not_found(hs: Homeserver) -> None:
    """Who was never in a room has nothing to forget."""
    (alice,) = await people(hs, "alice")
    await alice.post("/rooms/!nowhere:localhost/forget", {}, "M_NOT_FOUND")
    await alice.post("/rooms/nowhere/forget", {}, "M_INVALID_PARAM")
