"""Single events, states of rooms and events by time, as other servers ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, SUPPORTED
from tests.support.client import segment
from tests.support.federation import Network, network
from tests.support.visitor import FEDERATION, Visitor

EVE = "@eve:peer.test"


@pytest.fixture
async def net() -> Any:
    """One homeserver, to which peers come."""
    async with network("one.test") as found:
        yield found


async def shared_room(net: Network, **options: Any) -> tuple[Any, str, Visitor]:
    """Return a user, her room with a message from before, and a server that has joined it."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", **options)
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    return alice, room, eve


def event_target(event_id: str) -> str:
    """Return where an event is asked for."""
    return f"{FEDERATION}/v1/event/{segment(event_id)}"


def state_target(room: str, event_id: str, kind: str = "state") -> str:
    """Return where the state before an event is asked for."""
    return f"{FEDERATION}/v1/{kind}/{segment(room)}?event_id={segment(event_id)}"


@pytest.mark.parametrize("version", SUPPORTED)
async def test_event_comes_as_it_was_signed(net: Network, version: str) -> None:
    """In every room version its id follows from what is answered, and the signature holds."""
    alice, room, eve = await shared_room(net, room_version=version)
    event_id = await alice.send(room, "hello")
    answer = await eve.peer.get("one.test", event_target(event_id))
    assert answer["origin"] == "one.test"
    [pdu] = answer["pdus"]
    event = Event.from_pdu(pdu, ROOM_VERSIONS[version])
    assert event.event_id == event_id
    assert event.content["body"] == "hello"
    assert ("event_id" in pdu) == (version in ("1", "2"))
    await net["one.test"].ctx.outbound.keyring.verify_json("one.test", event.redacted().pdu, valid_at_ms=None)


async def test_advisory_03_event_is_given_to_servers_in_the_room_only(net: Network) -> None:
    """A stranger, a server that has left before, one that the ACL denies: M_FORBIDDEN; unknown events are not found."""
    alice, room, eve = await shared_room(net)
    event_id = await alice.send(room, "hello")
    stranger = net.peer("stranger.test")
    await stranger.get("one.test", event_target(event_id), "M_FORBIDDEN")
    await eve.peer.get("one.test", event_target("$" + "x" * 43), "M_NOT_FOUND")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["peer.test"]})
    await eve.peer.get("one.test", event_target(event_id), "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"]})
    await eve.peer.get("one.test", event_target(event_id))
    await eve.send("leave", await eve.signed("leave", room, EVE))
    await eve.peer.get("one.test", event_target(event_id))
    after = await alice.send(room, "by ourselves")
    await eve.peer.get("one.test", event_target(after), "M_FORBIDDEN")


async def test_advisory_03_event_from_before_a_server_came_is_redacted_where_history_is_closed(net: Network) -> None:
    """With the visibilities joined and invited the message keeps its place and loses its content."""
    alice = await net["one.test"].register("alice")
    eve = Visitor(net.peer("peer.test"), "one.test")
    for setting in ("joined", "invited", "shared", "world_readable"):
        visibility = [
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": setting}}
        ]
        room = await alice.create_room(preset="public_chat", initial_state=visibility)
        before = await alice.send(room, "secret")
        await eve.join(room, EVE)
        after = await alice.send(room, "hello")
        [old] = (await eve.peer.get("one.test", event_target(before)))["pdus"]
        [new] = (await eve.peer.get("one.test", event_target(after)))["pdus"]
        is_open = setting in ("shared", "world_readable")
        assert old["content"] == ({"msgtype": "m.text", "body": "secret"} if is_open else {}), setting
        assert new["content"]["body"] == "hello"
        assert Event.from_pdu(old, ROOM_VERSIONS["10"]).type == "m.room.message"


async def test_event_while_invited_is_seen_where_the_visibility_says_so(net: Network) -> None:
    """A server whose user was invited already sees what was said since, with the visibility invited and not with joined."""
    alice = await net["one.test"].register("alice")
    eve = Visitor(net.peer("peer.test"), "one.test")
    eve.sign_invites()
    for setting, is_open in (("invited", True), ("joined", False)):
        visibility = [
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": setting}}
        ]
        room = await alice.create_room(preset="private_chat", initial_state=visibility)
        await alice.invite(room, EVE)
        event_id = await alice.send(room, "for the invited")
        await eve.join(room, EVE)
        [pdu] = (await eve.peer.get("one.test", event_target(event_id)))["pdus"]
        assert ("body" in pdu["content"]) == is_open


