from __future__ import annotations

from typing import Any

import orjson
import pytest
import signedjson.key
import signedjson.sign
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol import hashes, signing
from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson, TooLarge
from conduit.protocol.pdu import MAX_EVENT_BYTES, Event, countersign, seal
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from conduit.protocol.signing import SigningKey
from conduit.utils import base64
from tests.protocol.room import ALICE, BOB, Room, every_version
from tests.protocol.test_canonical_json import JSON, TEXT
from tests.protocol.test_hashes import MINIMAL, MINIMAL_HASH, REDACTABLE, REDACTABLE_HASH
from tests.protocol.test_signing import KEY, SEED_TEXT

CONTENT = st.dictionaries(TEXT, JSON, max_size=4)


def _unsealed(room: Room, **changes: Any) -> dict[str, Any]:
    return room.pdu(ALICE, "m.room.message", {"body": "hello"}, None, hashes=None, signatures=None, **changes)


@pytest.mark.parametrize(
    "pdu", [{**MINIMAL, "event_id": "$0:domain"}, {**REDACTABLE, "depth": 1, "prev_events": [], "auth_events": []}]
)
def test_seal_is_what_the_reference_libraries_do(pdu: dict[str, Any]) -> None:
    """Hash, redact, sign: the result of the one pass is that of the steps."""
    version = ROOM_VERSIONS["1"]
    event = seal(pdu, version, "domain", KEY)
    hashed = {k: v for k, v in pdu.items() if k != "unsigned"}
    hashed["hashes"] = {"sha256": hashes.content_hash(pdu)}
    theirs = signedjson.key.decode_signing_key_base64("ed25519", "1", SEED_TEXT)
    stripped = signedjson.sign.sign_json({**redact(hashed, version), "signatures": {}}, "domain", theirs)
    assert event.pdu == {**hashed, "signatures": stripped["signatures"]}


