"""Tests of the rooms that two users share."""

from __future__ import annotations

import pytest

from conduit.service.browse import people
from tests.support.homeserver import Homeserver

PATH = "/_matrix/client/v1/mutual_rooms"
PROPOSED = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


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


async def test_shared_rooms_are_found_where_clients_look_for_them(
    hs: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path from before they were specified is announced, and names and takes the next page in its own way."""
    monkeypatch.setattr(people, "ROOMS_A_PAGE", 1)
    alice, bob = await hs.register("alice"), await hs.register("bob")
    rooms = sorted([await alice.create_room(preset="public_chat"), await alice.create_room(preset="public_chat")])
    for room in rooms:
        await bob.join(room)
    features = (await bob.get("/_matrix/client/versions"))["unstable_features"]
    assert features["uk.half-shot.msc2666.query_mutual_rooms"] is True
    first = await bob.get(PROPOSED, params={"user_id": alice.user_id})
    assert first == {"joined": rooms[:1], "count": 2, "next_batch_token": first["next_batch_token"]}
    rest = await bob.get(PROPOSED, params={"user_id": alice.user_id, "batch_token": first["next_batch_token"]})
    assert rest == {"joined": rooms[1:], "count": 2}
    await bob.get(PROPOSED, "M_INVALID_PARAM", params={"user_id": bob.user_id})
