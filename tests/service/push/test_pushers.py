"""Pushers as they lie in the database."""

from __future__ import annotations

from conduit.database import trees
from conduit.service.push import pushers
from tests.support.rooms import ALICE, BOB, World

PUSHER: pushers.Pusher = {
    "kind": "http",
    "app_id": "org.example",
    "pushkey": "key",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
}


def test_rows_of_conduit_are_told_in_the_form_of_the_specification() -> None:
    """Without what it keeps beside the pusher, and without null."""
    db = World().db
    with db.batch() as batch:
        trees.senderkey_pusher.put(batch, (ALICE, "key"), {**PUSHER, "profile_tag": None, "append": False})
    assert pushers.list_all(db, ALICE) == [PUSHER]
    with db.batch() as batch:
        pushers.remove(batch, ALICE, "org.example", "key")
    assert pushers.list_all(db, ALICE) == []


def test_a_pusher_keeps_its_device_and_another_application_its_own_row() -> None:
    """The row for the push key alone is the one that Conduit knows; what follows it is only for applications that share a key."""
    other = {**PUSHER, "app_id": "org.example.other"}
    db = World().db
    with db.batch() as batch:
        pushers.put(batch, ALICE, "DEVICE", PUSHER)
        pushers.put(batch, ALICE, "", other)
        pushers.put(batch, BOB, "BOBS", other)
    assert dict(trees.senderkey_pusher.scan(db)) == {
        (ALICE, "key"): {**PUSHER, "device_id": "DEVICE"},
        (ALICE, "key\0org.example.other"): other,
        (BOB, "key"): {**other, "device_id": "BOBS"},
    }
    with db.batch() as batch:
        pushers.remove_others(batch, BOB, "org.example.other", "key")
    assert pushers.list_all(db, ALICE) == [PUSHER]
    assert pushers.list_all(db, BOB) == [other]
