"""Reading other servers' key objects."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.signing import SigningKey
from conduit.service.outbound.server_keys import (
    LONGEST_VALIDITY_MS,
    BadKeys,
    ServerKeys,
    merge,
    read_document,
    read_row,
)
from conduit.utils import base64
from tests.support.clock import START_MS

HOUR = 3_600_000
FIRST, SECOND = SigningKey(bytes(32), "first"), SigningKey(bytes(31) + b"1", "second")
A = "a.test"


def document(
    *keys: SigningKey, old: dict[str, Any] | None = None, until: int = START_MS + HOUR, **changes: Any
) -> dict[str, Any]:
    """Return a key object that each of its keys has signed."""
    made: dict[str, Any] = {
        "server_name": A,
        "verify_keys": {key.key_id: {"key": key.public_key} for key in keys},
        "old_verify_keys": old or {},
        "valid_until_ts": until,
        **changes,
    }
    for key in keys:
        made = key.sign_json(made, A)
    return made


def read(made: Any, **options: Any) -> ServerKeys:
    """Read an object of a.test."""
    return read_document(made, A, **{"now_ms": START_MS, "ignored": (), **options})


def test_current_and_old_keys_are_read() -> None:
    """Current ones hold until the object must be renewed, old ones until they ended."""
    old = {SECOND.key_id: {"key": SECOND.public_key, "expired_ts": START_MS - HOUR}}
    keys = read(document(FIRST, old=old))
    assert keys.find(FIRST.key_id, START_MS + HOUR) == base64.decode(FIRST.public_key)
    assert keys.find(FIRST.key_id, START_MS + HOUR + 1) is None
    assert keys.find(SECOND.key_id, START_MS - HOUR) == base64.decode(SECOND.public_key)
    assert keys.find(SECOND.key_id, START_MS) is None
    assert keys.find(SECOND.key_id, None) is not None
    assert keys.find("ed25519:none", None) is None
    assert [key_id for key_id, key in keys.keys.items() if key.current] == [FIRST.key_id]


def test_validity_is_a_week_at_most() -> None:
    """However long the server says, so that a key can be revoked."""
    keys = read(document(FIRST, until=START_MS * 10))
    assert keys.valid_until == START_MS + LONGEST_VALIDITY_MS
    assert keys.find(FIRST.key_id, START_MS + LONGEST_VALIDITY_MS + 1) is None


@pytest.mark.parametrize(
    "made",
    [
        None,
        [],
        {},
        document(FIRST, server_name="b.test"),
        document(FIRST) | {"signatures": {}},
        document(FIRST) | {"valid_until_ts": START_MS},
        document(FIRST, until="soon"),  # type: ignore[arg-type]
        document(FIRST, until=True),
        document(FIRST, until=-1),
        document(FIRST, verify_keys=[]),
        document(FIRST, verify_keys={FIRST.key_id: {"key": SECOND.public_key}}),
        document(FIRST, verify_keys={FIRST.key_id: {"key": "short"}}),
        document(FIRST, verify_keys={FIRST.key_id: FIRST.public_key}),
        document(FIRST, verify_keys={"rsa:first": {"key": FIRST.public_key}}),
        {
            **document(FIRST, SECOND),
            "signatures": {A: document(FIRST, SECOND)["signatures"][A] | {SECOND.key_id: "x" * 86}},
        },
    ],
)
def test_object_that_its_server_has_not_signed_is_refused(made: Any) -> None:
    """Or that is of another server, or no such object."""
    with pytest.raises(BadKeys):
        read(made)


def test_advisory_24_ignored_keys_are_passed_over() -> None:
    """A leaked key neither signs the object nor anything else."""
    leaked = base64.decode(FIRST.public_key)
    with pytest.raises(BadKeys):
        read(document(FIRST), ignored=(leaked,))
    keys = read(document(FIRST, SECOND), ignored=(leaked,))
    assert list(keys.keys) == [SECOND.key_id]
    row = read(document(FIRST, SECOND)).row()
    stored = read_row(row, A, ignored=(leaked,))
    assert stored is not None
    assert list(stored.keys) == [SECOND.key_id]


def test_strange_entries_do_no_harm() -> None:
    """Keys of other algorithms, odd ids and entries that are none are left out; thousands are too many."""
    odd = {f"ed25519:{n}": {"key": FIRST.public_key, "expired_ts": 1} for n in range(5000)}
    odd |= {"curve25519:x": {"key": FIRST.public_key, "expired_ts": 1}, "ed25519:\n": {"key": FIRST.public_key}}
    keys = read(document(FIRST, old=odd))
    assert len(keys.keys) < 100
    assert FIRST.key_id in keys.keys


def test_row_is_conduits_with_more() -> None:
    """What Conduit would read is the server's own object; what was written here comes back as it was."""
    keys = read(document(FIRST))
    row = keys.row()
    assert {key: row[key] for key in document(FIRST)} == document(FIRST)
    assert read_row(row, A, ignored=()) == keys


