"""Taking up the third-party invites of a room; with a key_validity_url see test_invite_by_threepid.py."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import RoomId
from conduit.protocol.signing import SigningKey
from conduit.service import events
from conduit.service.actions import offers
from conduit.utils import base64
from tests.support.rooms import ALICE, World

KEY = SigningKey(b"i" * 32, "0")
URLSAFE = base64.encode_urlsafe(base64.decode(KEY.public_key))
OTHER = SigningKey(b"o" * 32, "0").public_key


async def offered(content: dict[str, Any]) -> tuple[World, RoomId]:
    """Return a room with an offer of that content."""
    world = World()
    room_id = world.create()
    await events.send(world.ctx, room_id, ALICE, offers.TYPE, content, state_key="token")
    return world, room_id


def proof(**changes: Any) -> dict[str, Any]:
    """Return what the identity server signs."""
    return KEY.sign_json({"mxid": "@bob:localhost", "token": "token", **changes}, "id.test")


@pytest.mark.parametrize(
    "keys",
    [
        {"public_key": KEY.public_key},
        {"public_key": URLSAFE},
        {"public_key": OTHER, "public_keys": [7, {}, {"public_key": 7}, {"public_key": KEY.public_key}]},
        {"public_keys": [{"public_key": OTHER}, {"public_key": URLSAFE}]},
    ],
)
async def test_signature_with_any_key_of_the_offer_takes_it_up(keys: dict[str, Any]) -> None:
    """In either alphabet of Base64, and whatever else the identity server has signed."""
    world, room_id = await offered({"display_name": "b...", **keys})
    signed = proof(sender=ALICE)
    assert await offers.take_up(world.ctx, room_id, signed) == {"display_name": "b...", "signed": signed}


async def test_what_proves_nothing_takes_up_nothing() -> None:
    """Another token, another key, something changed, or nothing signed."""
    world, room_id = await offered({"display_name": "b...", "public_key": KEY.public_key})
    for bad in (proof(token="other"), proof(token=5), {**proof(), "sender": "x"}, {"token": "token"}, {}):
        with pytest.raises(Forbidden):
            await offers.take_up(world.ctx, room_id, bad)
    world, room_id = await offered({"display_name": 5, "public_key": OTHER})
    with pytest.raises(Forbidden):
        await offers.take_up(world.ctx, room_id, proof())
