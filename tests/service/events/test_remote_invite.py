"""Inviting users of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.protocol.pdu import Event, countersign
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.rooms import members, state
from tests.support.federation import Incoming, Peer, network

ZOE = "@zoe:far.test"


def signs(peer: Peer, version: str) -> Any:
    """Return a script that signs the invite it is sent."""

    def answer(incoming: Incoming) -> Any:
        event = Event.from_pdu(incoming.json()["event"], ROOM_VERSIONS[version])
        return {"event": countersign(event, peer.name, peer.key).pdu}

    return answer


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
async def test_invite_of_a_user_elsewhere_arrives_with_what_room_it_is(version: str) -> None:
    """The user sees the invite with the room's name, and the room has it with both signatures."""
    async with network("one.test", "two.test", allow_unstable_room_versions=True) as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(preset="private_chat", name="Den", room_version=version)
        await alice.invite(room, bob)
        told = (await bob.sync())["rooms"]["invite"][room]["invite_state"]["events"]
        assert "Den" in [event["content"].get("name") for event in told]
        invite = state.current(net["one.test"].ctx.db, RoomId(room), "m.room.member", bob.user_id)
        assert invite is not None
        assert {"one.test", "two.test"} <= invite.pdu["signatures"].keys()


async def test_new_room_invites_users_elsewhere() -> None:
    """The room is made whatever their servers say."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        bob = await net["two.test"].register("bob")
        room = await alice.create_room(invite=[bob.user_id, "@nobody:dead.test"], is_direct=True)
        assert room in (await bob.sync())["rooms"]["invite"]
        invite = state.current(net["one.test"].ctx.db, RoomId(room), "m.room.member", bob.user_id)
        assert invite is not None
        assert invite.content["is_direct"] is True


async def test_invite_that_the_other_server_refuses_is_no_invite() -> None:
    """The refusal reaches the client, and nothing the room."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room()
        far = net.peer("far.test")
        far.on("PUT", r".*/invite/.*", (403, {"errcode": "M_INVITE_BLOCKED", "error": "No"}))
        await alice.invite(room, ZOE, expect="M_INVITE_BLOCKED")
        far.on("PUT", r".*/invite/.*", (403, {"errcode": "M_FORBIDDEN", "error": "No"}))
        await alice.invite(room, ZOE, expect="M_FORBIDDEN")
        refusal = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "No", "room_version": "10"}
        far.on("PUT", r".*/invite/.*", (400, refusal))
        await alice.invite(room, ZOE, expect="M_UNSUPPORTED_ROOM_VERSION")
        far.on("PUT", r".*/invite/.*", (400, {"errcode": "M_INVALID_PARAM", "error": "No"}))
        await alice.invite(room, ZOE, expect=502)
        net.board.down("far.test")
        await alice.invite(room, ZOE, expect=502)
        assert members.membership(net["one.test"].ctx.db, RoomId(room), UserId(ZOE)) is None


@pytest.mark.parametrize("answer", [{}, {"event": {}}, {"event": {"signatures": {"far.test": {"ed25519:peer": "AA"}}}}])
async def test_invite_without_the_other_servers_signature_is_no_invite(answer: Any) -> None:
    """What the other server sends back in place of a signature is not taken."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room()
        net.peer("far.test").on("PUT", r".*/invite/.*", answer)
        await alice.invite(room, ZOE, expect=502)


@pytest.mark.parametrize(("version", "told"), [("5", 502), ("6", "M_BAD_JSON"), ("11", "M_BAD_JSON")])
async def test_invite_that_comes_back_as_no_canonical_json_is_no_invite(version: str, told: Any) -> None:
    """Since room version 6 no event holds such; before, it is just not what was to be signed."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(room_version=version)
        far = net.peer("far.test")
        far.on("PUT", r".*/invite/.*", lambda incoming: {"event": {**incoming.json()["event"], "bad_val": 1.1}})
        await alice.invite(room, ZOE, expect=told)
        assert members.membership(net["one.test"].ctx.db, RoomId(room), UserId(ZOE)) is None


async def test_advisory_01_of_the_signed_invite_only_the_signature_is_taken() -> None:
    """A hostile server that changes the event in its answer changes nothing here."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room()
        far = net.peer("far.test")

        def answer(incoming: Incoming) -> Any:
            signed = signs(far, "12" if "12" in incoming.json()["room_version"] else incoming.json()["room_version"])
            event = signed(incoming)["event"]
            event["content"] = {**event["content"], "membership": "ban", "displayname": "Owned"}
            return {"event": event}

        far.on("PUT", r".*/invite/.*", answer)
        await alice.invite(room, ZOE)
        invite = state.current(net["one.test"].ctx.db, RoomId(room), "m.room.member", ZOE)
        assert invite is not None
        assert invite.content == {"membership": "invite"}


async def test_invite_that_comes_back_larger_than_an_event_may_be_is_no_invite() -> None:
    """Beside its signature the other server puts what makes the event one that nobody else in the room would take."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(room_version="10")
        far = net.peer("far.test")

        def answer(incoming: Incoming) -> Any:
            signed: dict[str, Any] = signs(far, "10")(incoming)
            signed["event"]["signatures"]["far.test"]["ed25519:more"] = "A" * 70_000
            return signed

        far.on("PUT", r".*/invite/.*", answer)
        await alice.invite(room, ZOE, expect=502)
        assert members.membership(net["one.test"].ctx.db, RoomId(room), UserId(ZOE)) is None


async def test_invite_state_is_made_of_whole_events() -> None:
    """The other server can check what it is told (MSC4311): the create event is among it, with its signatures."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(name="Den", room_version="12")
        far = net.peer("far.test")
        far.on("PUT", r".*/invite/.*", signs(far, "12"))
        await alice.invite(room, ZOE)
        [got] = [got for got in far.received if "/invite/" in got.target]
        told = got.json()["invite_room_state"]
        assert told[0]["type"] == "m.room.create"
        assert all("signatures" in event and "hashes" in event for event in told)
        assert alice.user_id in [event.get("state_key") for event in told]


async def test_invite_falls_back_to_the_first_version() -> None:
    """An old server knows only the old form, for the old room versions. It is told the same."""
    async with network("one.test", allow_unstable_room_versions=True) as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(room_version="1")
        far = net.peer("far.test")

        def old(incoming: Incoming) -> Any:
            told = incoming.json()["unsigned"]["invite_room_state"]
            assert told[0]["type"] == "m.room.create"
            assert all("signatures" in event and "hashes" in event for event in told)
            event = Event.from_pdu(incoming.json(), ROOM_VERSIONS["1"])
            return [200, {"event": countersign(event, far.name, far.key).pdu}]

        far.on("PUT", r".*/v1/invite/.*", old)
        await alice.invite(room, ZOE)
        assert members.membership(net["one.test"].ctx.db, RoomId(room), UserId(ZOE)) == "invite"


async def test_closed_room_invites_nobody_elsewhere() -> None:
    """`m.federate` is false: no other server hears of the room."""
    async with network("one.test", "two.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(creation_content={"m.federate": False})
        await alice.invite(room, "@bob:two.test", expect="M_FORBIDDEN")
        assert "two.test" not in net.board.deliveries


async def test_same_invite_again_asks_nobody() -> None:
    """It changes nothing."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room = await alice.create_room(room_version="10")
        far = net.peer("far.test")
        far.on("PUT", r".*/invite/.*", signs(far, "10"))
        await alice.invite(room, ZOE)
        await alice.invite(room, ZOE)
        assert sum("/invite/" in got.target for got in far.received) == 1
