"""Invites of people by their mail addresses, with an identity server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.client import User
from tests.support.federation import network
from tests.support.homeserver import Homeserver, serve
from tests.support.identity import PEPPER, TOKEN, Identity, identity_server


def wanted(identity: Identity, address: str = "Bob@Example.com") -> dict[str, Any]:
    """Return the body of an invite."""
    return {"medium": "email", "address": address, "id_server": identity.name, "id_access_token": TOKEN}


async def user_and_room(hs: Homeserver, **options: Any) -> tuple[User, str]:
    """Return a user and a new room of theirs."""
    alice = await hs.register("alice")
    return alice, await alice.create_room(**options)


@pytest.mark.parametrize("algorithms", [["none", "sha256"], ["none"]])
async def test_user_to_whom_the_address_is_bound_is_invited(tmp_path: Path, algorithms: list[str]) -> None:
    """The address is looked up in its canonical form, as a hash if the server knows those."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        identity.algorithms = algorithms
        alice, room = await user_and_room(hs)
        bob = await hs.register("bob")
        identity.bound[("email", "bob@example.com")] = bob.user_id
        await alice.post(f"/rooms/{room}/invite", wanted(identity))
        assert (await alice.state(room, "m.room.member", bob.user_id))["membership"] == "invite"
        assert [path for path, _, _ in identity.asked] == ["/hash_details", "/lookup"]
        assert identity.asked[1][1]["pepper"] == PEPPER
        assert identity.asked[1][1]["addresses"] == [
            "bob@example.com email" if algorithms == ["none"] else "LJwSazmv46n0hlMlsb_iYxI0_HXEqy_yj6Jm636cdT8"
        ]


async def test_unknown_address_becomes_an_offer_that_the_binder_takes_up(tmp_path: Path) -> None:
    """The identity server keeps the invite; whoever it says has the address is invited and joins."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        alice, room = await user_and_room(hs, name="Den", preset="private_chat")
        await alice.post(f"/rooms/{room}/invite", wanted(identity))
        assert identity.invites == [
            {
                "medium": "email",
                "address": "bob@example.com",
                "room_id": room,
                "sender": alice.user_id,
                "room_join_rules": "invite",
                "room_name": "Den",
                "sender_display_name": "alice",
            }
        ]
        offer = await alice.state(room, "m.room.third_party_invite", "token1")
        url = f"https://{identity.name}/_matrix/identity/v2/pubkey/isvalid"
        key = {"public_key": identity.key.public_key, "key_validity_url": url}
        assert offer == {"display_name": "b...@m...", "public_keys": [key], **key}
        bob = await hs.register("bob")
        proof = {"room_id": room, "sender": alice.user_id, "signed": identity.proof(bob.user_id, "token1")}
        notice = {"medium": "email", "address": "bob@example.com", "mxid": bob.user_id, "invites": [proof]}
        await hs.client().put("/_matrix/federation/v1/3pid/onbind", notice)
        member = await alice.state(room, "m.room.member", bob.user_id)
        assert member["third_party_invite"]["display_name"] == "b...@m..."
        await bob.post(f"/join/{room}", {})


async def test_revoked_key_makes_no_invite(tmp_path: Path) -> None:
    """Nor does one of which nobody can tell whether it was revoked; the room's server asks, for users of whatever server."""
    async with (
        identity_server(tmp_path) as identity,
        network("one.test", "two.test", **identity.settings) as net,
    ):
        alice, room = await user_and_room(net["one.test"], preset="private_chat")
        await alice.post(f"/rooms/{room}/invite", wanted(identity))
        for home in ("one.test", "two.test"):
            bob = await net[home].register("bob")
            signed = {**identity.proof(bob.user_id, "token1"), "sender": alice.user_id}
            signed = identity.key.sign_json({**signed, "signatures": {}}, identity.name)
            identity.valid = False
            await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": signed}, "M_FORBIDDEN")
            identity.valid = True
            identity.answers = {"/pubkey/isvalid": (500, "")}
            await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": signed}, "M_CONNECTION_FAILED")
            identity.answers = {}
            await bob.post(f"/join/{room}?via=one.test", {"third_party_signed": signed})


async def test_nothing_is_told_of_invites_that_may_not_be_made(tmp_path: Path) -> None:
    """Who is not in the room, or may not invite, makes this server ask nobody."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        alice, room = await user_and_room(hs, preset="public_chat", power_level_content_override={"invite": 50})
        bob = await hs.register("bob")
        await bob.post(f"/rooms/{room}/invite", wanted(identity), "M_FORBIDDEN")
        await bob.post("/rooms/!unknown:localhost/invite", wanted(identity), "M_FORBIDDEN")
        await bob.post(f"/join/{room}", {})
        await bob.post(f"/rooms/{room}/invite", wanted(identity), "M_FORBIDDEN")
        assert identity.asked == []
        await alice.post(f"/rooms/{room}/invite", wanted(identity))


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("/lookup", (403, {"errcode": "M_TERMS_NOT_SIGNED", "error": "Sign"}), "M_TERMS_NOT_SIGNED"),
        ("/lookup", (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Who?"}), "M_BAD_STATUS"),
        ("/lookup", (200, "no JSON"), "M_CONNECTION_FAILED"),
        ("/lookup", (500, {}), "M_CONNECTION_FAILED"),
        ("/hash_details", (200, {"lookup_pepper": 1, "algorithms": []}), "M_CONNECTION_FAILED"),
        ("/hash_details", (200, {"lookup_pepper": "x", "algorithms": ["rot13"]}), "M_CONNECTION_FAILED"),
        ("/lookup", (200, {"mappings": {"LJwSazmv46n0hlMlsb_iYxI0_HXEqy_yj6Jm636cdT8": "nobody"}}), "M_INVALID_PARAM"),
        ("/store-invite", (200, {"token": "t", "display_name": "x", "public_keys": []}), "M_CONNECTION_FAILED"),
        ("/store-invite", (200, {"token": "t" * 256, "public_keys": [{"public_key": "k"}]}), "M_CONNECTION_FAILED"),
    ],
)
async def test_identity_server_that_answers_badly_makes_no_invite(
    tmp_path: Path, path: str, answer: Any, error: str
) -> None:
    """Its refusal is passed on unless the client would take it for one of its homeserver's token."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        alice, room = await user_and_room(hs)
        identity.answers[path] = answer
        await alice.post(f"/rooms/{room}/invite", wanted(identity), error)


async def test_new_room_invites_by_address_and_stands_without(tmp_path: Path) -> None:
    """As with other invites to a new room."""
    async with identity_server(tmp_path) as identity, serve(**identity.settings) as hs:
        alice, bob = await hs.register("alice"), await hs.register("bob")
        identity.bound[("email", "bob@example.com")] = bob.user_id
        room = await alice.create_room(invite_3pid=[wanted(identity), wanted(identity, "c@d.e")], is_direct=True)
        member = await alice.state(room, "m.room.member", bob.user_id)
        assert (member["membership"], member["is_direct"]) == ("invite", True)
        await alice.state(room, "m.room.third_party_invite", "token1")
        identity.answers["/hash_details"] = (500, "")
        await alice.create_room(invite_3pid=[wanted(identity)])