def test_signature_gives_the_specifications_vectors() -> None:
    """The two signed events of the appendix (they lack keys that an event must have, so they are signed as JSON)."""
    version = ROOM_VERSIONS["1"]
    for pdu, content_hash, signature in (
        (
            MINIMAL,
            MINIMAL_HASH,
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            REDACTABLE,
            REDACTABLE_HASH,
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ):
        essence = hashes.essential_bytes({**pdu, "hashes": {"sha256": content_hash}}, version)
        assert KEY.sign(essence) == signature


@every_version()
def test_seal_makes_an_event_that_others_accept(version: RoomVersion) -> None:
    """The content hash holds, the signature verifies on the redacted form, and the id is the one others compute."""
    event = seal(_unsealed(Room(version), unsigned={"age": 1}), version, "one", KEY)
    assert hashes.has_valid_content_hash(event.pdu)
    assert signing.verify(redact(event.pdu, version), "one", KEY.key_id, KEY.public_key)
    assert Event.from_pdu(orjson.loads(event.federation()), version) == event
    assert "unsigned" not in event.pdu


@given(content=CONTENT)
def test_seal_signs_any_content(content: dict[str, Any]) -> None:
    """Whatever JSON a client sends."""
    version = ROOM_VERSIONS["12"]
    event = seal({**_unsealed(Room(version)), "content": content}, version, "one", KEY)
    assert hashes.has_valid_content_hash(event.pdu)
    assert Event.from_stored(event.stored(), version).pdu == event.pdu


def test_seal_keeps_earlier_signatures() -> None:
    """An event that another server has signed, too, is signed for both; our own older signature stays."""
    version = ROOM_VERSIONS["11"]
    event = seal(_unsealed(Room(version)), version, "one", KEY)
    twice = seal(
        {**event.pdu, "signatures": {"two": {"ed25519:x": "s"}, "one": {"ed25519:old": "t"}}}, version, "one", KEY
    )
    own = event.pdu["signatures"]["one"]["ed25519:1"]
    assert twice.pdu["signatures"] == {"two": {"ed25519:x": "s"}, "one": {"ed25519:old": "t", "ed25519:1": own}}
    assert twice.event_id == event.event_id


def test_seal_measures_the_whole_event() -> None:
    """Exactly 65,536 bytes pass, one more does not: signatures and hashes count, unsigned does not."""
    version = ROOM_VERSIONS["11"]
    pdu = _unsealed(Room(version))
    size = len(seal(pdu, version, "one", KEY).federation())
    padding = MAX_EVENT_BYTES - size + len("hello")
    fitting = {**pdu, "content": {"body": "x" * padding}, "unsigned": {"a": "x" * 100}}
    assert len(seal(fitting, version, "one", KEY).federation()) == MAX_EVENT_BYTES
    with pytest.raises(TooLarge):
        seal({**pdu, "content": {"body": "x" * (padding + 1)}}, version, "one", KEY)


def test_seal_refuses_lone_surrogates() -> None:
    """They have no bytes to be hashed."""
    version = ROOM_VERSIONS["11"]
    with pytest.raises(BadJson):
        seal({**_unsealed(Room(version)), "content": {"body": "\ud800"}}, version, "one", KEY)


@every_version()
def test_countersign_adds_a_signature_only(version: RoomVersion) -> None:
    """Id and hashes stay; both signatures verify."""
    other = SigningKey(bytes(32), "b")
    event = seal(_unsealed(Room(version)), version, "one", KEY)
    both = countersign(event, "two", other)
    assert both == event
    assert both.pdu["hashes"] == event.pdu["hashes"]
    essence = redact(both.pdu, version)
    assert signing.verify(essence, "one", KEY.key_id, KEY.public_key)
    assert signing.verify(essence, "two", other.key_id, other.public_key)
    assert set(event.pdu["signatures"]) == {"one"}


@every_version()
def test_stored_form_round_trips(version: RoomVersion) -> None:
    """For state and messages, in every format; it is canonical and carries the event id."""
    room = Room(version)
    for event in (*room.events, room.event(ALICE, "m.room.message", {"body": "ä\n\u2028"}, None)):
        stored = event.stored()
        again = Event.from_stored(stored, version)
        assert dump(orjson.loads(stored)) == stored
        assert orjson.loads(stored)["event_id"] == event.event_id
        assert all(getattr(again, name) == getattr(event, name) for name in Event.__slots__)
        assert again.stored() == stored


@every_version()
def test_federation_form_has_an_event_id_only_where_ids_are_given(version: RoomVersion) -> None:
    """And never `unsigned`."""
    room = Room(version)
    event = Event.from_pdu({**_unsealed(room), "hashes": {}, "signatures": {}, "unsigned": {"age": 3}}, version)
    sent = orjson.loads(event.federation())
    assert ("event_id" in sent) is not version.event_ids_are_hashes
    assert "unsigned" not in sent


def test_stored_row_of_conduit_with_unsigned_is_read() -> None:
    """Their rows keep `unsigned` beside the event."""
    event = Room("10").events[0]
    row = orjson.dumps({**orjson.loads(event.stored()), "unsigned": {"age": 5}})
    assert Event.from_stored(row, event.version).pdu == event.pdu


@pytest.mark.parametrize("row", [b"", b"{", b"{}", b'{"event_id":"$a"}'])
def test_damaged_row_is_told_by_its_error(row: bytes) -> None:
    """The database floor turns these into its own."""
    with pytest.raises((ValueError, KeyError)):
        Event.from_stored(row, ROOM_VERSIONS["10"])


def test_create_event_of_version_12_makes_the_room_id() -> None:
    """The event has one, what is stored and sent has none."""
    event = Room("12").events[0]
    assert event.room_id == "!" + event.event_id[1:]
    assert b'"room_id"' not in event.stored()
    assert b'"room_id"' not in event.federation()


@every_version()
def test_references_cite_previous_events(version: RoomVersion) -> None:
    """As plain ids, in versions 1 and 2 with the hash; the event shows ids alike."""
    room = Room(version)
    create, join = room.events
    assert join.prev_events == (create.event_id,)
    assert join.auth_events == (() if version.room_id_is_create_hash else (create.event_id,))
    if not version.event_ids_are_hashes:
        digest = join.pdu["prev_events"][0][1]["sha256"]
        assert base64.decode(digest) == hashes.reference_hash(create.pdu, version)


@every_version()
def test_redacts_is_read_where_the_version_puts_it(version: RoomVersion) -> None:
    """Beside the content until version 10, in it from 11 on; only redactions redact."""
    room = Room(version)
    above = room.event(ALICE, "m.room.redaction", {}, None, redacts="$x:one")
    within = room.event(ALICE, "m.room.redaction", {"redacts": "$y:one"}, None)
    assert above.redacts == (None if version.redacts_in_content else "$x:one")
    assert within.redacts == ("$y:one" if version.redacts_in_content else None)
    assert room.event(ALICE, "m.room.message", {"redacts": "$y:one"}, None, redacts="$x:one").redacts is None


@every_version()
def test_redacted_event_keeps_its_id(version: RoomVersion) -> None:
    """And loses its content."""
    event = Room(version).event(ALICE, "m.room.message", {"body": "secret"}, None)
    assert event.redacted() == event
    assert event.redacted().content == {}
    assert event.content == {"body": "secret"}


def test_event_shows_what_it_is() -> None:
    """Membership, server, kind, equality by id."""
    room = Room("11")
    join = room.state["m.room.member", ALICE]
    message = room.event(BOB, "m.room.message", {"membership": 1}, None)
    assert (join.membership, join.is_state, join.server_name) == ("join", True, "one")
    assert (message.membership, message.is_state, message.state_key) == (None, False, None)
    assert join != message
    assert join != "join"
    assert len({join, Event.from_stored(join.stored(), room.version)}) == 1
    assert "m.room.member" in repr(join)
