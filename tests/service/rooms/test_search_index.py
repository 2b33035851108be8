"""Tests of the search index."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.codec import U64
from conduit.protocol.ids import EventId, RoomId
from conduit.service.rooms import search_index, short_ids, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, World


async def found(world: World, room_id: RoomId, text: str) -> list[EventId]:
    """Return the events that a search finds."""
    steps = search_index.find(world.db, room_id, text)
    events = [timeline.event_at(world.db, place) async for step in steps for place in step]
    return [event.event_id for event in events if event is not None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD! hello", {"hello", "world"}),
        ("snake_case and-dash", {"snake", "case", "and", "dash"}),
        ("Größe 東京 x2", {"größe", "東京", "x2"}),
        ("!? ...", set()),
        ("a" * 50 + " " + "b" * 51, {"a" * 50}),
        ("é" * 25 + " " + "è" * 26, {"é" * 25}),
    ],
)
def test_words_are_lower_cased_runs_of_letters_and_digits(text: str, expected: set[str]) -> None:
    """Words are found whatever their case and script, and overlong ones are left out."""
    assert search_index.words(text) == expected


async def test_search_finds_events_with_all_words_newest_first() -> None:
    """Every word must occur, in any case and order; other rooms are not searched."""
    world = World()
    room_id, other = world.create(), world.create()
    first = world.say(room_id, ALICE, "The quick brown fox")
    second = world.say(room_id, ALICE, "a QUICK reply")
    world.say(other, ALICE, "quick elsewhere")
    assert await found(world, room_id, "quick") == [second.event_id, first.event_id]
    assert await found(world, room_id, "fox Quick") == [first.event_id]
    assert await found(world, room_id, "fox reply") == []
    assert await found(world, room_id, "qui") == []
    assert await found(world, room_id, "?!") == []
    assert await found(world, RoomId("!unknown:localhost"), "quick") == []
    invariants.check_all(world.db)


async def test_names_topics_and_edits_are_found() -> None:
    """A room's name and topic have words, and an edit is found by its new text."""
    world = World()
    room_id = world.create()
    name = world.set(room_id, ALICE, "m.room.name", {"name": "Winter garden"})
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "all about orchids"})
    original = world.say(room_id, ALICE, "tipo")
    edit = world.say(
        room_id,
        ALICE,
        "* typo",
        **{
            "m.new_content": {"msgtype": "m.text", "body": "mended"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": original.event_id},
        },
    )
    assert await found(world, room_id, "garden") == [name.event_id]
    assert await found(world, room_id, "orchids") == [topic.event_id]
    assert await found(world, room_id, "mended") == [edit.event_id]
    assert await found(world, room_id, "typo") == []


def test_bodies_that_are_no_text_have_no_words() -> None:
    """Odd content is accepted and not indexed."""
    world = World()
    room_id = world.create()
    world.send(room_id, ALICE, "m.room.message", {"body": ["list"]})
    world.send(room_id, ALICE, "m.room.message", {})
    world.send(room_id, ALICE, "m.room.encrypted", {"body": "cipher"})
    assert list(trees.tokenids.keys(world.db)) == []


async def test_redacted_event_is_not_found() -> None:
    """The words of a redacted event leave the index with it."""
    world = World()
    room_id = world.create()
    event = world.say(room_id, ALICE, "regrettable words")
    world.redact(room_id, ALICE, event.event_id)
    assert await found(world, room_id, "regrettable") == []
    invariants.check_all(world.db)


async def test_rows_that_conduit_migrated_are_read() -> None:
    """An index row that ends in the bare count, as Conduit's migration left it, counts like any other."""
    world = World()
    room_id = world.create()
    event = world.send(room_id, ALICE, "m.room.message", {})
    place = timeline.position(world.db, event.event_id)
    room = short_ids.short_room(world.db, room_id)
    assert place is not None
    assert room is not None
    with world.db.batch() as batch:
        for word in ("ancient", "words"):
            trees.tokenids.put(batch, (room, word, U64.encode(place.live)), True)
    assert await found(world, room_id, "ancient words") == [event.event_id]


async def test_topic_is_found_by_its_plain_representation() -> None:
    """And by nothing that only another representation says."""
    world = World()
    room_id = world.create()
    forms = [{"body": "orchids and palms"}, {"mimetype": "text/html", "body": "<b>ferns</b>"}, {"body": 5}, 5]
    topic = world.set(room_id, ALICE, "m.room.topic", {"topic": "orchids", "m.topic": {"m.text": forms}})
    assert await found(world, room_id, "orchids palms") == [topic.event_id]
    assert await found(world, room_id, "ferns") == []
    bare = world.set(room_id, ALICE, "m.room.topic", {"m.topic": {"m.text": [{"body": "moss"}]}})
    assert await found(world, room_id, "moss") == [bare.event_id]
    world.set(room_id, ALICE, "m.room.topic", {"topic": 5, "m.topic": "grass"})
    assert await found(world, room_id, "grass") == []
    invariants.check_all(world.db)


async def test_places_of_common_words_are_found_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, newest first, whatever is said meanwhile."""
    monkeypatch.setattr(search_index, "STEP", 3)
    world = World()
    room_id = world.create()
    said = [world.say(room_id, ALICE, f"common number {number}").event_id for number in range(9)]
    sizes, seen = [], []
    async for step in search_index.find(world.db, room_id, "common number"):
        world.say(room_id, ALICE, "common number, later")
        sizes.append(len(step))
        seen += [timeline.id_at(world.db, place) for place in step]
    assert sizes == [3, 3, 3, 0]
    assert seen == said[::-1]
