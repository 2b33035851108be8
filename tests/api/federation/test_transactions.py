"""Transactions of other servers: what is answered, and what comes of the events in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.config.schema import Rate, RateLimits
from conduit.database import trees
from conduit.protocol.ids import EventId
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.rooms import members, state, timeline
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.guest import Guest, worked_off
from tests.support.scripted_room import ScriptedRoom


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


@pytest.mark.parametrize("version", SUPPORTED)
async def test_events_of_every_room_version_are_shown_to_members(net: Network, version: str) -> None:
    """A message and a change of state of another server's user reach clients in order."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version=version)
    guest = await Guest.enter(net, room)
    since = (await alice.sync())["next_batch"]
    events = [
        guest.message("one"),
        guest.state_event("m.room.member", {"membership": "join", "displayname": "Eve"}, key=guest.user_id),
        guest.message("two"),
    ]
    answer = await guest.send(*events)
    assert list(answer.values()) == [{}, {}, {}]
    joined = (await alice.sync(since=since))["rooms"]["join"][room]
    shown = [event["content"].get("body") or event["content"]["displayname"] for event in joined["timeline"]["events"]]
    assert shown == ["one", "Eve", "two"]
    assert joined["unread_notifications"]["notification_count"] == 2
    assert (await alice.state(room, "m.room.member", guest.user_id))["displayname"] == "Eve"


async def test_events_in_the_wrong_order_are_put_right(net: Network) -> None:
    """One that follows another of the same transaction waits for it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    events = [guest.message(str(number)) for number in range(5)]
    since = (await alice.sync())["next_batch"]
    await guest.send(*events[::-1])
    shown = (await alice.sync(since=since))["rooms"]["join"][room]["timeline"]["events"]
    assert [event["event_id"] for event in shown] == [event.event_id for event in events]


async def test_transaction_sent_again_is_answered_alike_and_has_no_effect(net: Network) -> None:
    """The answer was lost, so the server asks once more."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    first, second = guest.message("one"), guest.message("two")
    body = {"origin": "peer.test", "origin_server_ts": 1, "pdus": [first.pdu], "edus": []}
    target = "/_matrix/federation/v1/send/same"
    answer = await guest.peer.put("one.test", target, body)
    again = await guest.peer.put("one.test", target, {**body, "pdus": [second.pdu]})
    await worked_off(net["one.test"])
    assert answer == again == {"pdus": {first.event_id: {}}}
    assert timeline.position(net["one.test"].ctx.db, first.event_id) is not None
    assert timeline.position(net["one.test"].ctx.db, second.event_id) is None


async def test_transaction_with_too_much_or_of_wrong_shape_is_refused(net: Network) -> None:
    """At most 50 PDUs and 100 EDUs, both arrays."""
    peer = net.peer("peer.test")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"pdus": [{}] * 51}, "M_BAD_JSON"),
        ({"edus": [{}] * 101}, "M_BAD_JSON"),
        ({"pdus": {}}, "M_BAD_JSON"),
    ]
    for number, (change, code) in enumerate(cases):
        body = {"origin": "peer.test", "origin_server_ts": 1, "pdus": [], "edus": [], **change}
        await peer.put("one.test", f"/_matrix/federation/v1/send/{number}", body, code)


async def test_events_that_are_none_are_passed_over(net: Network) -> None:
    """What is no event at all changes nothing, and the rest of the transaction counts."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    good = guest.message("good")
    bad = [1, "x", None, [], {}, {"room_id": room}, {"room_id": 5, "event_id": "$x:y"}, {**good.pdu, "depth": -1}]
    answer = await guest.send(*bad, good)  # type: ignore[arg-type]
    assert answer[good.event_id] == {}
    assert timeline.position(net["one.test"].ctx.db, good.event_id) is not None


@pytest.mark.parametrize("version", ["5", "10"])
async def test_advisory_07_odd_numbers_in_one_event_poison_nothing(net: Network, version: str) -> None:
    """Floats and integers beyond 2^53 drop an event where its room's version forbids them, and nothing else; older rooms have them."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version=version)
    guest = await Guest.enter(net, room)
    odd = [
        guest.event("m.room.message", {"msgtype": "m.text", "body": "odd", "x": value}, keep=False)
        for value in (1.5, 2**60, -(2**60), 1e300)
    ]
    odd += [guest.event("m.room.message", {"msgtype": "m.text", "body": "odd", "x": 2**64 - 1}, keep=False)]
    good = guest.message("good")
    answer = await guest.send(*odd, good)
    assert answer[good.event_id] == {}
    db = net["one.test"].ctx.db
    assert timeline.position(db, good.event_id) is not None
    taken = [timeline.position(db, event.event_id) is not None for event in odd]
    assert taken == [*[version == "5"] * 4, False]
    later = guest.message("later")
    await guest.send(later)
    assert timeline.position(db, later.event_id) is not None
    assert (await alice.sync())["rooms"]["join"][room]["timeline"]["events"][-1]["event_id"] == later.event_id


