"""Devices and what belongs to them."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import UserId
from conduit.service.users import accounts, devices, tokens

ALICE = UserId("@alice:localhost")


def _fill(db: Database, user_id: UserId, device_id: str) -> None:
    """Give a device something in every tree that knows devices."""
    with db.batch() as batch:
        devices.create(batch, user_id, device_id, display_name="name")
        tokens.issue(batch, user_id, device_id, lifetime_ms=1000)
        trees.keyid_key.put(batch, (user_id, device_id), {})
        trees.onetimekeyid_onetimekeys.put(batch, (user_id, device_id, '"a:1"'), {})
        trees.fallbackkey.put(batch, (user_id, device_id, "a"), {})
        trees.todeviceid_events.put(batch, (user_id, device_id, 7), {})
        trees.todevice_waiting.put(batch, (user_id, device_id), {"@a:x": 7})
        trees.userdevicetxnid_response.put(batch, (user_id, device_id, "t"), b"")
        trees.transaction.put(batch, (user_id, device_id, bytes(32)), (5, b"{}"))
        trees.transaction_age.put(batch, (5, user_id, device_id, bytes(32)), True)
        trees.userdevicesessionid_uiaainfo.put(batch, (user_id, device_id, "s"), {})
        trees.lazyloadedids.put(batch, (user_id, device_id, "!r:x", "@m:x"), True)
        trees.senderkey_pusher.put(batch, (user_id, f"push of {device_id}"), {"device_id": device_id})


def _rows(db: Database) -> dict[str, set[bytes]]:
    rows = {name: {key for key, _ in db.scan(name, b"", None)} for name in trees.TREE_NAMES if name != "global"}
    return {name: keys for name, keys in rows.items() if keys}


def test_deleted_device_leaves_nothing_and_takes_no_other_with_it(db: Database) -> None:
    """Device `1` is a prefix of `10`, and `@al` of `@alice`: neither is touched."""
    others = [(ALICE, "10"), (UserId("@al:localhost"), "1"), (UserId("@alice:localhos"), "t1")]
    for user_id, device_id in others:
        _fill(db, user_id, device_id)
    before = _rows(db)
    _fill(db, ALICE, "1")
    with db.batch() as batch:
        assert devices.delete(batch, ALICE, "1")
        assert not devices.delete(batch, ALICE, "1")
    assert _rows(db) == before
    assert devices.ids(db, ALICE) == ["10"]


def test_known_device_keeps_its_name(db: Database) -> None:
    """Making it again changes nothing; a name that is too long is cut."""
    with db.batch() as batch:
        assert devices.create(batch, ALICE, "A", display_name="x" * 200)
        assert not devices.create(batch, ALICE, "A", display_name="other")
    assert devices.get(db, ALICE, "A") == {"device_id": "A", "display_name": "x" * 100}


def test_device_cannot_have_the_id_of_a_key(db: Database) -> None:
    """A cross-signing key lies under the same kind of key."""
    with db.batch() as batch:
        trees.keyid_key.put(batch, (ALICE, "publickey"), {})
    with pytest.raises(Forbidden), db.batch() as batch:
        devices.create(batch, ALICE, "publickey")


def test_nulls_that_conduit_has_written_are_left_out(db: Database) -> None:
    """Absent is absent."""
    row = {"device_id": "A", "display_name": None, "last_seen_ip": None, "last_seen_ts": 5}
    with db.batch() as batch:
        trees.userdeviceid_metadata.put(batch, (ALICE, "A"), row)
    assert devices.list_all(db, ALICE) == [{"device_id": "A", "last_seen_ts": 5}]


def test_each_user_has_one_row_in_the_stream_of_changes(db: Database) -> None:
    """The newest; versions count up."""
    bob = UserId("@bob:localhost")
    counts = []
    for user_id in (ALICE, bob, ALICE):
        with db.batch() as batch:
            counts.append(devices.changed(batch, user_id))
    assert list(trees.devicelist_stream.scan(db)) == [(counts[1], bob), (counts[2], ALICE)]
    assert devices.version(db, ALICE) == 2
    assert devices.version(db, bob) == 1
    assert devices.version(db, "@nobody:localhost") == 0


def test_last_use_is_written_rarely(db: Database) -> None:
    """Once in ten minutes, however many requests there are, and never for a device that is gone."""
    with db.batch() as batch:
        accounts.create(batch, ALICE, "")
        devices.create(batch, ALICE, "A")
        token = tokens.issue(batch, ALICE, "A").access_token
    found = tokens.find(db, token)
    assert found is not None
    start = 10**12
    for late in range(0, devices.SEEN_EVERY_MS, 60_000):
        devices.seen(db, found, "192.0.2.1", start + late)
    assert devices.get(db, ALICE, "A") == {"device_id": "A", "last_seen_ts": start, "last_seen_ip": "192.0.2.1"}
    devices.seen(db, found, "192.0.2.2", start + devices.SEEN_EVERY_MS)
    device = devices.get(db, ALICE, "A")
    assert device is not None
    assert device["last_seen_ip"] == "192.0.2.2"
    with db.batch() as batch:
        devices.delete(batch, ALICE, "A")
    devices.seen(db, found, "192.0.2.2", start + 3 * devices.SEEN_EVERY_MS)
    assert devices.list_all(db, ALICE) == []
