"""The server's own keys as it publishes them."""

from __future__ import annotations

from conduit.protocol.signing import OldKey, SigningKey
from conduit.service.outbound.own_keys import VALID_MS, OwnKeys
from conduit.service.outbound.server_keys import read_document
from conduit.utils import base64
from tests.support.clock import START_MS

KEY, OLD = SigningKey(bytes(32), "new"), SigningKey(bytes(31) + b"1", "old")


def own() -> OwnKeys:
    """Return keys of which one is old."""
    return OwnKeys("here.test", KEY, {OLD.key_id: OldKey(OLD.public_key, START_MS - 1000)})


def test_what_is_published_is_what_others_can_read() -> None:
    """Signed, with the old keys and when they ended."""
    keys = read_document(own().published(START_MS), "here.test", now_ms=START_MS, ignored=())
    assert keys.find(KEY.key_id, START_MS) == base64.decode(KEY.public_key)
    assert keys.find(OLD.key_id, START_MS - 1000) == base64.decode(OLD.public_key)
    assert keys.find(OLD.key_id, START_MS) is None
    assert keys.valid_until == START_MS + VALID_MS


def test_what_is_published_is_always_valid_for_hours() -> None:
    """It is signed anew long before it ends, and not at every request; a clock that was set back is noticed."""
    keys = own()
    first = keys.published(START_MS)
    assert keys.published(START_MS + 1000) is first
    for hour in range(100):
        now = START_MS + hour * 3_600_000
        assert keys.published(now)["valid_until_ts"] >= now + VALID_MS // 2
    assert keys.published(START_MS)["valid_until_ts"] == START_MS + VALID_MS


def test_key_that_was_changed_is_published_at_once() -> None:
    """The former among the old ones, whatever was published a moment ago."""
    keys = own()
    keys.published(START_MS)
    next_key = SigningKey(bytes(31) + b"2", "next")
    keys.change(next_key, {**keys.old, KEY.key_id: OldKey(KEY.public_key, START_MS + 5)})
    read = read_document(keys.published(START_MS + 6), "here.test", now_ms=START_MS + 6, ignored=())
    assert [key_id for key_id, key in read.keys.items() if key.current] == [next_key.key_id]
    assert read.find(KEY.key_id, START_MS + 5) == base64.decode(KEY.public_key)
    assert read.find(KEY.key_id, START_MS + 6) is None
    assert set(keys.old) == {OLD.key_id, KEY.key_id}


def test_own_signatures_are_verified_with_either_key() -> None:
    """Old ones until they ended, or at any time where that does not matter."""
    keys = own()
    assert keys.find(KEY.key_id, START_MS * 2) is not None
    assert keys.find(OLD.key_id, START_MS - 1000) is not None
    assert keys.find(OLD.key_id, START_MS) is None
    assert keys.find(OLD.key_id, None) is not None
    assert keys.find("ed25519:none", None) is None
