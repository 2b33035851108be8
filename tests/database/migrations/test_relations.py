"""Relations, annotations and threads."""

from __future__ import annotations

from hashlib import sha256

from conduit.database import layouts, trees
from conduit.database.database import Database
from tests.database.migrations.conftest import World


def test_relations_lie_by_their_target(world: World, db: Database) -> None:
    """An edit, a reaction and two replies, in the order of the timeline."""
    named = world.named
    target = trees.eventid_shorteventid.get(db, named["first"].event_id)
    rows = [(layouts.PDU_ID.decode(raw), row) for (_, raw), row in trees.relation.scan(db, (target,))]
    assert [row.rel_type for _, row in rows] == ["m.replace", "m.annotation", "m.thread", "m.thread"]
    assert [trees.shorteventid_eventid.get(db, row.event) for _, row in rows] == [
        named[name].event_id for name in ("edit", "reaction", "reply 0", "reply 1")
    ]
    assert all(layouts.PDU_ID.encode(place) in world.room.places.values() for place, _ in rows)


def test_annotations_are_known_by_their_sender(world: World, db: Database) -> None:
    """So that nobody annotates twice alike."""
    target = trees.eventid_shorteventid.get(db, world.named["first"].event_id)
    assert target is not None
    digest = sha256(b"m.reaction\xff+1").digest()
    assert trees.annotation.get(db, (target, digest, "@bob:localhost")) is not None


def test_threads_are_counted(world: World, db: Database) -> None:
    """Number of replies, the last one, who took part, and the order of threads."""
    room = world.room
    root = trees.eventid_shorteventid.get(db, world.named["first"].event_id)
    assert root is not None
    last = trees.eventid_shorteventid.get(db, world.named["reply 1"].event_id)
    place = room.places[world.named["reply 1"].event_id]
    assert trees.thread.get(db, (room.short, root)) == (2, last, place)
    assert trees.thread_order.get(db, layouts.PDU_ID.decode(place)) == root
    assert trees.thread_participant.has(db, (root, "@bob:localhost"))
