"""Tests of the rooms that two users share."""

from __future__ import annotations

from tests.support.homeserver import Homeserver

PATH = "/_matrix/client/v1/mutual_rooms"


async def test_shared_rooms_are_those_both_are_in(hs: Homeserver) -> None:
    """Rooms that both have joined are named; a user who does not exist shares none; oneself cannot be asked about."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room, private = await alice.create_room(preset="public_chat"), await alice.create_room()
    await bob.join(room)
    await alice.invite(private, bob)
    assert await bob.get(PATH, params={"user_id": alice.user_id}) == {"joined": [room], "count": 1}
    assert await bob.get(PATH, params={"user_id": "@nobody:localhost"}) == {"joined": [], "count": 0}
    await bob.get(PATH, "M_INVALID_PARAM", params={"user_id": bob.user_id})
    for nonsense in ("nonsense", "@:localhost", "@a b:localhost", "@ö:localhost"):
        await bob.get(PATH, "M_INVALID_PARAM", params={"user_id": nonsense})
    await bob.get(PATH, "M_INVALID_PARAM")
    await bob.get(PATH, "M_INVALID_PARAM", params={"user_id": alice.user_id, "from": "x"})
