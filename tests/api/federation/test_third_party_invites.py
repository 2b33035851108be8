"""Third-party invites, turned into real ones for the server of who was meant."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.protocol.signing import SigningKey
from conduit.service.rooms import members
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"
IDENTITY = SigningKey(b"i" * 32, "0")


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def offered(net: Network) -> tuple[Any, str, Visitor]:
    """Return a user, her room with a third-party invite under the token `abc`, and the server of who is meant."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="private_chat")
    offer = {
        "display_name": "e...@example.org",
        "key_validity_url": "https://id.test/valid",
        "public_key": IDENTITY.public_key,
        "public_keys": [{"public_key": IDENTITY.public_key}],
    }
    await alice.set_state(room, "m.room.third_party_invite", offer, "abc")
    eve = Visitor(net.peer("peer.test"), "one.test")
    eve.sign_invites()
    return alice, room, eve


def partial(
    room: str, sender: str, *, user_id: str = EVE, token: str = "abc", key: SigningKey = IDENTITY
) -> dict[str, Any]:
    """Return the partial event by which a server redeems an invite."""
    signed = key.sign_json({"mxid": user_id, "token": token}, "id.test")
    return {
        "type": "m.room.member",
        "room_id": room,
        "sender": sender,
        "state_key": user_id,
        "content": {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": signed}},
    }


def target_of(room: str) -> str:
    """Return where an invite is exchanged."""
    return f"{FEDERATION}/v1/exchange_third_party_invite/{segment(room)}"


async def test_proof_of_being_meant_becomes_an_invite(net: Network) -> None:
    """The invite is made in the name of who made the offer, sent to the user's server, and signed by both."""
    alice, room, eve = await offered(net)
    assert await eve.peer.put("one.test", target_of(room), partial(room, alice.user_id)) == {}
    content = await alice.state(room, "m.room.member", EVE)
    assert content["membership"] == "invite"
    assert content["third_party_invite"]["display_name"] == "e...@example.org"
    assert members.invited(net["one.test"].ctx.db, RoomId(room)) == [EVE]


async def test_proof_that_does_not_hold_is_refused(net: Network) -> None:
    """Another token, another key, another user, another maker: M_FORBIDDEN, and nobody is invited."""
    alice, room, eve = await offered(net)
    bob = await net["one.test"].register("bob")
    good = partial(room, alice.user_id)
    cases = [
        partial(room, alice.user_id, token="other"),
        partial(room, alice.user_id, key=SigningKey(b"x" * 32, "0")),
        partial(room, alice.user_id, user_id="@third:else.test"),
        partial(room, bob.user_id),
        partial(room, "@x:else.test"),
        {**good, "state_key": "@other:peer.test"},
    ]
    for body in cases:
        await eve.peer.put("one.test", target_of(room), body, "M_FORBIDDEN")
    assert members.invited(net["one.test"].ctx.db, RoomId(room)) == []


async def test_advisory_02_exchange_for_another_room_than_its_path_is_refused(net: Network) -> None:
    """The room of the path must be that of the event."""
    alice, room, eve = await offered(net)
    other = await alice.create_room(preset="private_chat")
    await eve.peer.put("one.test", target_of(other), partial(room, alice.user_id), "M_INVALID_PARAM")
    await eve.peer.put("one.test", target_of("!unknown:one.test"), partial(room, alice.user_id), "M_NOT_FOUND")
    assert members.invited(net["one.test"].ctx.db, RoomId(room)) == []


async def test_exchange_of_what_is_no_invite_is_refused(net: Network) -> None:
    """Wrong types and memberships, missing proofs."""
    alice, room, eve = await offered(net)
    good = partial(room, alice.user_id)
    for body, errcode in (
        ({}, "M_INVALID_PARAM"),
        ({**good, "type": "m.room.topic"}, "M_INVALID_PARAM"),
        ({**good, "content": 7}, "M_INVALID_PARAM"),
        ({**good, "content": {**good["content"], "membership": "join"}}, "M_INVALID_PARAM"),
        ({**good, "content": {"membership": "invite"}}, "M_BAD_JSON"),
        ({**good, "sender": 7}, "M_INVALID_PARAM"),
        ({**good, "state_key": "eve"}, "M_INVALID_PARAM"),
    ):
        await eve.peer.put("one.test", target_of(room), body, errcode)
    assert members.invited(net["one.test"].ctx.db, RoomId(room)) == []
