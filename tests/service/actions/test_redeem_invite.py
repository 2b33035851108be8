"""Third-party invites that local users redeem."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.signing import SigningKey
from conduit.service import events
from conduit.service.rooms import members, state
from tests.support.client import User
from tests.support.federation import Network, network

IDENTITY = SigningKey(b"i" * 32, "0")


async def offered(net: Network, server: str, **more: Any) -> tuple[User, str]:
    """Return a user and a room of theirs in which somebody was invited by mail; the offer's key holds for ever unless `more` has a `key_validity_url`."""
    alice = await net[server].register("alice")
    room = await alice.create_room(preset="private_chat")
    offer: Any = {"display_name": "b...@mail.test", "public_key": IDENTITY.public_key, **more}
    await events.send(
        net[server].ctx, RoomId(room), UserId(alice.user_id), "m.room.third_party_invite", offer, state_key="token"
    )
    return alice, room


def proof(user: User, alice: User) -> dict[str, Any]:
    """Return what the identity server has signed, as a client presents it: the signature covers all of it."""
    return IDENTITY.sign_json({"mxid": user.user_id, "token": "token", "sender": alice.user_id}, "id.test")


@pytest.mark.parametrize("home", ["one.test", "two.test"])
async def test_join_with_a_proof_is_an_invite_and_a_join(home: str) -> None:
    """The inviter's server puts the invite into the room, whether the user is its own or of another server."""
    async with network("one.test", "two.test") as net:
        alice, room = await offered(net, "one.test")
        bob = await net[home].register("bob")
        await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": proof(bob, alice)})
        one = net["one.test"].ctx.db
        assert members.is_joined(one, RoomId(room), UserId(bob.user_id))
        join = state.current(one, RoomId(room), "m.room.member", bob.user_id)
        assert join is not None
        before = state.before(one, join.event_id)
        assert before is not None
        invite = state.get(one, before, "m.room.member", bob.user_id)
        assert invite is not None
        assert invite.content["third_party_invite"]["display_name"] == "b...@mail.test"
        assert invite.sender == alice.user_id


@pytest.mark.parametrize("home", ["one.test", "two.test"])
async def test_proof_of_somebody_else_or_wrongly_signed_lets_nobody_in(home: str) -> None:
    """It must name the user, and be signed with the key that the room knows."""
    async with network("one.test", "two.test") as net:
        alice, room = await offered(net, "one.test")
        bob = await net[home].register("bob")
        good = proof(bob, alice)
        for bad in (
            {**good, "mxid": "@carol:two.test"},
            {**good, "token": "other"},
            {**good, "signatures": {"id.test": {"ed25519:0": "A" * 86}}},
            {**good, "sender": "@nobody:one.test"},
        ):
            await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": bad}, expect="M_FORBIDDEN")
        await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": {"sender": alice.user_id}}, expect=400)


async def test_identity_server_hands_invites_over() -> None:
    """After that the user is invited; what is wrong with one invite does not touch the others, and is told."""
    async with network("one.test", "two.test") as net:
        alice, room = await offered(net, "one.test")
        bob = await net["two.test"].register("bob")
        about = {"medium": "email", "address": "bob@mail.test", "mxid": bob.user_id}
        signed = IDENTITY.sign_json({"mxid": bob.user_id, "token": "token"}, "id.test")
        good = {**about, "room_id": room, "sender": alice.user_id, "signed": signed}
        bad = {**good, "signed": {**signed, "token": "other"}}
        peer = net.peer("id.test")
        await peer.put("two.test", "/_matrix/federation/v1/3pid/onbind", {**about, "invites": [good, bad]}, expect=403)
        assert members.membership(net["two.test"].ctx.db, RoomId(room), UserId(bob.user_id)) == "invite"
        nobody = {**about, "mxid": "@nobody:two.test", "invites": []}
        await peer.put("two.test", "/_matrix/federation/v1/3pid/onbind", nobody, expect=404)


async def test_invite_holds_after_its_inviter_has_left() -> None:
    """The room has the offer still, and others of that server are in it."""
    async with network("one.test") as net:
        alice, room = await offered(net, "one.test")
        carol, bob = await net["one.test"].register("carol"), await net["one.test"].register("bob")
        await alice.post(f"/rooms/{room}/invite", {"user_id": carol.user_id})
        await carol.post(f"/join/{room}", {})
        await alice.post(f"/rooms/{room}/leave", {})
        await bob.post(f"/join/{room}", {"third_party_signed": proof(bob, alice)})
        assert members.is_joined(net["one.test"].ctx.db, RoomId(room), UserId(bob.user_id))


async def test_room_that_nobody_of_this_server_is_in_is_closed() -> None:
    """What is known of it here is old."""
    async with network("one.test", "two.test") as net:
        alice, room = await offered(net, "one.test")
        carol, bob = await net["two.test"].register("carol"), await net["one.test"].register("bob")
        await alice.post(f"/rooms/{room}/invite", {"user_id": carol.user_id})
        await carol.post(f"/join/{room}?via=one.test", {})
        await alice.post(f"/rooms/{room}/leave", {})
        await bob.post(f"/join/{room}", {"third_party_signed": proof(bob, alice)}, expect="M_FORBIDDEN")
