"""Tests of building events."""

from __future__ import annotations

import pytest

from conduit.protocol import event_auth, hashes, signing
from conduit.protocol.errors import TooLarge
from conduit.protocol.event_format import check_format
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.events.build import build, build_create
from conduit.service.rooms import leaves, state, timeline
from tests.support.rooms import ALICE, BOB, SERVER, World


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_event_of_a_room_has_the_format_of_its_version(version: str) -> None:
    """Shape, hash, signature, id and auth events are such that any other server would take the event."""
    world = World()
    room_id = world.create(version=version)
    world.join(room_id, BOB)
    target = world.say(room_id, BOB, "x")
    world.redact(room_id, ALICE, target.event_id)
    rules = state.version_of(world.db, room_id)
    key = world.ctx.signing_key
    for _, seen in timeline.scan(world.db, room_id):
        event = timeline.unredacted(world.db, seen.event_id)
        assert event is not None
        check_format(event.pdu, rules)
        assert hashes.has_valid_content_hash(event.pdu)
        signature = signing.signature_of(event.pdu, SERVER, key.key_id)
        assert signature is not None
        assert signing.verify_bytes(hashes.essential_bytes(event.pdu, rules), signature, key.public_key)
        assert Event.from_pdu(event.pdu, rules).event_id == event.event_id
        auth = timeline.events(world.db, event.auth_events)
        event_auth.check_auth_events(event, rules, auth)
        assert len(auth) == len(event.auth_events)


def test_event_cites_leaves_and_what_authorises_it() -> None:
    """A message of a member cites the room's one leaf, and as auth events exactly what the rules name."""
    world = World()
    room_id = world.create()
    join = world.join(room_id, BOB)
    message = world.say(room_id, BOB, "x")
    assert message.prev_events == (join.event_id,)
    assert message.depth == join.depth + 1
    cited = {(event.type, event.state_key) for event in timeline.events(world.db, message.auth_events)}
    assert cited == {("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", BOB)}


def test_room_id_of_version_12_is_the_hash_of_its_create_event() -> None:
    """The create event carries no room id, and nothing cites it as an auth event."""
    world = World()
    room_id = world.create(version="12")
    create = state.current(world.db, room_id, "m.room.create")
    assert create is not None
    assert "room_id" not in create.pdu
    assert room_id == "!" + create.event_id[1:]
    for _, event in timeline.scan(world.db, room_id):
        assert create.event_id not in event.auth_events


def test_early_versions_cite_ids_with_hashes() -> None:
    """In versions 1 and 2 an event cites others by id and reference hash, and has a chosen id."""
    world = World()
    room_id = world.create(version="1")
    (leaf,) = leaves.of(world.db, room_id)
    event = world.say(room_id, ALICE, "x")
    before = timeline.event(world.db, leaf.event_id)
    assert before is not None
    assert event.pdu["prev_events"] == [before.reference()]
    assert event.event_id.endswith(f":{SERVER}")


def test_redacts_stands_where_the_version_wants_it() -> None:
    """Before version 11 beside the content, from then on inside."""
    world = World()
    for version, inside in (("10", False), ("11", True)):
        room_id = world.create(version=version)
        target = world.say(room_id, ALICE, "x").event_id
        redaction = world.redact(room_id, ALICE, target)
        assert redaction.redacts == target
        assert ("redacts" in redaction.pdu) != inside
        assert ("redacts" in redaction.content) == inside


def test_time_is_the_clock_s_unless_it_is_given() -> None:
    """An application service may send for another time."""
    world = World()
    room_id = world.create()
    rules = state.version_of(world.db, room_id)
    given = build(world.ctx, world.db, room_id, rules, ALICE, "m.room.message", {}, origin_server_ts=12)
    assert given.origin_server_ts == 12
    create = build_create(world.ctx, room_id, rules, ALICE, {}, origin_server_ts=13)
    assert create.origin_server_ts == 13
    assert world.say(room_id, ALICE, "now").origin_server_ts > 1_600_000_000_000


def test_event_beyond_the_size_limit_is_refused() -> None:
    """65,536 bytes of the whole event are the limit, signature included; nothing is written."""
    world = World()
    room_id = world.create()
    world.say(room_id, ALICE, "x" * 64_000)
    last = timeline.last_position(world.db, room_id)
    with pytest.raises(TooLarge):
        world.say(room_id, ALICE, "x" * 65_500)
    assert timeline.last_position(world.db, room_id) == last


def test_unknown_auth_events_are_left_out() -> None:
    """A room without power levels cites none."""
    world = World()
    room_id = world.create()
    rules = state.version_of(world.db, room_id)
    stranger = build(world.ctx, world.db, room_id, rules, BOB, "m.room.message", {})
    types = [event.type for event in timeline.events(world.db, stranger.auth_events)]
    assert sorted(types) == ["m.room.create", "m.room.power_levels"]
