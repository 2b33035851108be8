"""Keys, changed devices and transaction ids."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from tests.database.migrations.conftest import World


def test_one_time_keys_have_an_order(db: Database) -> None:
    """Keys without a place in it could not be claimed."""
    rows = [key_id for _, key_id in trees.onetimekey_order.scan(db, ("@alice:localhost", "DEVICE"))]
    assert rows == ["signed_curve25519:AAAA", "signed_curve25519:BBBB"]


def test_changed_devices_are_in_the_stream_once(db: Database) -> None:
    """Each user at the latest change."""
    latest = trees.devicelist_latest.get(db, "@alice:localhost")
    assert latest is not None
    assert list(trees.devicelist_stream.scan(db)) == [(latest, "@alice:localhost")]


def test_sent_events_keep_their_transaction_ids(world: World, db: Database) -> None:
    """For the echo to the device that sent them."""
    short = trees.eventid_shorteventid.get(db, world.named["unread"].event_id) or 0
    found = dict(trees.event_transaction.scan(db))
    assert found == {(world.room.short, short): ("@alice:localhost", "DEVICE", "txn1")}