@pytest.mark.parametrize("depth", [0, 2**53 - 1])
async def test_advisory_07_any_depth_leaves_the_room_usable(net: Network, depth: int) -> None:
    """An event as deep as can be, or not deep at all: what comes after it, ours and theirs, is sent and accepted."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version="10")
    guest = await Guest.enter(net, room)
    await guest.send(guest.message("odd", depth=depth))
    sent = await alice.send(room, "ours")
    ours = timeline.event(net["one.test"].ctx.db, EventId(sent))
    assert ours is not None
    assert ours.depth == min(depth + 1, 2**53 - 1)
    guest.learn(ours)
    theirs = guest.message("theirs", prev=[ours], depth=5)
    await guest.send(theirs)
    assert timeline.position(net["one.test"].ctx.db, theirs.event_id) is not None


async def test_events_for_unknown_rooms_are_answered_with_an_error(net: Network) -> None:
    """Of a room that nobody here is in, nothing is taken."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    event = guest.message("hello")
    await alice.leave(room)
    answer = await guest.send(event)
    assert "error" in answer[event.event_id]
    foreign = guest.peer.event("10", "m.room.message", sender=guest.user_id, content={}, room_id="!un:known", prev=[])
    answer = await guest.send(foreign)
    assert "error" in answer[foreign.event_id]


async def test_events_of_servers_that_the_room_denies_are_answered_with_an_error(net: Network) -> None:
    """The access control list holds for each event by itself."""
    alice = await net["one.test"].register("alice")
    closed = await alice.create_room(preset="public_chat")
    opened = await alice.create_room(preset="public_chat")
    inside, outside = await Guest.enter(net, opened), await Guest.enter(net, closed)
    await alice.put(f"/rooms/{segment(closed)}/state/m.room.server_acl/", {"allow": ["*"], "deny": ["PEER.*"]})
    good, bad = inside.message("in"), outside.message("out")
    answer = await inside.send(bad, good)
    assert answer[good.event_id] == {}
    assert "error" in answer[bad.event_id]
    assert timeline.position(net["one.test"].ctx.db, bad.event_id) is None


async def test_wrongly_signed_events_are_dropped(net: Network) -> None:
    """Signed with another key, not at all, or by another server than the sender's; their sender hears of it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    mallory = net.peer("mallory.test")
    forged = guest.message("forged", key=mallory.key, keep=False)
    unsigned = guest.message("unsigned", keep=False)
    spoofed = guest.message("spoofed", sender=alice.user_id, keep=False)
    good = guest.message("good")
    answer = await guest.send(forged, {**unsigned.pdu, "signatures": {}}, spoofed, good)
    assert [event_id for event_id, result in answer.items() if "error" not in result] == [good.event_id]
    assert "not validly signed" in answer[forged.event_id]["error"]
    db = net["one.test"].ctx.db
    for event in (forged, unsigned, spoofed):
        assert timeline.meta(db, event.event_id) is None
    assert timeline.position(db, good.event_id) is not None


async def test_event_with_a_wrong_content_hash_is_taken_redacted(net: Network) -> None:
    """Somebody on the way has changed the content: what its signature does not cover is not shown."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    event = guest.message("true words")
    await guest.send({**event.pdu, "content": {"msgtype": "m.text", "body": "false words"}})
    shown = await alice.get(f"/rooms/{segment(room)}/event/{segment(event.event_id)}")
    assert shown["content"] == {}


