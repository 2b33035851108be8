"""Tests of the resident server's part when users of other servers change their membership."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.errors import BadJson, Forbidden, InvalidParam, MatrixError, NotFound
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event, seal
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.protocol.signing import SigningKey
from conduit.service.actions import resident
from conduit.service.rooms import partial
from conduit.service.rooms.partial import Partial
from tests.support.rooms import ALICE, World

EVE = UserId("@eve:peer.test")
PEER = ServerName("peer.test")
KEY = SigningKey(b"e" * 32, "peer")


def own_event(world: World, room_id: RoomId, **changes: Any) -> Event:
    """Return a join of the peer's user, signed by the peer."""
    template = resident.template(world.ctx, PEER, room_id, EVE, "join")
    return seal({**template["event"], **changes}, ROOM_VERSIONS[template["room_version"]], PEER, KEY)


def read(event: Event, room_id: RoomId, *, membership: str = "join", pdu: Any = None) -> Event:
    """Read an event as the peer's own."""
    return resident.read_own(pdu or event.pdu, event.version, PEER, room_id, event.event_id, membership)


def test_template_stands_on_what_is_newest_and_is_not_signed() -> None:
    """It cites the room's leaves, lies below them, and is nobody's yet."""
    world = World()
    room_id = world.create()
    last = world.say(room_id, ALICE, "hello")
    event = resident.template(world.ctx, PEER, room_id, EVE, "join")["event"]
    assert event["prev_events"] == [last.event_id]
    assert event["depth"] == last.depth + 1
    assert not {"signatures", "hashes", "event_id"} & event.keys()
    assert (event["sender"], event["state_key"], event["room_id"]) == (EVE, EVE, room_id)


def test_room_whose_members_are_still_to_come_is_not_offered() -> None:
    """A server that has only just joined cannot tell others of the room, and does not know who is banned; who is known to be in it may leave."""
    world = World()
    room_id = world.create()
    world.join(room_id, EVE)
    with world.db.batch() as batch:
        partial.begin(batch, room_id, Partial(EventId("$x"), frozenset({PEER}), (PEER,)))
    for membership in ("join", "knock"):
        with pytest.raises(NotFound):
            resident.template(world.ctx, PEER, room_id, EVE, membership)
    with pytest.raises(NotFound):
        resident.template(world.ctx, PEER, room_id, UserId(f"@unknown:{PEER}"), "leave")
    assert resident.template(world.ctx, PEER, room_id, EVE, "leave")["event"]["content"] == {"membership": "leave"}


def test_blocked_room_is_not_offered() -> None:
    """Nor is any other service in it."""
    world = World()
    room_id = world.create()
    with world.db.batch() as batch:
        trees.disabledroomids.put(batch, room_id, True)
    with pytest.raises(Forbidden):
        resident.require_resident(world.ctx, PEER, room_id)


def test_own_event_is_read() -> None:
    """What is right passes."""
    world = World()
    room_id = world.create()
    event = own_event(world, room_id)
    assert read(event, room_id) == event


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"type": "m.room.name"}, InvalidParam),
        ({"content": {"membership": "leave"}}, InvalidParam),
        ({"content": {}}, InvalidParam),
        ({"sender": "@other:elsewhere.test"}, Forbidden),
        ({"sender": "eve"}, InvalidParam),
        ({"depth": -1}, BadJson),
        ({"prev_events": "x"}, BadJson),
        ({"room_id": "!other:peer.test"}, InvalidParam),
        ({"event_id": "$x:peer.test"}, BadJson),
    ],
)
def test_what_is_not_the_servers_own_event_is_refused(changes: Any, error: type[MatrixError]) -> None:
    """Whatever is signed well."""
    world = World()
    room_id = world.create()
    event = own_event(world, room_id)
    pdu = {**event.pdu, **changes}
    with pytest.raises(error):
        read(event, room_id, pdu=pdu)


def test_advisory_02_own_event_of_another_room_or_id_is_refused() -> None:
    """What the request names and what the event is must be one."""
    world = World()
    room_id, other = world.create(), world.create()
    event = own_event(world, room_id)
    with pytest.raises(InvalidParam):
        read(event, other)
    with pytest.raises(InvalidParam):
        resident.read_own(event.pdu, event.version, PEER, room_id, EventId("$" + "x" * 43), "join")


@pytest.mark.parametrize("missing", ["signatures", "hashes"])
def test_own_event_without_hash_or_signature_is_forbidden(missing: str) -> None:
    """It is as if somebody else had sent it."""
    world = World()
    room_id = world.create()
    event = own_event(world, room_id)
    with pytest.raises(Forbidden):
        read(event, room_id, pdu={key: value for key, value in event.pdu.items() if key != missing})


def test_own_event_with_other_content_than_hashed_is_refused() -> None:
    """It would be accepted without that content, which its sender does not mean."""
    world = World()
    room_id = world.create()
    event = own_event(world, room_id)
    with pytest.raises(InvalidParam):
        read(event, room_id, pdu={**event.pdu, "content": {"membership": "join", "displayname": "Added"}})
