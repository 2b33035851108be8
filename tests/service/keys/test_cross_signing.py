"""Cross-signing: who may publish and sign what."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden, InvalidSignature, MissingParam
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import cross_signing, device_keys, device_lists
from conduit.service.users import devices
from tests.service.keys import signers
from tests.service.keys.signers import CrossSigner
from tests.support.rooms import ALICE, BOB, CAROL

PHONE = DeviceId("PHONE")


def upload(db: Database, user_id: UserId, body: dict[str, Any]) -> None:
    """Publish the keys in the body of a request."""
    with db.batch() as batch:
        cross_signing.upload(batch, user_id, cross_signing.parse(body, user_id))


def sign(db: Database, signer: UserId, signed: dict[str, Any]) -> dict[str, list[str]]:
    """Add signatures; return the failures as user -> key ids."""
    with db.batch() as batch:
        failures = cross_signing.add_signatures(batch, signer, signed, is_local=lambda user_id: True)
    return {user: list(keys) for user, keys in failures.items()}


def with_phone(db: Database, user_id: UserId, seed: int) -> dict[str, Any]:
    """Give a user a device with keys; return those."""
    keys = signers.device_keys(user_id, PHONE, seed)
    with db.batch() as batch:
        devices.create(batch, user_id, PHONE)
        device_keys.upload(batch, user_id, PHONE, keys)
    return keys


def current(db: Database, usage: str, user_id: UserId = ALICE) -> Any:
    """Return the user's key."""
    return device_keys.cross_signing_key(db, user_id, usage)


def signatures(db: Database, user_id: UserId, key_id: str, by: UserId) -> set[str]:
    """Return the ids of the keys by which somebody has signed a stored key."""
    key: Any = trees.keyid_key.get(db, (user_id, key_id))
    return set(key.get("signatures", {}).get(by, {}))


def test_new_master_key_replaces_the_former(db: Database) -> None:
    """The old one is not stored any more; the others stay until they are replaced too."""
    old, new = CrossSigner(ALICE, 10), CrossSigner(ALICE, 20)
    upload(db, ALICE, old.body())
    upload(db, ALICE, new.body("master"))
    assert current(db, "master") == new.key("master")
    assert current(db, "self_signing") == old.key("self_signing")
    assert trees.keyid_key.get(db, (ALICE, old.master.public_key)) is None


def test_proof_is_asked_for_only_where_something_is_replaced(db: Database) -> None:
    """Not for the first keys, nor for the same ones again."""
    old, new = CrossSigner(ALICE, 10), CrossSigner(ALICE, 20)

    def needed(body: dict[str, Any]) -> bool:
        return cross_signing.needs_authentication(db, ALICE, cross_signing.parse(body, ALICE))

    assert not needed(old.body())
    upload(db, ALICE, old.body("master"))
    assert needed(old.body())  # a further key, beside a master key that others may have verified
    upload(db, ALICE, old.body())
    assert not needed(old.body())
    assert not needed({})
    for usage in ("master", "self_signing", "user_signing"):
        assert needed(new.body(usage))


def test_same_keys_again_are_no_news(db: Database) -> None:
    """Nobody fetches them anew for that."""
    keys = CrossSigner(ALICE, 10)
    upload(db, ALICE, keys.body())
    before = db.current_count()
    upload(db, ALICE, keys.body())
    assert device_lists.changed(db, ALICE, before, db.current_count()) == set()


def test_keys_need_a_master_key_and_its_signature(db: Database) -> None:
    """The one of the same upload, or the current one."""
    keys, other = CrossSigner(ALICE, 10), CrossSigner(ALICE, 20)
    with pytest.raises(MissingParam):
        upload(db, ALICE, keys.body("self_signing"))
    upload(db, ALICE, keys.body("master"))
    upload(db, ALICE, keys.body("self_signing"))
    for usage in ("self_signing", "user_signing"):
        with pytest.raises(InvalidSignature):
            upload(db, ALICE, other.body(usage))
        bare = {name: value for name, value in keys.key(usage).items() if name != "signatures"}
        with pytest.raises(InvalidSignature):
            upload(db, ALICE, {f"{usage}_key": bare})
    mixed = {**other.body("master"), **keys.body("user_signing")}
    with pytest.raises(InvalidSignature):
        upload(db, ALICE, mixed)
    assert current(db, "master") == keys.key("master")


