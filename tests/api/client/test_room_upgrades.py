"""POST /upgrade by its endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people, person


@pytest.mark.parametrize(
    ("room", "body", "errcode"),
    [
        ("{id}", {}, "M_MISSING_PARAM"),
        ("{id}", {"new_version": 11}, "M_BAD_JSON"),
        ("{id}", {"new_version": "my_bad_version"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ("{id}", {"new_version": "12", "additional_creators": "@a:b"}, "M_BAD_JSON"),
        ("{id}", {"new_version": "12", "additional_creators": ["nobody"]}, "M_INVALID_PARAM"),
        ("{id}", {"new_version": "12", "additional_creators": [5]}, "M_BAD_JSON"),
        ("!fail:unknown", {"new_version": "11"}, "M_NOT_FOUND"),
        ("fail", {"new_version": "11"}, "M_INVALID_PARAM"),
    ],
)
async def test_upgrade_of_nonsense_is_refused(hs: Homeserver, room: str, body: dict[str, Any], errcode: str) -> None:
    """Bad versions, creators and rooms have the fitting code, and no tombstone is laid."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.post(f"/rooms/{room.format(id=room_id)}/upgrade", body, errcode)
    await alice.state(room_id, "m.room.tombstone", expect="M_NOT_FOUND")
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == [room_id]


async def test_upgrade_without_power_is_forbidden(hs: Homeserver) -> None:
    """Strangers and ordinary members cannot upgrade a room, nor can those who have left."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for user in (bob, carol):
        await user.post(f"/rooms/{room_id}/upgrade", {"new_version": "12"}, "M_FORBIDDEN")
    await alice.leave(room_id)
    await alice.post(f"/rooms/{room_id}/upgrade", {"new_version": "12"}, "M_FORBIDDEN")
