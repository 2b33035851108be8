"""Knocks of other servers' users, as the resident server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.rooms import members
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def closed(net: Network, version: str = "10", rule: str = "knock") -> tuple[Any, str, Visitor]:
    """Return a user, her room on which one can knock, and a server outside of it."""
    alice = await net["one.test"].register("alice")
    initial = [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": rule}}]
    room = await alice.create_room(preset="private_chat", room_version=version, name="Door", initial_state=initial)
    return alice, room, Visitor(net.peer("peer.test"), "one.test")


@pytest.mark.parametrize("version", ["7", "9", "10", "11", "12"])
async def test_knock_is_taken_and_answered_with_what_the_room_is(net: Network, version: str) -> None:
    """Members see the knock; the knocker's server gets whole events of the room, the create event among them."""
    alice, room, eve = await closed(net, version)
    knock = await eve.signed("knock", room, EVE, content={"reason": "please"})
    answer = await eve.send("knock", knock)
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "knock"
    told = [Event.from_pdu(pdu, ROOM_VERSIONS[version]) for pdu in answer["knock_room_state"]]
    assert {"m.room.create", "m.room.name", "m.room.join_rules"} <= {event.type for event in told}
    assert {event.room_id for event in told} == {room}
    assert all("signatures" in event.pdu for event in told)
    assert members.servers(net["one.test"].ctx.db, RoomId(room)) == ["one.test"]


async def test_knock_can_be_taken_back(net: Network) -> None:
    """By leaving."""
    alice, room, eve = await closed(net)
    await eve.send("knock", await eve.signed("knock", room, EVE))
    await eve.send("leave", await eve.signed("leave", room, EVE))
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "leave"


async def test_knock_that_the_room_does_not_take_is_forbidden(net: Network) -> None:
    """By its join rule, or a ban."""
    alice, room, eve = await closed(net)
    knock = await eve.signed("knock", room, EVE)
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
    await eve.template("knock", room, EVE, "M_FORBIDDEN")
    await eve.send("knock", knock, "M_FORBIDDEN")
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "knock"})
    await alice.post(f"/rooms/{segment(room)}/ban", {"user_id": EVE})
    await eve.template("knock", room, EVE, "M_FORBIDDEN")


async def test_knock_needs_a_version_that_both_speak(net: Network) -> None:
    """The versions must be named, and the room's be among them."""
    _, room, eve = await closed(net)
    await eve.template("knock", room, EVE, "M_MISSING_PARAM", query="?x=1")
    refusal = await eve.template("knock", room, EVE, "M_INCOMPATIBLE_ROOM_VERSION", query="?ver=7")
    assert refusal["room_version"] == "10"


async def test_knock_of_a_server_that_the_acl_denies_is_forbidden(net: Network) -> None:
    """Server ACLs guard both endpoints."""
    alice, room, eve = await closed(net)
    knock = await eve.signed("knock", room, EVE)
    await alice.set_state(room, "m.room.server_acl", {"allow": ["one.test"]})
    await eve.template("knock", room, EVE, "M_FORBIDDEN")
    await eve.send("knock", knock, "M_FORBIDDEN")


async def test_what_is_no_knock_of_the_asking_servers_user_is_refused(net: Network) -> None:
    """Unknown rooms, others' users, others' events, another membership, a wrong signature, another room in the path."""
    alice, room, eve = await closed(net)
    await eve.template("knock", "!unknown:one.test", EVE, "M_NOT_FOUND")
    await eve.template("knock", room, alice.user_id, "M_FORBIDDEN")
    template = await eve.template("knock", room, EVE)
    knock = eve.seal(template)
    await Visitor(net.peer("mallory.test"), "one.test").send("knock", knock, "M_FORBIDDEN")
    await eve.send("knock", eve.seal(template, content={"membership": "invite"}), "M_INVALID_PARAM")
    await eve.send("knock", eve.seal(template, state_key="@other:peer.test"), "M_INVALID_PARAM")
    fake = {**knock.pdu, "signatures": {"peer.test": {eve.peer.key.key_id: "a" * 86}}}
    await eve.peer.put("one.test", eve.target("knock", knock), fake, "M_FORBIDDEN")
    other = await alice.create_room()
    target = f"{FEDERATION}/v1/send_knock/{segment(other)}/{segment(knock.event_id)}"
    await eve.peer.put("one.test", target, knock.pdu, "M_INVALID_PARAM")
    assert members.knocking(net["one.test"].ctx.db, RoomId(room)) == []
