"""Tests of relations between events."""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.protocol.ids import EventId, RoomId
from conduit.protocol.pdu import Event
from conduit.service.rooms import relations, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, World


def relate(world: World, room_id: RoomId, sender: Any, target: EventId, rel_type: str, **content: Any) -> Event:
    """Send a message that relates to another event."""
    relates_to = {"rel_type": rel_type, "event_id": target, **content.pop("relates_to", {})}
    return world.say(room_id, sender, "related", **content, **{"m.relates_to": relates_to})


def edit(world: World, room_id: RoomId, sender: Any, target: EventId, body: str) -> Event:
    """Edit a message."""
    return relate(world, room_id, sender, target, "m.replace", **{"m.new_content": {"msgtype": "m.text", "body": body}})


def react(world: World, room_id: RoomId, sender: Any, target: EventId, key: str) -> Event:
    """React to a message."""
    relates_to = {"rel_type": "m.annotation", "event_id": target, "key": key}
    return world.send(room_id, sender, "m.reaction", {"m.relates_to": relates_to})


def test_relations_are_listed_in_the_order_of_the_timeline() -> None:
    """All that relates to an event is found by it, filtered by kind and type, in both directions, between positions."""
    world = World()
    room_id = world.create()
    target = world.say(room_id, ALICE, "target")
    world.say(room_id, ALICE, "unrelated")
    first = relate(world, room_id, ALICE, target.event_id, "m.reference")
    second = react(world, room_id, ALICE, target.event_id, "👍")
    third = relate(world, room_id, ALICE, target.event_id, "m.reference")
    for _ in range(2):
        places = [timeline.position(world.db, event.event_id) for event in (first, second, third)]
        rows = list(relations.of(world.db, target.event_id))
        assert [row.position for row in rows] == places
        assert [(row.rel_type, row.event_type, row.sender) for row in rows] == [
            ("m.reference", "m.room.message", ALICE),
            ("m.annotation", "m.reaction", ALICE),
            ("m.reference", "m.room.message", ALICE),
        ]
        page = relations.page(world.db, target.event_id, rel_type="m.reference", reverse=True)
        assert [row.position for row in page] == [places[2], places[0]]
        page = relations.page(world.db, target.event_id, event_type="m.reaction")
        assert [row.position for row in page] == [places[1]]
        page = relations.page(world.db, target.event_id, after=places[0], before=places[2])
        assert [row.position for row in page] == [places[1]]
        assert relations.references(world.db, target.event_id) == [first.event_id, third.event_id]
        world.db.cache_pool.clear()
    invariants.check_all(world.db)


def test_relation_to_an_unknown_event_waits_for_it() -> None:
    """A row is written for a target that nobody here has seen; asked for, it has no room yet and shows nothing."""
    world = World()
    room_id = world.create()
    target = EventId("$" + "x" * 43)
    relate(world, room_id, ALICE, target, "m.reference")
    assert relations.of(world.db, target) == ()
    assert relations.of(world.db, EventId("$never:localhost")) == ()


def test_relation_from_another_room_is_not_shown() -> None:
    """Nobody can attach something to an event of a room from elsewhere."""
    world = World()
    room_id, other = world.create(), world.create(BOB)
    target = world.say(room_id, ALICE, "target")
    relate(world, other, BOB, target.event_id, "m.reference")
    for _ in range(2):
        assert relations.of(world.db, target.event_id) == ()
        world.db.cache_pool.clear()


def test_malformed_relations_are_none() -> None:
    """Content of the wrong shape relates to nothing, and is accepted."""
    world = World()
    room_id = world.create()
    for relates_to in ("text", {}, {"rel_type": 1, "event_id": "$a:b"}, {"rel_type": "m.thread", "event_id": "no id"}):
        world.say(room_id, ALICE, "odd", **{"m.relates_to": relates_to})
    assert list(trees.relation.scan(world.db)) == []


def test_latest_valid_edit_stands_for_an_event() -> None:
    """Of several edits the newest by the event's own sender counts; another's does not."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    original = world.say(room_id, ALICE, "one")
    assert relations.edit_of(world.db, original) is None
    edit(world, room_id, ALICE, original.event_id, "two")
    latest = edit(world, room_id, ALICE, original.event_id, "three")
    edit(world, room_id, BOB, original.event_id, "forged")
    relate(world, room_id, ALICE, original.event_id, "m.replace")
    assert relations.edit_of(world.db, original) == latest


def test_redacted_edit_gives_way_to_the_one_before() -> None:
    """An edit that is redacted no longer stands for its target."""
    world = World()
    room_id = world.create()
    original = world.say(room_id, ALICE, "one")
    first = edit(world, room_id, ALICE, original.event_id, "two")
    second = edit(world, room_id, ALICE, original.event_id, "three")
    world.redact(room_id, ALICE, second.event_id)
    assert relations.edit_of(world.db, original) == first
    world.redact(room_id, ALICE, first.event_id)
    assert relations.edit_of(world.db, original) is None
    invariants.check_all(world.db)


def test_annotations_are_known_by_sender_type_and_key() -> None:
    """Who has reacted how is found at once, and no longer after the reaction was taken back."""
    world = World()
    room_id = world.create()
    target = world.say(room_id, ALICE, "target")
    reaction = react(world, room_id, ALICE, target.event_id, "👍")
    assert relations.has_annotated(world.db, target.event_id, "m.reaction", "👍", ALICE)
    assert not relations.has_annotated(world.db, target.event_id, "m.reaction", "👎", ALICE)
    assert not relations.has_annotated(world.db, target.event_id, "m.reaction", "👍", BOB)
    assert not relations.has_annotated(world.db, target.event_id, "org.example.other", "👍", ALICE)
    world.redact(room_id, ALICE, reaction.event_id)
    assert not relations.has_annotated(world.db, target.event_id, "m.reaction", "👍", ALICE)
