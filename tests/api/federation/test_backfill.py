"""History and missing events, as other servers ask for them."""

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


def backfill(room: str, *event_ids: str, limit: object = 100) -> str:
    """Return where history is asked for."""
    named = "".join(f"v={segment(event_id)}&" for event_id in event_ids)
    return f"{FEDERATION}/v1/backfill/{segment(room)}?{named}limit={limit}"


def missing(room: str) -> str:
    """Return where missing events are asked for."""
    return f"{FEDERATION}/v1/get_missing_events/{segment(room)}"


def ids(pdus: list[dict[str, Any]], version: str = "12") -> list[str]:
    """Return the ids of events."""
    return [Event.from_pdu(pdu, ROOM_VERSIONS[version]).event_id for pdu in pdus]


@pytest.mark.parametrize("version", SUPPORTED)
async def test_backfill_begins_with_the_named_event_and_goes_back_to_the_first(net: Network, version: str) -> None:
    """Newest first, each with its id, in every room version."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat", room_version=version)
    sent = [await alice.send(room, str(number)) for number in range(5)]
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    answer = await eve.peer.get("one.test", backfill(room, sent[-1]))
    assert answer["origin"] == "one.test"
    found = ids(answer["pdus"], version)
    assert found[:5] == sent[::-1]
    assert answer["pdus"][-1]["type"] == "m.room.create"
    few = await eve.peer.get("one.test", backfill(room, sent[-1], limit=2))
    assert ids(few["pdus"], version) == [sent[4], sent[3]]


async def test_backfill_is_bounded(net: Network) -> None:
    """However much is asked for, a hundred events come."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    for number in range(110):
        last = await alice.send(room, str(number))
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    answer = await eve.peer.get("one.test", backfill(room, last, limit=10**12))
    assert len(answer["pdus"]) == 100


async def test_backfill_without_event_or_limit_is_refused(net: Network) -> None:
    """Both are required."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    base = f"{FEDERATION}/v1/backfill/{segment(room)}"
    await eve.peer.get("one.test", f"{base}?limit=3", "M_MISSING_PARAM")
    await eve.peer.get("one.test", f"{base}?v={segment(joined.event.event_id)}", "M_MISSING_PARAM")
    await eve.peer.get("one.test", f"{base}?v=x&limit=3", "M_INVALID_PARAM")
    await eve.peer.get("one.test", backfill(room, joined.event.event_id, limit="x"), "M_INVALID_PARAM")
    await eve.peer.get("one.test", backfill(room, *["$" + "x" * 43] * 101), "M_INVALID_PARAM")


async def test_advisory_03_backfill_gives_events_of_the_room_to_servers_in_it(net: Network) -> None:
    """Events of other rooms are passed over; strangers and servers that the ACL denies are refused."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    private = await alice.create_room(preset="private_chat")
    secret = await alice.send(private, "hello")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    assert (await eve.peer.get("one.test", backfill(room, secret)))["pdus"] == []
    await eve.peer.get("one.test", backfill(private, secret), "M_FORBIDDEN")
    await eve.peer.get("one.test", backfill("!unknown:one.test", secret), "M_NOT_FOUND")
    await net.peer("stranger.test").get("one.test", backfill(room, joined.event.event_id), "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["peer.test"]})
    await eve.peer.get("one.test", backfill(room, joined.event.event_id), "M_FORBIDDEN")


async def test_advisory_03_backfill_redacts_what_the_server_may_not_see(net: Network) -> None:
    """The graph stays whole, the messages from before the join lose their content."""
    alice = await net["one.test"].register("alice")
    visibility = [{"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=visibility)
    before = await alice.send(room, "secret")
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    after = await alice.send(room, "hello")
    pdus = (await eve.peer.get("one.test", backfill(room, after, limit=3)))["pdus"]
    contents = dict(zip(ids(pdus), [pdu["content"] for pdu in pdus], strict=True))
    assert contents[before] == {}
    assert contents[after]["body"] == "hello"


async def test_missing_events_are_those_between_oldest_first(net: Network) -> None:
    """Neither the latest nor the earliest ones, and nothing below them."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    sent = [await alice.send(room, str(number)) for number in range(6)]
    body = {"latest_events": [sent[5]], "earliest_events": [joined.event.event_id]}
    answer = await eve.peer.post("one.test", missing(room), body)
    assert ids(answer["events"]) == sent[:5]
    answer = await eve.peer.post("one.test", missing(room), {**body, "limit": 2})
    assert ids(answer["events"]) == sent[3:5]
    depth = (await eve.peer.get("one.test", backfill(room, sent[3], limit=1)))["pdus"][0]["depth"]
    answer = await eve.peer.post("one.test", missing(room), {**body, "min_depth": depth})
    assert ids(answer["events"]) == sent[3:5]
    assert (
        len((await eve.peer.post("one.test", missing(room), {**body, "earliest_events": [], "limit": 500}))["events"])
        <= 20
    )


async def test_advisory_03_missing_events_are_given_to_servers_in_the_room_only(net: Network) -> None:
    """And of that room only."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    private = await alice.create_room(preset="private_chat")
    secret = await alice.send(private, "hello")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    body = {"latest_events": [secret], "earliest_events": []}
    assert await eve.peer.post("one.test", missing(room), body) == {"events": []}
    await eve.peer.post("one.test", missing(private), body, "M_FORBIDDEN")
    body = {"latest_events": [joined.event.event_id], "earliest_events": []}
    await net.peer("stranger.test").post("one.test", missing(room), body, "M_FORBIDDEN")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["peer.test"]})
    await eve.peer.post("one.test", missing(room), body, "M_FORBIDDEN")


async def test_advisory_03_missing_events_are_redacted_where_the_server_may_not_see_them(net: Network) -> None:
    """As for history."""
    alice = await net["one.test"].register("alice")
    visibility = [{"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=visibility)
    before = await alice.send(room, "secret")
    eve = Visitor(net.peer("peer.test"), "one.test")
    joined = await eve.join(room, EVE)
    body = {"latest_events": [joined.event.event_id], "earliest_events": [], "limit": 1}
    [pdu] = (await eve.peer.post("one.test", missing(room), body))["events"]
    assert (ids([pdu]), pdu["content"]) == ([before], {})


async def test_missing_events_of_bad_requests_are_refused(net: Network) -> None:
    """Wrong types, too many names."""
    alice = await net["one.test"].register("alice")
    room = await alice.create_room(preset="public_chat")
    eve = Visitor(net.peer("peer.test"), "one.test")
    await eve.join(room, EVE)
    good: dict[str, Any] = {"latest_events": [], "earliest_events": []}
    for body, errcode in (
        ({**good, "latest_events": "x"}, "M_BAD_JSON"),
        ({**good, "earliest_events": [7]}, "M_BAD_JSON"),
        ({**good, "latest_events": ["x"]}, "M_INVALID_PARAM"),
        ({**good, "limit": "x"}, "M_BAD_JSON"),
        ({**good, "limit": -1}, "M_INVALID_PARAM"),
        ({**good, "latest_events": ["$" + "x" * 43] * 200}, "M_INVALID_PARAM"),
    ):
        await eve.peer.post("one.test", missing(room), body, errcode)
    for body in ({}, good):  # some servers leave out what is empty
        assert await eve.peer.post("one.test", missing(room), body) == {"events": []}
