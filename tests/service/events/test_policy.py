"""Policy servers: nothing is sent without their signature, and nothing shown that others send without it."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.hashes import essential_bytes
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.signing import SigningKey
from conduit.service.events import policy
from conduit.service.rooms import state, timeline
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import Visitor

SIGN = "/_matrix/policy/v1/sign"
KEY = SigningKey(b"p" * 32, "policy_server")
VERSION = ROOM_VERSIONS["12"]
GUARD, EVE = "@guard:policy.test", "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


def signing(incoming: Any) -> Any:
    """Sign whatever is asked about."""
    event = Event.from_pdu(incoming.json(), VERSION)
    return {"policy.test": {policy.KEY_ID: KEY.sign(essential_bytes(event.pdu, VERSION))}}


async def guarded(net: Network) -> tuple[Any, str, Visitor]:
    """Return a user, her room with a policy server that signs everything, and that server."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version="12")
    guard = Visitor(net.peer("policy.test"), "one.test")
    guard.peer.on("POST", SIGN, signing)
    guard.peer.on("PUT", "/_matrix/federation/v1/send/.*", {"pdus": {}})
    await guard.join(room, GUARD)
    await alice.set_state(room, policy.TYPE, {"via": "policy.test", "public_keys": {"ed25519": KEY.public_key}})
    return alice, room, guard


def asked(guard: Visitor) -> list[Any]:
    """Return what the policy server was asked about."""
    return [incoming.json() for incoming in guard.peer.received if incoming.path == SIGN]


async def test_sent_event_carries_the_signature_of_the_policy_server(net: Network) -> None:
    """It is asked with the finished event; its signature joins ours."""
    alice, room, guard = await guarded(net)
    assert asked(guard) == [], "the event that names it is exempt"
    event_id = await alice.send(room, "hello")
    [pdu] = asked(guard)
    assert pdu["content"]["body"] == "hello"
    event = timeline.event(net["one.test"].ctx.db, event_id)
    assert event is not None
    assert set(event.pdu["signatures"]) == {"one.test", "policy.test"}
    await alice.set_state(room, "m.room.topic", {"topic": "guarded"})
    assert len(asked(guard)) == 2


@pytest.mark.parametrize("version", ["11", "12"])
async def test_upgrade_of_a_guarded_room_is_signed_as_a_whole(net: Network, version: str) -> None:
    """Each event that closes the old room carries the signature; a refusal leaves both rooms as they were."""
    alice, room, guard = await guarded(net)
    ctx = net["one.test"].ctx
    before = len(asked(guard))
    upgrading = f"/rooms/{segment(room)}/upgrade"
    guard.peer.on("POST", SIGN, (400, {"errcode": "M_FORBIDDEN", "error": "This room stays"}))
    await alice.post(upgrading, {"new_version": version}, expect="M_FORBIDDEN")
    assert state.current(ctx.db, RoomId(room), "m.room.tombstone") is None
    guard.peer.on("POST", SIGN, signing)
    net.clock.jump(5)
    replacement = (await alice.post(upgrading, {"new_version": version}))["replacement_room"]
    kinds = ("m.room.tombstone", "m.room.power_levels")
    assert {pdu["type"] for pdu in asked(guard)[before:]} == set(kinds)
    for kind in kinds:
        event = state.current(ctx.db, RoomId(room), kind)
        assert event is not None
        assert set(event.pdu["signatures"]) == {"one.test", "policy.test"}
    assert (await alice.state(room, "m.room.tombstone"))["replacement_room"] == replacement
    await alice.send(replacement, "hello")


async def test_refusal_of_the_policy_server_is_the_clients_answer(net: Network) -> None:
    """In its own words; the event is nowhere."""
    alice, room, guard = await guarded(net)
    guard.peer.on("POST", SIGN, (400, {"errcode": "M_FORBIDDEN", "error": "This looks like spam"}))
    path = f"/rooms/{segment(room)}/send/m.room.message/t"
    refusal = await alice.put(path, {"msgtype": "m.text", "body": "spam"}, 403)
    assert refusal == {"errcode": "M_FORBIDDEN", "error": "This looks like spam"}
    assert "spam" not in str(await alice.messages(room))
    await alice.set_state(room, policy.TYPE, {})
    await alice.send(room, "free")


@pytest.mark.parametrize("answer", [{}, {"policy.test": {}}, {"policy.test": {policy.KEY_ID: "a" * 86}}, {"x.test": 7}])
async def test_answer_without_a_good_signature_counts_as_refusal(net: Network, answer: Any) -> None:
    """Nothing is sent on an empty or wrong answer."""
    alice, room, guard = await guarded(net)
    guard.peer.on("POST", SIGN, answer)
    await alice.send(room, "hello", expect="M_FORBIDDEN")


async def test_unreachable_policy_server_keeps_events_from_being_sent(net: Network) -> None:
    """The client hears that it cannot be reached, and may try again."""
    alice, room, _ = await guarded(net)
    net.board.down("policy.test")
    await alice.send(room, "hello", expect=502)
    net.board.heal()
    net.clock.jump(3600)
    await alice.send(room, "hello")


