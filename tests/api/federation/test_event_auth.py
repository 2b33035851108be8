"""Auth chains, as other servers ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


def target_of(room: str, event_id: str) -> str:
    """Return where an auth chain is asked for."""
    return f"{FEDERATION}/v1/event_auth/{segment(room)}/{segment(event_id)}"


async def test_auth_chain_holds_all_that_authorises_the_event_and_not_the_event(net: Network) -> None:
    """Closed under auth events."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version="10")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    answer = await eve.peer.get("one.test", target_of(room, joined.event.event_id))
    chain = {
        event.event_id: event for event in (Event.from_pdu(pdu, ROOM_VERSIONS["10"]) for pdu in answer["auth_chain"])
    }
    assert joined.event.event_id not in chain
    assert set(joined.event.auth_events) <= chain.keys()
    for event in chain.values():
        assert set(event.auth_events) <= chain.keys()


async def test_advisory_03_auth_chain_is_given_to_servers_in_the_room_and_of_its_events_only(net: Network) -> None:
    """Strangers, servers that have left, events of other rooms under the name of one that the server is in."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    private = await alice.create_room(preset="private_chat")
    secret = await alice.send(private, "hello")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    await eve.peer.get("one.test", target_of(room, secret), "M_NOT_FOUND")
    await eve.peer.get("one.test", target_of(private, secret), "M_FORBIDDEN")
    await net.peer("stranger.test").get("one.test", target_of(room, joined.event.event_id), "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["one.test"]})
    await eve.peer.get("one.test", target_of(room, joined.event.event_id), "M_FORBIDDEN")