async def test_leave_of_a_remote_user_is_counted_and_their_typing_ends(net: Network) -> None:
    """Memberships, counts, servers in the room, and the notice that somebody types follow the event."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    ctx = net["one.test"].ctx
    ctx.typing.start(guest.join.room_id, guest.join.sender, 30_000)
    await guest.send(guest.state_event("m.room.member", {"membership": "leave"}, key=guest.user_id))
    assert members.joined(ctx.db, guest.room_id) == {alice.user_id}
    assert members.servers(ctx.db, guest.room_id) == ["one.test"]
    assert ctx.typing.users(guest.room_id) == []


async def test_invite_of_a_local_user_in_a_room_that_others_here_are_in_is_shown(net: Network) -> None:
    """It comes as an event of the room, and makes an invite with stripped state."""
    alice = await net["one.test"].register("alice")
    bob = await net["one.test"].register("bob")
    levels = {"invite": 0}
    room = await alice.create_room(preset="public_chat", name="Club", power_level_content_override=levels)
    guest = await Guest.enter(net, room)
    await guest.send(guest.state_event("m.room.member", {"membership": "invite"}, key=bob.user_id))
    invite = (await bob.sync())["rooms"]["invite"][room]["invite_state"]["events"]
    assert {"m.room.name", "m.room.member"} <= {event["type"] for event in invite}
    await bob.join(room)
    assert state.current(net["one.test"].ctx.db, guest.room_id, "m.room.member", bob.user_id) is not None


async def test_redaction_without_effect_reaches_no_client(net: Network) -> None:
    """A user of another server without the power redacts: nobody is told, neither by /sync nor by /messages, and what is redacted stays."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    guest = await Guest.enter(net, room)
    secret = await alice.send(room, "stays")
    guest.learn(timeline.event(net["one.test"].ctx.db, EventId(secret)) or guest.tip)
    since = (await alice.sync())["next_batch"]
    redaction = guest.event("m.room.redaction", {"redacts": secret}, redacts=secret)
    await guest.send(redaction)
    answer = await alice.sync(since=since)
    assert room not in answer.get("rooms", {}).get("join", {})
    chunk = (await alice.get(f"/rooms/{segment(room)}/messages?dir=b"))["chunk"]
    assert redaction.event_id not in {event["event_id"] for event in chunk}
    event = await alice.get(f"/rooms/{segment(room)}/event/{segment(secret)}")
    assert event["content"]["body"] == "stays"
    await alice.get(f"/rooms/{segment(room)}/event/{segment(redaction.event_id)}", "M_NOT_FOUND")


async def test_advisory_25_ephemeral_data_counts_as_requests() -> None:
    """Ten pieces count as one request: who sends nothing else is slowed down as who sends requests is."""
    rates = RateLimits(federation=Rate(per_second=1, burst=20))
    async with network("one.test", rate_limits=rates) as net:
        peer = net.peer("two.test")
        edus = [{"edu_type": "m.presence", "content": {"push": []}}] * 90
        for number in range(2):
            await peer.put("one.test", f"/_matrix/federation/v1/send/{number}", {"pdus": [], "edus": edus})
        await peer.put("one.test", "/_matrix/federation/v1/send/3", {"pdus": [], "edus": edus}, "M_LIMIT_EXCEEDED")
        net.clock.jump(30)
        await peer.put("one.test", "/_matrix/federation/v1/send/3", {"pdus": [], "edus": edus})


async def test_advisory_25_of_servers_that_share_no_room_nothing_is_kept(net: Network) -> None:
    """Whoever has a domain has any number of names: transactions under each of them leave no trace, nor do messages for devices that are not here."""
    alice = await net["one.test"].register("alice")
    guest = await Guest.enter(net, await alice.create_room(preset="public_chat"))
    db = net["one.test"].ctx.db
    before = list(trees.received_transaction.keys(db))
    lost = {"sender": "@a:h0.evil.test", "type": "x", "message_id": "1", "messages": {"@nobody:one.test": {"*": {}}}}
    elsewhere = ScriptedRoom(net.peer("h0.evil.test")).say("@creator:h0.evil.test", "of no interest")
    for number in range(5):
        edus = [{"edu_type": "m.direct_to_device", "content": {**lost, "sender": f"@a:h{number}.evil.test"}}]
        answer = await net.peer(f"h{number}.evil.test").send("one.test", [elsewhere], edus)
        assert all("error" in found for found in answer["pdus"].values())
    assert list(trees.received_transaction.keys(db)) == before
    assert trees.todevice_received.first(db) is None
    await guest.send(guest.message("hello"))
    assert list(trees.received_transaction.keys(db)) == ["peer.test"]
