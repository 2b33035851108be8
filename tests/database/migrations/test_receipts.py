"""Receipts, public and private."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from tests.database.migrations.conftest import World


def test_public_receipt_keeps_its_count_and_gets_a_position(world: World, db: Database) -> None:
    """The position is that of the event that was read."""
    event = world.named["mention"]
    at = int.from_bytes(world.room.places[event.event_id][8:], "big")
    receipt = trees.receipt.get(db, (world.room.short, "@bob:localhost", "m.read", ""))
    assert receipt == {"event_id": event.event_id, "ts": 1234, "count": world.receipt, "at": at}
    assert trees.receipt_stream.get(db, (world.room.short, world.receipt)) == ("@bob:localhost", "m.read", "")


def test_private_receipt_belongs_to_the_newest_event_up_to_it(world: World, db: Database) -> None:
    """Conduit notes the count before the event that the user has sent."""
    receipt = trees.receipt.get(db, (world.room.short, "@alice:localhost", "m.read.private", ""))
    assert receipt is not None
    assert receipt["event_id"] == world.named["unread"].event_id
    key = trees.receipt_stream.get(db, (world.room.short, receipt["count"]))
    assert key == ("@alice:localhost", "m.read.private", "")
