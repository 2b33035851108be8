from __future__ import annotations

import hashlib
from typing import Any

import canonicaljson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.protocol import hashes
from conduit.protocol.errors import BadJson
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.utils import base64
from tests.protocol.room import ALICE, Room, every_version
from tests.protocol.test_canonical_json import JSON, TEXT

# Appendices, "Event Signing": the events as given, and the hash that they receive.
MINIMAL: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
MINIMAL_HASH = "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"
REDACTABLE: dict[str, Any] = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE_HASH = "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"

CONTENT = st.dictionaries(TEXT, JSON, max_size=4)


@pytest.mark.parametrize(("pdu", "expected"), [(MINIMAL, MINIMAL_HASH), (REDACTABLE, REDACTABLE_HASH)])
def test_content_hash_gives_the_specifications_vectors(pdu: dict[str, Any], expected: str) -> None:
    """Both events of the appendix."""
    assert hashes.content_hash(pdu) == expected


def test_content_hash_is_checked_with_and_without_padding() -> None:
    """The bytes are compared, not their spelling."""
    for spelling in (MINIMAL_HASH, MINIMAL_HASH + "="):
        assert hashes.has_valid_content_hash({**MINIMAL, "hashes": {"sha256": spelling}})


@pytest.mark.parametrize(
    "claimed", [None, {}, [], {"sha256": 1}, {"sha256": "§"}, {"sha256": REDACTABLE_HASH}, {"md5": "x"}]
)
def test_content_hash_of_any_shape_is_just_wrong(claimed: Any) -> None:
    """Then the event is taken as redacted; nothing is raised."""
    assert not hashes.has_valid_content_hash({**MINIMAL, "hashes": claimed})


@every_version(event_ids_are_hashes=True)
@settings(max_examples=30)
@given(content=CONTENT)
def test_event_id_is_the_hash_of_the_redacted_event(version: RoomVersion, content: dict[str, Any]) -> None:
    """Computed again the long way, with the libraries of the reference implementation."""
    pdu = {**MINIMAL, "content": content, "type": "m.room.member"}
    essence = {k: v for k, v in redact(pdu, version).items() if k not in ("signatures", "unsigned")}
    digest = hashlib.sha256(canonicaljson.encode_canonical_json(essence)).digest()
    expected = base64.encode(digest) if version.id == "3" else base64.encode_urlsafe(digest)
    assert hashes.event_id(pdu, version) == "$" + expected
    assert hashes.reference_hash(pdu, version) == digest


@every_version(event_ids_are_hashes=True)
def test_event_id_survives_redaction_and_signing(version: RoomVersion) -> None:
    """What redaction removes, and who signed, has no part in it."""
    event = Room(version).event(ALICE, "m.room.message", {"body": "x"}, None)
    assert hashes.event_id(redact(event.pdu, version), version) == event.event_id
    assert hashes.event_id({**event.pdu, "signatures": {"two": {}}, "unsigned": {"a": 1}}, version) == event.event_id


@every_version(event_ids_are_hashes=False)
def test_event_id_of_the_first_versions_is_read(version: RoomVersion) -> None:
    """Its absence is the sender's fault."""
    assert hashes.event_id(REDACTABLE, version) == "$0:domain"
    with pytest.raises(BadJson):
        hashes.event_id(MINIMAL, version)


def test_event_id_differs_between_alphabets_only() -> None:
    """Version 3 writes + and /, version 4 - and _."""
    pdu = {**MINIMAL, "type": "m.room.message"}
    third, fourth = (hashes.event_id(pdu, ROOM_VERSIONS[number]) for number in ("3", "4"))
    assert third.replace("+", "-").replace("/", "_") == fourth
