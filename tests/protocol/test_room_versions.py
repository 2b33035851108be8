from __future__ import annotations

import pytest

from conduit.protocol.errors import UnsupportedRoomVersion
from conduit.protocol.room_versions import (
    ROOM_VERSIONS,
    SUPPORTED,
    EventIdFormat,
    room_version,
    version_of_create,
)

# One column a version, 1 to 12: the first in which the property holds.
SINCE = {
    "event_ids_are_hashes": 3,
    "key_validity_enforced": 5,
    "strict_canonical_json": 6,
    "notification_levels_guarded": 6,
    "knocking": 7,
    "restricted_joins": 8,
    "integer_power_levels": 10,
    "knock_restricted_joins": 10,
    "creator_is_sender": 11,
    "redacts_in_content": 11,
    "creators_privileged": 12,
    "room_id_is_create_hash": 12,
}
UNTIL = {"redactions_authorised": 2, "aliases_authorised": 5}


@pytest.mark.parametrize("number", range(1, 13))
def test_table_gives_each_version_its_properties(number: int) -> None:
    """The feature matrix and the "added in" notes of the specification."""
    version = ROOM_VERSIONS[str(number)]
    assert version.id == str(number)
    assert version.stable
    assert {name: getattr(version, name) for name in SINCE} == {name: number >= first for name, first in SINCE.items()}
    assert {name: getattr(version, name) for name in UNTIL} == {name: number <= last for name, last in UNTIL.items()}
    assert version.state_res == (1 if number == 1 else 21 if number == 12 else 2)
    expected = EventIdFormat.GIVEN if number < 3 else EventIdFormat.HASH if number == 3 else EventIdFormat.URLSAFE_HASH
    assert version.event_id_format is expected


def test_supported_lists_all_versions() -> None:
    """Oldest first."""
    assert tuple(str(number) for number in range(1, 13)) == SUPPORTED


@pytest.mark.parametrize("unknown", ["0", "13", "org.matrix.msc1", "", None, 1, ["1"]])
def test_unknown_version_is_unsupported(unknown: object) -> None:
    """An identifier of any shape is answered with the specification's code."""
    with pytest.raises(UnsupportedRoomVersion):
        room_version(unknown)


def test_create_event_without_version_makes_a_version_1_room() -> None:
    """As the specification of m.room.create says."""
    assert version_of_create({}).id == "1"
    assert version_of_create({"room_version": "11"}).id == "11"
    with pytest.raises(UnsupportedRoomVersion):
        version_of_create({"room_version": 11})
