"""Room aliases by their endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import segment
from tests.support.homeserver import Homeserver
from tests.support.people import admin, people, person


@pytest.mark.parametrize("alias", ["#lobby:localhost", "##☕:localhost", "#a/b?c:localhost", "#sp ace:localhost"])
async def test_alias_of_any_text_leads_to_its_room(hs: Homeserver, alias: str) -> None:
    """An alias that was made is resolved without a token, and is listed by its room."""
    alice = await person(hs)
    room_id = await alice.create_room()
    await alice.put(f"/directory/room/{segment(alias)}", {"room_id": room_id})
    expected = {"room_id": room_id, "servers": ["localhost"]}
    assert await hs.client().get(f"/directory/room/{segment(alias)}") == expected
    assert await alice.get(f"/rooms/{room_id}/aliases") == {"aliases": [alias]}


@pytest.mark.parametrize(
    ("alias", "body", "errcode"),
    [
        ("lobby", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#lobby", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#:localhost", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#a\x00b:localhost", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#" + "a" * 300 + ":localhost", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#lobby:elsewhere.org", {"room_id": "!r:localhost"}, "M_INVALID_PARAM"),
        ("#lobby:localhost", {}, "M_MISSING_PARAM"),
        ("#lobby:localhost", {"room_id": 5}, "M_BAD_JSON"),
        ("#lobby:localhost", {"room_id": "r"}, "M_INVALID_PARAM"),
        ("#lobby:localhost", {"room_id": "!r:localhost"}, "M_FORBIDDEN"),
    ],
)
async def test_alias_of_nonsense_is_refused(hs: Homeserver, alias: str, body: dict[str, Any], errcode: str) -> None:
    """Malformed, foreign and unknown names are refused."""
    alice = await person(hs)
    await alice.put(f"/directory/room/{segment(alias)}", body, errcode)


async def test_alias_that_is_not_there_is_not_found(hs: Homeserver) -> None:
    """Reading and removing unknown aliases is 404."""
    alice = await person(hs)
    for alias in ("#nothing:localhost", "#nothing:elsewhere.org"):
        await alice.get(f"/directory/room/{segment(alias)}", "M_NOT_FOUND")
        await alice.delete(f"/directory/room/{segment(alias)}", expect="M_NOT_FOUND")
    await alice.get("/directory/room/nothing", "M_INVALID_PARAM")


async def test_alias_taken_is_a_conflict(hs: Homeserver) -> None:
    """A taken alias is 409, also for who made it, and stays where it points."""
    alice = await person(hs)
    one, two = [await alice.create_room() for _ in range(2)]
    await alice.put("/directory/room/%23lobby:localhost", {"room_id": one})
    for room_id in (one, two):
        await alice.put("/directory/room/%23lobby:localhost", {"room_id": room_id}, 409)
    assert (await alice.get("/directory/room/%23lobby:localhost"))["room_id"] == one


async def test_aliases_are_listed_to_members_administrators_and_readers_of_open_rooms(hs: Homeserver) -> None:
    """Others do not learn a room's aliases."""
    alice, bob = await people(hs, "alice", "bob")
    operator = await admin(hs)
    room_id = await alice.create_room(room_alias_name="lobby")
    listed = {"aliases": ["#lobby:localhost"]}
    await bob.get(f"/rooms/{room_id}/aliases", "M_FORBIDDEN")
    await bob.get("/rooms/!nowhere:localhost/aliases", "M_FORBIDDEN")
    assert await operator.get(f"/rooms/{room_id}/aliases") == listed
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert await bob.get(f"/rooms/{room_id}/aliases") == listed
