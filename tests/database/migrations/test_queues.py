"""What was still to be sent."""

from __future__ import annotations

from conduit.database import layouts, trees
from conduit.database.database import Database
from tests.database.migrations.conftest import World


def test_events_and_edus_are_moved_in_order(world: World, db: Database) -> None:
    """Events before the rest, by position; the newest of a room is noted for catching up."""
    room, named = world.room, world.named
    rows = [(kind, item) for (_, kind, _), item in trees.destination_queue.scan(db, ("elsewhere.org",))]
    places = [room.places[named[name].event_id] for name in ("mention", "unread")]
    assert rows[:2] == [(0, place) for place in places]
    assert rows[2][0] == 1
    assert b"m.receipt" in rows[2][1]
    newest = trees.destination_room.get(db, ("elsewhere.org", room.short))
    assert newest == layouts.PDU_ID.decode(places[1])


def test_application_services_get_event_ids(world: World, db: Database) -> None:
    """Under the service's id."""
    assert [value for _, value in trees.appservice_queue.scan(db, ("irc",))] == [world.named["unread"].event_id]


def test_old_queues_are_empty(db: Database) -> None:
    """What is moved is not moved twice."""
    assert list(trees.servernameevent_data.scan(db)) == []
    assert list(trees.servercurrentevent_data.scan(db)) == []
