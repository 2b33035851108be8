from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson, InvalidParam, TooLarge
from conduit.protocol.event_format import check_format, check_new
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.room import ALICE, Room, every_version
from tests.protocol.test_canonical_json import JSON

REFUSALS = (BadJson, InvalidParam, TooLarge)
HASH_ID = "$" + "a" * 43


def _pdu(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    return {**Room(version).pdu(ALICE, "m.room.topic", {"topic": "x"}), **changes}


@every_version()
def test_events_of_the_format_pass(version: RoomVersion) -> None:
    """Every event of a small room, and one with unsigned data."""
    room = Room(version)
    for event in room.events:
        check_format(event.pdu, version)
    check_format(_pdu(version, unsigned={"age": 1, "x": "y" * 70_000}), version)


NO_OBJECT: list[Any] = [None, [], True]
NO_COUNT: list[Any] = [-1, "5", 2**63, 1.5]
NO_SEAL: list[Any] = [None, [], "x", {"sha256": 3}]
NO_REFERENCES: list[Any] = [None, {}, "x", ["x"], [None], [["$a:one"]], [[1, 2]]]
NO_KEY: list[Any] = ["x" * 256, "ä" * 128, "\ud800", 5, None]
WRONG: list[tuple[str, Any]] = [
    *product(("type", "sender", "content", "origin_server_ts", "depth"), NO_OBJECT),
    *product(("depth", "origin_server_ts"), NO_COUNT),
    *product(("hashes", "signatures"), NO_SEAL),
    *product(("prev_events", "auth_events"), NO_REFERENCES),
    *product(("type", "state_key"), NO_KEY),
    ("sender", "alice"),
    ("sender", "@" + "a" * 255 + ":one"),
    ("room_id", None),
    ("room_id", "room"),
    ("room_id", 5),
    ("content", "text"),
    ("content", {"n": 2**64}),
    ("content", {"n": float("nan")}),
    ("unsigned", []),
    ("signatures", {"one": "x"}),
    ("content", {"body": "x" * 65_536}),
]


@every_version()
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_field_is_refused(version: RoomVersion, name: str, value: Any) -> None:
    """Each key of the event with values that it cannot have."""
    with pytest.raises(REFUSALS):
        check_format(_pdu(version, **{name: value}), version)


@every_version()
@pytest.mark.parametrize(
    "name",
    [
        "type",
        "sender",
        "content",
        "origin_server_ts",
        "depth",
        "hashes",
        "signatures",
        "prev_events",
        "auth_events",
        "room_id",
    ],
)
def test_absent_field_is_refused(version: RoomVersion, name: str) -> None:
    """All but state_key and unsigned are required."""
    pdu = _pdu(version)
    del pdu[name]
    with pytest.raises(REFUSALS):
        check_format(pdu, version)


@pytest.mark.parametrize("pdu", [None, [], "x", 5, {}])
def test_what_is_no_event_at_all_is_refused(pdu: Any) -> None:
    """Anything may arrive."""
    with pytest.raises(REFUSALS):
        check_format(pdu, ROOM_VERSIONS["11"])


@every_version()
def test_floats_and_long_integers_are_refused_from_version_6_on(version: RoomVersion) -> None:
    """Older rooms have them in their history."""
    for content in ({"n": 0.5}, {"n": 2**53}):
        pdu = _pdu(version, content=content)
        if version.strict_canonical_json:
            with pytest.raises(BadJson):
                check_format(pdu, version)
        else:
            check_format(pdu, version)


@every_version()
def test_sizes_are_taken_up_to_the_limit(version: RoomVersion) -> None:
    """255 bytes a key and 65,536 bytes in all pass; a byte more does not."""
    check_format(_pdu(version, type="ä" * 127 + "x", state_key="x" * 255), version)
    size = len(dump(_pdu(version, content={"body": ""})))
    check_format(_pdu(version, content={"body": "x" * (65_536 - size)}), version)
    with pytest.raises(TooLarge):
        check_format(_pdu(version, content={"body": "x" * (65_537 - size)}), version)


@every_version()
def test_depth_is_bounded_by_the_version(version: RoomVersion) -> None:
    """By 2^63 - 1, from version 6 on by 2^53 - 1."""
    bound = 2**53 - 1 if version.strict_canonical_json else 2**63 - 1
    check_format(_pdu(version, depth=bound), version)
    check_format(_pdu(version, depth=0, origin_server_ts=0), version)
    with pytest.raises(BadJson):
        check_format(_pdu(version, depth=bound + 1), version)


@every_version()
def test_event_id_stands_in_the_event_only_where_it_is_given(version: RoomVersion) -> None:
    """Elsewhere it would be hashed into another id than the one that it claims."""
    if version.event_ids_are_hashes:
        with pytest.raises(BadJson):
            check_format(_pdu(version, event_id="$x:one"), version)
    else:
        for given_id in (None, "x", "$x", 5, HASH_ID, HASH_ID + ":one" + "x" * 255):
            with pytest.raises(InvalidParam):
                check_format(_pdu(version, event_id=given_id), version)


@every_version()
def test_references_have_the_form_of_the_version(version: RoomVersion) -> None:
    """Pairs, then hashes in standard Base64, then URL-safe ones."""
    forms = {"pair": ["$a:one", {"sha256": "x"}], "standard": "$" + "+/" + "a" * 41, "urlsafe": "$" + "-_" + "a" * 41}
    right = "pair" if int(version.id) < 3 else "standard" if version.id == "3" else "urlsafe"
    for form, reference in forms.items():
        pdu = _pdu(version, prev_events=[reference])
        if form == right:
            check_format(pdu, version)
        else:
            with pytest.raises(InvalidParam):
                check_format(pdu, version)


@every_version()
def test_number_of_references_is_bounded(version: RoomVersion) -> None:
    """20 previous events, 10 auth events."""
    reference: Any = HASH_ID if version.event_ids_are_hashes else ["$a:one", {}]
    for name, bound in (("prev_events", 20), ("auth_events", 10)):
        check_format(_pdu(version, **{name: [reference] * bound}), version)
        with pytest.raises(TooLarge):
            check_format(_pdu(version, **{name: [reference] * (bound + 1)}), version)


@every_version()
def test_room_id_has_the_form_of_the_version(version: RoomVersion) -> None:
    """With a server until version 11, a bare hash from 12 on; the create event of version 12 needs none."""
    right, wrong = "!x:one", "!" + "a" * 43
    if version.room_id_is_create_hash:
        right, wrong = wrong, right
    check_format(_pdu(version, room_id=right), version)
    with pytest.raises(InvalidParam):
        check_format(_pdu(version, room_id=wrong), version)


@given(changes=st.dictionaries(st.sampled_from([*Room("11").events[1].pdu, "unsigned", "redacts"]), JSON, max_size=4))
def test_any_json_gives_a_refusal_or_passes(changes: dict[str, Any]) -> None:
    """No other exception, whatever stands where."""
    for number in ("1", "3", "11", "12"):
        with suppress(*REFUSALS):
            check_format({**Room("11").events[1].pdu, **changes}, ROOM_VERSIONS[number])


def test_new_event_is_checked_in_what_the_client_chose() -> None:
    """Type, state key and content; canonical JSON whatever the room's version."""
    check_new("m.room.message", None, {"body": "x"})
    check_new("", "", {})
    for event_type, state_key, content in (("x" * 256, None, {}), ("x", "ä" * 128, {})):
        with pytest.raises(TooLarge):
            check_new(event_type, state_key, content)
    hostile: list[Any] = [[], None, "x", {"n": 1.0}, {"n": 2**53}]
    for bad in hostile:
        with pytest.raises(BadJson):
            check_new("x", None, bad)
    with pytest.raises(BadJson):
        check_new("x", "\ud800", {})
