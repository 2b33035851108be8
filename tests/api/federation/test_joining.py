"""Joins of other servers' users, as the resident server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.room_versions import SUPPORTED
from conduit.service.rooms import members, state
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


def visitor(net: Network, name: str = "peer.test") -> Visitor:
    """Return a server on its way into rooms."""
    return Visitor(net.peer(name), "one.test")


@pytest.mark.parametrize("version", SUPPORTED)
async def test_join_of_every_room_version_is_accepted_and_told_of(net: Network, version: str) -> None:
    """The newcomer gets the state before the join, what authorises it, and the join signed by this server; the members see it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version=version, name="Room")
    joined = await visitor(net).join(room, EVE)
    answer = joined.answer
    assert answer["members_omitted"] is False
    assert set(answer["event"]["signatures"]) == {"one.test", "peer.test"}
    current = {(event.type, event.state_key) for event in joined.state}
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id)} <= current
    assert ("m.room.member", EVE) not in current
    known = {event.event_id for event in joined.auth_chain}
    assert set(joined.event.auth_events) <= known
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "join"
    assert members.servers(net["one.test"].ctx.db, room) == ["one.test", "peer.test"]