def test_names_of_keys_are_used_once(db: Database) -> None:
    """Devices and the three usages share a name space: one would overwrite the other."""
    keys = CrossSigner(ALICE, 10)
    with db.batch() as batch:
        devices.create(batch, ALICE, keys.self_signing.public_key)
    with pytest.raises(Forbidden):
        upload(db, ALICE, keys.body())
    twice = CrossSigner(BOB, 10)
    twice.user_signing = twice.self_signing
    with pytest.raises(Forbidden):
        upload(db, BOB, twice.body())
    upload(db, BOB, twice.body("master"))
    twice.self_signing = twice.master
    with pytest.raises(Forbidden):
        upload(db, BOB, twice.body("self_signing"))
    assert current(db, "master", BOB) == twice.key("master")
    assert current(db, "self_signing", BOB) is None
    with pytest.raises(Forbidden), db.batch() as batch:
        name = DeviceId(twice.master.public_key)
        device_keys.upload(batch, BOB, name, signers.device_keys(BOB, name))


def test_each_object_is_signed_by_the_key_that_is_for_it(db: Database) -> None:
    """Devices by the self-signing key, one's master key by devices, others' master keys by the user-signing key; nothing else."""
    alice, bob = CrossSigner(ALICE, 10), CrossSigner(BOB, 20)
    phones = {ALICE: with_phone(db, ALICE, 1), BOB: with_phone(db, BOB, 2)}
    for signer in (alice, bob):
        upload(db, signer.user_id, signer.body())
    phone = signers.key_pair(1, PHONE)
    by = {"master": alice.master, "self": alice.self_signing, "user": alice.user_signing, "phone": phone}
    targets = {
        "own phone": (ALICE, PHONE, phones[ALICE]),
        "own master": (ALICE, alice.master.public_key, alice.key("master")),
        "own self-signing": (ALICE, alice.self_signing.public_key, alice.key("self_signing")),
        "other's phone": (BOB, PHONE, phones[BOB]),
        "other's master": (BOB, bob.master.public_key, bob.key("master")),
        "other's self-signing": (BOB, bob.self_signing.public_key, bob.key("self_signing")),
    }
    taken = set()
    for target, (user_id, key_id, stored) in targets.items():
        for name, key in by.items():
            bare = {field: value for field, value in stored.items() if field != "signatures"}
            if sign(db, ALICE, {user_id: {key_id: key.sign_json(bare, ALICE)}}) == {}:
                taken.add((name, target))
                assert key.key_id in signatures(db, user_id, key_id, ALICE)
            else:
                assert (name, target) == ("master", target) or key.key_id not in signatures(db, user_id, key_id, ALICE)
    by_hand = {("self", "own phone"), ("phone", "own master"), ("user", "other's master")}
    # Two are known already, from the uploads themselves.
    assert taken == by_hand | {("phone", "own phone"), ("master", "own self-signing")}


@pytest.mark.parametrize(
    "change",
    [
        {"algorithms": []},
        {"signatures": {}},
        {"signatures": {ALICE: {}}},
        {"signatures": {ALICE: {"ed25519:unknown": "AAAA"}}},
        {"signatures": {ALICE: "x"}},
        {"signatures": []},
    ],
)
def test_signature_of_something_else_is_a_failure(db: Database, change: dict[str, Any]) -> None:
    """Nothing is stored of it, and what stands beside it in the request is taken all the same."""
    alice = CrossSigner(ALICE, 10)
    phone = with_phone(db, ALICE, 1)
    upload(db, ALICE, alice.body())
    good = signers.key_pair(1, PHONE).sign_json(alice.key("master"), ALICE)
    request: dict[str, Any] = {ALICE: {PHONE: {**phone, **change}, alice.master.public_key: good, "unknown": good}}
    assert sign(db, ALICE, request) == {ALICE: [PHONE, "unknown"]}
    assert signatures(db, ALICE, PHONE, ALICE) == {f"ed25519:{PHONE}"}
    assert signatures(db, ALICE, alice.master.public_key, ALICE) == {f"ed25519:{PHONE}"}


def test_signature_of_another_is_news_for_the_signer_alone(db: Database) -> None:
    """Whom somebody has verified is told to nobody else."""
    alice, bob = CrossSigner(ALICE, 10), CrossSigner(BOB, 20)
    for signer in (alice, bob):
        upload(db, signer.user_id, signer.body())
    before = db.current_count()
    signed = alice.user_signing.sign_json(bob.key("master"), ALICE)
    assert sign(db, ALICE, {BOB: {bob.master.public_key: signed}}) == {}
    after = db.current_count()
    assert device_lists.changed(db, ALICE, before, after) == {BOB}
    for other in (BOB, CAROL):
        assert device_lists.changed(db, other, before, after) == set()
