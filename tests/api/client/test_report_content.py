"""Reporting by the endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.homeserver import Homeserver
from tests.support.people import people, person


async def test_report_of_event_room_and_user_is_taken(hs: Homeserver) -> None:
    """All three kinds are taken, a room's and a user's from outside of the room too."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room()
    event_id = await alice.send(room_id)
    assert await alice.post(f"/rooms/{room_id}/report/{event_id}", {"reason": "rude", "score": -100}) == {}
    assert await alice.post(f"/rooms/{room_id}/report/{event_id}", {}) == {}
    assert await bob.post(f"/rooms/{room_id}/report", {"reason": ""}) == {}
    assert await bob.post(f"/users/{alice.user_id}/report", {"reason": "rude"}) == {}
    assert await bob.post("/users/@x:elsewhere.org/report", {"reason": "rude"}) == {}


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("/rooms/{id}/report", {}, "M_MISSING_PARAM"),
        ("/rooms/{id}/report", {"reason": 5}, "M_BAD_JSON"),
        ("/rooms/!nowhere:localhost/report", {"reason": ""}, "M_NOT_FOUND"),
        ("/rooms/nowhere/report", {"reason": ""}, "M_INVALID_PARAM"),
        ("/rooms/{id}/report/$nothing:localhost", {"reason": ""}, "M_NOT_FOUND"),
        ("/rooms/{id}/report/nothing", {"reason": ""}, "M_NOT_FOUND"),
        ("/rooms/{id}/report/{event}", {"reason": []}, "M_BAD_JSON"),
        ("/users/@nobody:localhost/report", {"reason": ""}, "M_NOT_FOUND"),
        ("/users/nobody/report", {"reason": ""}, "M_INVALID_PARAM"),
        ("/users/@alice:localhost/report", {}, "M_MISSING_PARAM"),
    ],
)
async def test_report_of_nonsense_is_refused(hs: Homeserver, path: str, body: dict[str, Any], errcode: str) -> None:
    """Unknown things are not found, wrong types refused."""
    alice = await person(hs)
    room_id = await alice.create_room()
    event_id = await alice.send(room_id)
    await alice.post(path.format(id=room_id, event=event_id), body, errcode)
