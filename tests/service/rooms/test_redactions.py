"""Tests of redactions: which apply, and what they take away."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import SUPPORTED
from conduit.service.events.accept import accept
from conduit.service.events.build import build
from conduit.service.rooms import client_events, redactions, state, timeline
from conduit.service.rooms.visibility import Viewer
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, World

DAVE = UserId("@dave:remote.example")
ERIN = UserId("@erin:remote.example")


def redact_unchecked(world: World, room_id: RoomId, sender: UserId, target: EventId) -> Event:
    """Accept a redaction as another server's would be: authorised by the rules, not by what we ask of our own users."""
    with world.db.batch() as batch:
        version = state.version_of(batch, room_id)
        content = {"redacts": target} if version.redacts_in_content else {}
        event = build(world.ctx, batch, room_id, version, sender, "m.room.redaction", content, redacts=target)
        head = state.head(batch, room_id)
        assert head is not None
        accept(world.ctx, batch, event, state_before=head.state)
    return event


@pytest.mark.parametrize("version", SUPPORTED)
def test_redacted_event_is_read_pruned(version: str) -> None:
    """In every room version the content is gone on every read, at once and after a restart, and the redaction is named."""
    world = World()
    room_id = world.create(version=version)
    event = world.say(room_id, ALICE, "secret")
    assert timeline.redaction_of(world.db, event.event_id) is None
    redaction = world.redact(room_id, ALICE, event.event_id)
    assert redaction.redacts == event.event_id
    for _ in range(2):
        pruned = timeline.event(world.db, event.event_id)
        assert pruned is not None
        assert pruned.content == {}
        assert timeline.is_redacted(world.db, event.event_id)
        assert timeline.redaction_of(world.db, event.event_id) == redaction
        assert [e.content for _, e in timeline.scan(world.db, room_id) if e == event] == [{}]
        world.db.cache_pool.clear()
    invariants.check_all(world.db)


def test_redacted_state_keeps_what_the_room_needs() -> None:
    """A redacted member event keeps its membership and loses the rest."""
    world = World()
    room_id = world.create()
    event = world.join(room_id, BOB, displayname="Bobby Tables")
    world.redact(room_id, ALICE, event.event_id)
    member = state.current(world.db, room_id, "m.room.member", BOB)
    assert member is not None
    assert member.content == {"membership": "join"}
    invariants.check_all(world.db)


@pytest.mark.parametrize("version", ["3", "11", "12"])
def test_redaction_from_the_sender_s_server_applies_and_from_elsewhere_does_not(version: str) -> None:
    """Where ids are hashes, users of the sender's server and those with the power to redact are heeded, others not."""
    world = World()
    room_id = world.create(version=version)
    for user_id in (BOB, CAROL, DAVE, ERIN):
        world.join(room_id, user_id)
    theirs, ours = world.say(room_id, DAVE, "theirs"), world.say(room_id, BOB, "ours")
    redact_unchecked(world, room_id, ERIN, ours.event_id)
    assert not timeline.is_redacted(world.db, ours.event_id)
    redact_unchecked(world, room_id, ERIN, theirs.event_id)
    assert timeline.is_redacted(world.db, theirs.event_id)
    redact_unchecked(world, room_id, ALICE, ours.event_id)
    assert timeline.is_redacted(world.db, ours.event_id)


def test_redaction_by_another_room_does_not_apply() -> None:
    """Power in one room redacts nothing in another."""
    world = World()
    room_id, other = world.create(), world.create()
    event = world.say(room_id, ALICE, "here")
    with world.db.batch() as batch:
        version = state.version_of(batch, other)
        content = {"redacts": event.event_id}
        foreign = build(world.ctx, batch, other, version, ALICE, "m.room.redaction", content)
        head = state.head(batch, other)
        assert head is not None
        accept(world.ctx, batch, foreign, state_before=head.state)
    assert not timeline.is_redacted(world.db, event.event_id)


def test_first_redaction_stands() -> None:
    """An event that is redacted twice names the first redaction."""
    world = World()
    room_id = world.create()
    event = world.say(room_id, ALICE, "x")
    first = world.redact(room_id, ALICE, event.event_id)
    world.redact(room_id, ALICE, event.event_id)
    assert timeline.redaction_of(world.db, event.event_id) == first


def test_redaction_that_comes_first_waits_for_its_target() -> None:
    """A redaction of an event not known yet takes effect as soon as the event is accepted: never is it seen whole."""
    world = World()
    room_id = world.create()
    with world.db.batch() as batch:
        version = state.version_of(batch, room_id)
        body = {"msgtype": "m.text", "body": "late words"}
        late = build(world.ctx, batch, room_id, version, ALICE, "m.room.message", body)
    redaction = redact_unchecked(world, room_id, ALICE, late.event_id)
    assert list(trees.redaction.keys(world.db)) == [(late.event_id, redaction.event_id)]
    assert redactions.waiting_for(world.db, late) == redaction.event_id
    head = state.head(world.db, room_id)
    assert head is not None
    with world.db.batch() as batch:
        accept(world.ctx, batch, late, state_before=head.state)
    for _ in range(2):
        pruned = timeline.event(world.db, late.event_id)
        assert pruned is not None
        assert pruned.content == {}
        assert timeline.redaction_of(world.db, late.event_id) == redaction
        world.db.cache_pool.clear()
    assert list(trees.tokenids.keys(world.db)) == []


def test_people_may_redact_their_own_and_with_power_others() -> None:
    """Beyond their own events our users need the room's power to redact."""
    world = World()
    room_id = world.create(users={CAROL: 50})
    for user_id in (BOB, CAROL):
        world.join(room_id, user_id)
    event, own = world.say(room_id, ALICE, "x"), world.say(room_id, BOB, "y")
    with pytest.raises(Forbidden):
        world.redact(room_id, BOB, event.event_id)
    world.redact(room_id, BOB, own.event_id)
    world.redact(room_id, CAROL, event.event_id)
    assert timeline.is_redacted(world.db, own.event_id)
    assert timeline.is_redacted(world.db, event.event_id)


@pytest.mark.parametrize("version", SUPPORTED)
def test_redaction_without_effect_is_not_shown(version: str) -> None:
    """Of somebody without the power, of an event of another room, of one that is not known: nobody sees it. Versions 1 and 2 would not let it in."""
    world = World()
    room_id, other = world.create(version=version), world.create(version=version)
    world.join(room_id, DAVE)
    world.join(room_id, BOB)
    message, elsewhere = world.say(room_id, ALICE, "hello"), world.say(other, ALICE, "there")
    decided = state.version_of(world.db, room_id).redactions_authorised
    hidden = redact_unchecked(world, room_id, DAVE, message.event_id)
    assert redactions.is_shown(world.db, hidden.event_id) is decided
    across = redact_unchecked(world, room_id, DAVE, elsewhere.event_id)
    assert redactions.is_shown(world.db, across.event_id) is decided
    unknown = redact_unchecked(world, room_id, ALICE, EventId("$" + "x" * 43))
    assert redactions.is_shown(world.db, unknown.event_id) is decided
    valid = world.redact(room_id, ALICE, message.event_id)
    again = redact_unchecked(world, room_id, ALICE, message.event_id)
    assert redactions.is_shown(world.db, valid.event_id)
    assert redactions.is_shown(world.db, again.event_id)
    viewer = Viewer(world.db, room_id, BOB)
    seen = {
        event.event_id: viewer.sees(event)
        for event in client_events.get_many(world.db, [hidden.event_id, valid.event_id])
    }
    assert seen == {hidden.event_id: decided, valid.event_id: True}
