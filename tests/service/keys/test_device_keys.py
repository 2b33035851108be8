"""Identity keys of devices, and who sees what of them."""

from __future__ import annotations

from typing import Any

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import cross_signing, device_keys, device_lists
from conduit.service.users import accounts, devices
from tests.service.keys import signers
from tests.service.keys.signers import CrossSigner
from tests.support.rooms import ALICE, BOB, CAROL

PHONE, TABLET = DeviceId("PHONE"), DeviceId("TABLET")


def publish(db: Database, device_id: DeviceId = PHONE, *, seed: int = 1, **more: Any) -> dict[str, Any]:
    """Publish keys of a device of Alice's; return them."""
    keys = {**signers.device_keys(ALICE, device_id, seed), **more}
    with db.batch() as batch:
        devices.create(batch, ALICE, device_id)
        device_keys.upload(batch, ALICE, device_id, keys)
    return keys


def query(db: Database, requester: UserId, *device_ids: str, user_id: UserId = ALICE) -> dict[str, Any]:
    """Return what a user sees of Alice's keys."""
    names = ("device_keys", "master_keys", "self_signing_keys", "user_signing_keys")
    answer: dict[str, dict[str, Any]] = {name: {} for name in names}
    device_keys.query(db, requester, {user_id: device_ids}, answer)
    return answer


def register(db: Database, user_id: UserId = ALICE) -> None:
    """Make an account."""
    with db.batch() as batch:
        accounts.create(batch, user_id, "")


def test_same_keys_again_are_no_news(db: Database) -> None:
    """Others do not fetch them anew for that; changed keys are news."""
    publish(db)
    before = db.current_count()
    publish(db)
    assert device_lists.changed(db, ALICE, before, db.current_count()) == set()
    changed = publish(db, seed=2)
    assert device_lists.changed(db, ALICE, before, db.current_count()) == {ALICE}
    assert trees.keyid_key.get(db, (ALICE, PHONE)) == changed


def test_same_keys_again_keep_the_signatures_that_were_added(db: Database) -> None:
    """A client that uploads its keys at each start does not undo its verification; other keys are not verified."""
    keys = publish(db)
    signed = {**keys, "signatures": {ALICE: {**keys["signatures"][ALICE], "ed25519:self": "s"}}}
    with db.batch() as batch:
        trees.keyid_key.put(batch, (ALICE, PHONE), signed)
    publish(db)
    assert trees.keyid_key.get(db, (ALICE, PHONE)) == signed
    other = publish(db, algorithms=[])
    assert trees.keyid_key.get(db, (ALICE, PHONE)) == other


def test_signatures_are_merged_without_changing_either() -> None:
    """Each user's stand beside each other's."""
    stored = {"keys": {}, "signatures": {ALICE: {"a": "1"}}}
    added = {"signatures": {ALICE: {"b": "2"}, BOB: {"c": "3"}}}
    merged = device_keys.merge_signatures(stored, added)
    assert merged == {"keys": {}, "signatures": {ALICE: {"a": "1", "b": "2"}, BOB: {"c": "3"}}}
    assert stored == {"keys": {}, "signatures": {ALICE: {"a": "1"}}}
    assert device_keys.merge_signatures({"keys": {}}, {}) == {"keys": {}}


def test_query_names_devices_with_keys(db: Database) -> None:
    """All or those asked for; a device without keys is left out, and its name is told with the others' keys."""
    register(db)
    phone, tablet = publish(db), publish(db, TABLET)
    with db.batch() as batch:
        devices.create(batch, ALICE, "NOKEYS")
        devices.rename(batch, ALICE, TABLET, "My tablet")
    found = query(db, BOB)["device_keys"]
    names = {device_id: keys.pop("unsigned", {}) for device_id, keys in found[ALICE].items()}
    assert names == {PHONE: {}, TABLET: {"device_display_name": "My tablet"}}
    assert found == {ALICE: {PHONE: phone, TABLET: tablet}}
    assert list(query(db, BOB, PHONE, "NOKEYS", "NONE")["device_keys"][ALICE]) == [PHONE]
    assert query(db, BOB, user_id=CAROL)["device_keys"] == {}
    assert "unsigned" not in (trees.keyid_key.get(db, (ALICE, TABLET)) or {})


def test_query_hides_what_concerns_others(db: Database) -> None:
    """The user-signing key is one's own; signatures are shown to who made them and to whose key it is."""
    register(db)
    alice = CrossSigner(ALICE, 10)
    with db.batch() as batch:
        cross_signing.upload(batch, ALICE, cross_signing.parse(alice.body(), ALICE))
        key = alice.key("master") | {"signatures": {ALICE: {"a": "1"}, BOB: {"b": "2"}}}
        trees.keyid_key.put(batch, (ALICE, alice.master.public_key), key)
    seen = {user: query(db, user) for user in (ALICE, BOB, CAROL)}
    assert [bool(seen[user]["user_signing_keys"]) for user in (ALICE, BOB, CAROL)] == [True, False, False]
    signers_seen = [set(seen[user]["master_keys"][ALICE]["signatures"]) for user in (ALICE, BOB, CAROL)]
    assert signers_seen == [{ALICE}, {ALICE, BOB}, {ALICE}]
    assert all(answer["self_signing_keys"][ALICE] == alice.key("self_signing") for answer in seen.values())


def test_usage_of_a_key_is_the_current_one(db: Database) -> None:
    """A replaced key has none."""
    old, new = CrossSigner(ALICE, 10), CrossSigner(ALICE, 20)
    for signer in (old, new):
        with db.batch() as batch:
            cross_signing.upload(batch, ALICE, cross_signing.parse(signer.body(), ALICE))
    assert device_keys.cross_signing_usage(db, ALICE, new.self_signing.public_key) == "self_signing"
    assert device_keys.cross_signing_usage(db, ALICE, old.self_signing.public_key) is None
    assert device_keys.cross_signing_usage(db, BOB, new.master.public_key) is None