async def test_event_of_when_another_user_of_the_server_was_there_is_seen(net: Network) -> None:
    """What one of its users has seen, a server may have again, though that user has left."""
    alice = await net["one.test"].register("alice")
    eve = Visitor(net.peer("peer.test"), "one.test")
    visibility = [{"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=visibility)
    await eve.join(room, "@first:peer.test")
    event_id = await alice.send(room, "hello")
    await eve.send("leave", await eve.signed("leave", room, "@first:peer.test"))
    between = await alice.send(room, "alone")
    await eve.join(room, EVE)
    [seen] = (await eve.peer.get("one.test", event_target(event_id)))["pdus"]
    [unseen] = (await eve.peer.get("one.test", event_target(between)))["pdus"]
    assert (seen["content"].get("body"), unseen["content"]) == ("hello", {})


async def test_redacted_event_comes_redacted(net: Network) -> None:
    """In the answer for one event, and in states."""
    alice, room, eve = await shared_room(net)
    event_id = await alice.send(room, "oops")
    topic = await alice.set_state(room, "m.room.topic", {"topic": "oops"})
    for target in (event_id, topic):
        await alice.redact(room, target)
    [pdu] = (await eve.peer.get("one.test", event_target(event_id)))["pdus"]
    assert pdu["content"] == {}
    last = await alice.send(room, "end")
    state = (await eve.peer.get("one.test", state_target(room, last)))["pdus"]
    assert [event["content"] for event in state if event["type"] == "m.room.topic"] == [{}]


async def test_event_of_an_erased_user_comes_redacted(net: Network) -> None:
    """Who has asked for it when deactivating is not quoted any more."""
    alice, room, eve = await shared_room(net)
    bob = await net["one.test"].register("bob")
    await bob.join(room)
    event_id = await alice.send(room, "hello")
    identifier = {"type": "m.id.user", "user": "alice"}
    auth = {"type": "m.login.password", "identifier": identifier, "password": alice.password}
    await alice.post("/account/deactivate", {"auth": auth, "erase": True})
    [pdu] = (await eve.peer.get("one.test", event_target(event_id)))["pdus"]
    assert pdu["content"] == {}


# --- state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1", "3", "10", "12"])
async def test_state_is_that_before_the_event_with_all_that_authorises_it(net: Network, version: str) -> None:
    """Events and ids agree, the event itself is not in its own state, and the chain is closed."""
    alice, room, eve = await shared_room(net, room_version=version)
    kind = ROOM_VERSIONS[version]
    await alice.set_state(room, "m.room.name", {"name": "one"})
    name = await alice.set_state(room, "m.room.name", {"name": "two"})
    answer = await eve.peer.get("one.test", state_target(room, name))
    state = [Event.from_pdu(pdu, kind) for pdu in answer["pdus"]]
    chain = [Event.from_pdu(pdu, kind) for pdu in answer["auth_chain"]]
    assert [event.content["name"] for event in state if event.type == "m.room.name"] == ["one"]
    known = {event.event_id for event in chain}
    for event in (*state, *chain):
        assert set(event.auth_events) <= known
    ids = await eve.peer.get("one.test", state_target(room, name, "state_ids"))
    assert sorted(ids["pdu_ids"]) == sorted(event.event_id for event in state)
    assert sorted(ids["auth_chain_ids"]) == sorted(known)


@pytest.mark.parametrize("kind", ["state", "state_ids"])
async def test_state_needs_an_event_of_that_room(net: Network, kind: str) -> None:
    """Without one: M_MISSING_PARAM; unknown, or of another room: M_NOT_FOUND."""
    alice, room, eve = await shared_room(net)
    private = await alice.create_room(preset="private_chat")
    secret = await alice.send(private, "hello")
    await eve.peer.get("one.test", f"{FEDERATION}/v1/{kind}/{segment(room)}", "M_MISSING_PARAM")
    await eve.peer.get("one.test", state_target(room, "$" + "x" * 43, kind), "M_NOT_FOUND")
    await eve.peer.get("one.test", state_target(room, secret, kind), "M_NOT_FOUND")
    await eve.peer.get("one.test", state_target("!unknown:one.test", secret, kind), "M_NOT_FOUND")


@pytest.mark.parametrize("kind", ["state", "state_ids"])
async def test_advisory_03_state_is_given_to_servers_in_the_room_only(net: Network, kind: str) -> None:
    """A stranger, one that has left before, one that the ACL denies."""
    alice, room, eve = await shared_room(net)
    event_id = await alice.send(room, "hello")
    await net.peer("stranger.test").get("one.test", state_target(room, event_id, kind), "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["peer.*"]})
    await eve.peer.get("one.test", state_target(room, event_id, kind), "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"]})
    await eve.send("leave", await eve.signed("leave", room, EVE))
    await eve.peer.get("one.test", state_target(room, event_id, kind))
    after = await alice.send(room, "by ourselves")
    await eve.peer.get("one.test", state_target(room, after, kind), "M_FORBIDDEN")


# --- by time -------------------------------------------------------------------------------------------------------


async def test_event_closest_to_a_time_is_found_in_both_directions(net: Network) -> None:
    """As for clients, but for the whole server."""
    alice, room, eve = await shared_room(net)
    start = net.clock.now_ms()
    ids = []
    for number in range(3):
        net.clock.jump(10)
        ids.append(await alice.send(room, str(number)))
    base = f"{FEDERATION}/v1/timestamp_to_event/{segment(room)}"
    found = await eve.peer.get("one.test", f"{base}?ts={start + 12_000}&dir=f")
    assert found == {"event_id": ids[1], "origin_server_ts": start + 20_000}
    found = await eve.peer.get("one.test", f"{base}?ts={start + 12_000}&dir=b")
    assert found["event_id"] == ids[0]
    await eve.peer.get("one.test", f"{base}?ts={start + 99_000}&dir=f", "M_NOT_FOUND")
    await eve.peer.get("one.test", f"{base}?ts={start}", "M_MISSING_PARAM")
    await eve.peer.get("one.test", f"{base}?ts={start}&dir=x", "M_INVALID_PARAM")
    await net.peer("stranger.test").get("one.test", f"{base}?ts={start}&dir=f", "M_FORBIDDEN")


async def test_advisory_03_event_by_time_passes_over_what_the_server_may_not_see(net: Network) -> None:
    """Where history is closed, the closest event is one that the server's users were there for."""
    alice = await net["one.test"].register("alice")
    visibility = [{"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=visibility)
    start = net.clock.now_ms()
    net.clock.jump(10)
    await alice.send(room, "secret")
    net.clock.jump(10)
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    found = await eve.peer.get("one.test", f"{FEDERATION}/v1/timestamp_to_event/{segment(room)}?ts={start + 1}&dir=f")
    assert found["event_id"] == joined.event.event_id