def test_rows_of_conduit_are_read() -> None:
    """They do not say when they were fetched, and hold as long as their server said."""
    old = {SECOND.key_id: {"key": SECOND.public_key, "expired_ts": 5}}
    keys = read_row(document(FIRST, old=old), A, ignored=())
    assert keys is not None
    assert keys.find(FIRST.key_id, START_MS + HOUR) is not None
    assert keys.find(SECOND.key_id, 6) is None
    assert keys.fetched_at == 0
    assert read_row({"verify_keys": {}}, A, ignored=()) is None


def test_key_that_is_no_longer_listed_stays_known() -> None:
    """For what it signed while it was valid, and for no request."""
    before = read(document(FIRST))
    after = merge(before, read(document(SECOND, until=START_MS + 2 * HOUR)), direct=True)
    assert after.find(FIRST.key_id, START_MS + HOUR) is not None
    assert after.find(FIRST.key_id, START_MS + HOUR + 1) is None
    assert not after.keys[FIRST.key_id].current
    assert after.document["verify_keys"] == {SECOND.key_id: {"key": SECOND.public_key}}


def test_server_can_end_a_key_early() -> None:
    """What it now lists as old counts only until then, whatever was said before."""
    before = read(document(FIRST))
    old = {FIRST.key_id: {"key": FIRST.public_key, "expired_ts": START_MS - HOUR}}
    after = merge(before, read(document(SECOND, old=old)), direct=True)
    assert after.find(FIRST.key_id, START_MS) is None


def test_notary_with_an_older_object_takes_nothing_back() -> None:
    """What came from the server itself stays the newest; keys that only the older object has are learnt."""
    before = read(document(SECOND, until=START_MS + 2 * HOUR))
    after = merge(before, read(document(FIRST)), direct=False)
    assert after.document == before.document
    assert after.keys[SECOND.key_id].current
    assert not after.keys[FIRST.key_id].current
    assert after.find(FIRST.key_id, START_MS) is not None


def test_former_objects_are_kept_for_the_keys_that_only_they_list() -> None:
    """A few of them, and only while they say something that the newest does not."""
    keys = read(document(FIRST))
    for number in range(10):
        key = SigningKey(bytes([number + 7]) * 32, f"k{number}")
        keys = merge(keys, read(document(key)), direct=True)
    assert len(keys.older) == 5
    assert read_row(keys.row(), A, ignored=()) == keys
    assert keys.documents([]) == [keys.document]
    assert keys.documents(["ed25519:k9", "ed25519:none"]) == [keys.document]
    assert [set(found["verify_keys"]) for found in keys.documents(["ed25519:k7", "ed25519:k6"])] == [
        {"ed25519:k7"},
        {"ed25519:k6"},
        {"ed25519:k9"},
    ]
    # An object that lists them all makes the older ones superfluous.
    old = {key_id: {"key": FIRST.public_key, "expired_ts": 1} for key_id in keys.keys}
    assert merge(keys, read(document(SECOND, old=old)), direct=True).older == ()