async def test_policy_server_that_is_not_in_the_room_has_no_say(net: Network) -> None:
    """Nobody is made one by others' wish; nor by content that is no policy."""
    alice, room, guard = await guarded(net)
    await guard.send("leave", await guard.signed("leave", room, GUARD))
    before = len(asked(guard))
    await alice.send(room, "hello")
    assert len(asked(guard)) == before
    assert policy.of_room(net["one.test"].ctx.db, RoomId(room)) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"via": "policy.test"}, {"via": 7, "public_keys": {"ed25519": "x"}}, {"via": "policy.test", "public_keys": {"ed25519": 7}},
     {"via": "policy.test", "public_keys": []}, {"via": "not a name", "public_keys": {"ed25519": "x"}}],
)  # fmt: skip
async def test_policy_of_another_shape_is_none(net: Network, content: Any) -> None:
    """A server name and a key are needed."""
    alice, room, _ = await guarded(net)
    await alice.set_state(room, policy.TYPE, content)
    assert policy.of_room(net["one.test"].ctx.db, RoomId(room)) is None
    await alice.send(room, "hello")


async def test_room_may_move_on_while_the_policy_server_thinks(net: Network) -> None:
    """Events that come in between are followed by the one that waited, which is signed anew; none is lost."""
    alice, room, guard = await guarded(net)
    server = net["one.test"]
    bob = await server.register("bob")
    await bob.join(room)
    waited: list[str] = []

    async def slow(incoming: Any) -> Any:
        if incoming.json()["content"].get("body") == "first" and not waited:
            waited.append(await bob.send(room, "second"))
        return signing(incoming)

    guard.peer.on("POST", SIGN, slow)
    first = await alice.send(room, "first")
    event = timeline.event(server.ctx.db, first)
    assert event is not None
    assert event.prev_events == (waited[0],)
    assert policy.is_signed(event, policy.Policy("policy.test", KEY.public_key))  # type: ignore[arg-type]


async def test_repeated_state_asks_nobody(net: Network) -> None:
    """What changes nothing is not sent, and needs no signature."""
    alice, room, guard = await guarded(net)
    one = await alice.set_state(room, "m.room.topic", {"topic": "same"})
    count = len(asked(guard))
    assert await alice.set_state(room, "m.room.topic", {"topic": "same"}) == one
    assert len(asked(guard)) == count


async def joined_by_eve(net: Network) -> tuple[Any, str, Visitor, Visitor, Any]:
    """Return a guarded room that a third server has joined."""
    alice, room, guard = await guarded(net)
    eve = Visitor(net.peer("peer.test"), "one.test")
    return alice, room, guard, eve, await eve.join(room, EVE)


async def _received(net: Network, alice: Any, event: Event) -> bool:
    """Wait until an event was decided on; tell whether it is in the timeline."""
    db = net["one.test"].ctx.db
    for _ in range(500):
        if timeline.meta(db, event.event_id) is not None:
            break
        await alice.get("/account/whoami")
    return timeline.position(db, event.event_id) is not None


async def test_event_from_elsewhere_without_signature_is_asked_about(net: Network) -> None:
    """With the policy server's approval it is shown; without, it is soft-failed."""
    alice, room, guard, eve, joined = await joined_by_eve(net)
    good = await eve.message(joined, EVE, "fine")
    assert await _received(net, alice, good)
    assert "fine" in [pdu["content"].get("body") for pdu in asked(guard)]
    guard.peer.on("POST", SIGN, (400, {"errcode": "M_FORBIDDEN", "error": "Spam"}))
    bad = await eve.message(joined, EVE, "spam", after=good)
    assert not await _received(net, alice, bad)
    assert "spam" not in str(await alice.messages(room))
    assert state.after(net["one.test"].ctx.db, bad.event_id) is not None, "it is part of the graph all the same"


async def test_event_from_elsewhere_with_signature_needs_no_asking(net: Network) -> None:
    """The key in the room's state suffices; the policy server may be away."""
    alice, room, _, eve, joined = await joined_by_eve(net)
    net.board.down("policy.test")
    template = await eve.template("leave", room, EVE)
    pdu = {**template["event"], "content": {"msgtype": "m.text", "body": "signed"}, "type": "m.room.message"}
    del pdu["state_key"]
    # What authorises a message is what authorises a leave.
    event = eve.seal({"room_version": "12", "event": pdu})
    signature = KEY.sign(essential_bytes(event.pdu, VERSION))
    signatures = {**event.pdu["signatures"], "policy.test": {policy.KEY_ID: signature}}
    await eve.peer.send("one.test", [{**event.pdu, "signatures": signatures}])
    assert await _received(net, alice, event)
    assert joined.event.sender == EVE


async def test_policy_server_that_is_this_server_refuses(net: Network) -> None:
    """It signs for nobody, itself included; the room can be freed from that."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version="12")
    await alice.set_state(room, policy.TYPE, {"via": "one.test", "public_keys": {"ed25519": KEY.public_key}})
    await alice.send(room, "hello", expect="M_FORBIDDEN")
    await alice.set_state(room, policy.TYPE, {})
    await alice.send(room, "hello")


async def test_invite_of_another_servers_user_is_signed_before_that_server_sees_it(net: Network) -> None:
    """It carries the policy server's signature already when it is sent for countersigning."""
    alice, room, guard = await guarded(net)
    eve = Visitor(net.peer("peer.test"), "one.test")
    eve.sign_invites()
    await alice.invite(room, EVE)
    [sent] = [incoming.json()["event"] for incoming in eve.peer.received if "/invite/" in incoming.path]
    assert set(sent["signatures"]) == {"one.test", "policy.test"}
    guard.peer.on("POST", SIGN, (400, {"errcode": "M_FORBIDDEN", "error": "Spam"}))
    await alice.invite(room, "@other:peer.test", "M_FORBIDDEN")
    assert len([incoming for incoming in eve.peer.received if "/invite/" in incoming.path]) == 1
