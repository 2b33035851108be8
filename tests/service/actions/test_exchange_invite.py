"""Tests of exchanging third-party invites."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, Forbidden, InvalidParam, MatrixError, NotFound
from conduit.protocol.ids import RoomId, ServerName
from conduit.service.actions.exchange_invite import exchange_invite
from tests.support.rooms import ALICE, World

EVE = "@eve:peer.test"
PEER = ServerName("peer.test")


def partial(room_id: RoomId) -> dict[str, Any]:
    """Return a partial event."""
    signed = {"mxid": EVE, "token": "abc", "signatures": {}}
    content = {"membership": "invite", "third_party_invite": {"signed": signed}}
    return {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": ALICE,
        "state_key": EVE,
        "content": content,
    }


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, Forbidden),  # the room has no such offer
        ({"room_id": "!other:localhost"}, InvalidParam),
        ({"type": "m.room.name"}, InvalidParam),
        ({"content": {"membership": "invite", "third_party_invite": 7}}, BadJson),
        ({"content": {"membership": "invite", "third_party_invite": {"signed": {"token": []}}}}, Forbidden),
        ({"state_key": "@eve:elsewhere.test"}, Forbidden),
        ({"sender": "@alice:elsewhere.test"}, Forbidden),
        ({"sender": None}, InvalidParam),
    ],
)
async def test_what_cannot_be_exchanged_is_refused(changes: Any, error: type[MatrixError]) -> None:
    """Before anybody is asked or anything written."""
    world = World()
    room_id = world.create()
    with pytest.raises(error):
        await exchange_invite(world.ctx, PEER, room_id, {**partial(room_id), **changes})


async def test_room_that_nobody_here_is_in_is_not_found() -> None:
    """Whatever the event says."""
    world = World()
    room_id = RoomId("!unknown:localhost")
    with pytest.raises(NotFound):
        await exchange_invite(world.ctx, PEER, room_id, partial(room_id))
