"""Leaves of other servers' users: of rooms they are in, invites they do not want, knocks they take back."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import RoomId
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


async def invited(net: Network) -> tuple[Any, str, Visitor]:
    """Return a user, her private room, and a server with a user whom she has invited."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="private_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    eve.sign_invites()
    await alice.invite(room, EVE)
    return alice, room, eve


async def test_leave_of_who_is_in_the_room_ends_the_membership(net: Network) -> None:
    """A template, the signed event, an empty answer; the members see it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    leave = await eve.signed("leave", room, EVE)
    assert await eve.send("leave", leave) == {}
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "leave"
    assert members.servers(net["one.test"].ctx.db, RoomId(room)) == ["one.test"]


async def test_rejected_invite_is_a_leave(net: Network) -> None:
    """The invited user's server has nothing but the invite; the first form answers with a pair."""
    alice, room, eve = await invited(net)
    leave = await eve.signed("leave", room, EVE)
    assert await eve.send("leave", leave, form="v1") == [200, {}]
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "leave"


async def test_template_for_who_has_nothing_to_leave_is_forbidden(net: Network) -> None:
    """Strangers, others' users and banned ones are refused; unknown rooms are not found."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.template("leave", room, EVE, "M_FORBIDDEN")
    await eve.template("leave", room, alice.user_id, "M_FORBIDDEN")
    await eve.template("leave", "!unknown:one.test", EVE, "M_NOT_FOUND")


async def test_leave_that_is_not_validly_signed_is_forbidden(net: Network) -> None:
    """Unsigned, or with a signature that is none: the invite stands."""
    alice, room, eve = await invited(net)
    leave = await eve.signed("leave", room, EVE)
    target = eve.target("leave", leave)
    bare = {key: value for key, value in leave.pdu.items() if key not in ("signatures", "hashes")}
    fake = {"signatures": {"peer.test": {eve.peer.key.key_id: "a" * 86}}}
    for pdu in (bare, {**bare, **fake}, {**leave.pdu, **fake}):
        await eve.peer.put("one.test", target, pdu, "M_FORBIDDEN")
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "invite"


async def test_advisory_02_leave_for_another_room_than_its_path_is_refused(net: Network) -> None:
    """The room and the event of the path must be those of the event."""
    alice, room, eve = await invited(net)
    other = await alice.create_room(preset="public_chat")
    leave = await eve.signed("leave", room, EVE)
    target = f"{FEDERATION}/v2/send_leave/{segment(other)}/{segment(leave.event_id)}"
    await eve.peer.put("one.test", target, leave.pdu, "M_INVALID_PARAM")
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "invite"


async def test_leave_sent_by_another_server_is_refused(net: Network) -> None:
    """Only the user's own server may let them leave."""
    alice, room, eve = await invited(net)
    leave = await eve.signed("leave", room, EVE)
    await Visitor(net.peer("mallory.test"), "one.test").send("leave", leave, "M_FORBIDDEN")
    assert (await alice.state(room, "m.room.member", EVE))["membership"] == "invite"


async def test_what_is_no_leave_is_refused(net: Network) -> None:
    """Kicks and other memberships do not come this way."""
    alice, room, eve = await invited(net)
    template = await eve.template("leave", room, EVE)
    for changes in ({"state_key": alice.user_id}, {"content": {"membership": "join"}}, {"type": "m.room.name"}):
        await eve.send("leave", eve.seal(template, **changes), "M_INVALID_PARAM")
    await eve.send("leave", eve.seal(template, content={"bad": 1.5}), "M_BAD_JSON")
    current = state.current(net["one.test"].ctx.db, RoomId(room), "m.room.member", EVE)
    assert current is not None
    assert current.membership == "invite"


async def test_leave_of_a_server_that_the_acl_denies_is_forbidden(net: Network) -> None:
    """Server ACLs guard both endpoints."""
    alice, room, eve = await invited(net)
    leave = await eve.signed("leave", room, EVE)
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["peer.*"]})
    await eve.template("leave", room, EVE, "M_FORBIDDEN")
    await eve.send("leave", leave, "M_FORBIDDEN")


async def test_leave_sent_again_is_answered_again(net: Network) -> None:
    """Who has lost the answer asks once more."""
    _, room, eve = await invited(net)
    leave = await eve.signed("leave", room, EVE)
    assert await eve.send("leave", leave) == await eve.send("leave", leave) == {}
