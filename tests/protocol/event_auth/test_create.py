from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth import authorise
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, BOB, CAROL, Room, every_version


def _allowed(version: RoomVersion, content: dict[str, Any], sender: str = ALICE, **changes: Any) -> bool:
    pdu = Room(version).pdu(sender, "m.room.create", content, prev_events=changes.pop("prev_events", []), **changes)
    try:
        authorise(Event.from_pdu(pdu, version), version, lambda event_type, state_key: None)
    except Forbidden:
        return False
    return True


@every_version()
def test_create_begins_a_room(version: RoomVersion) -> None:
    """Rule 1.5: with or without naming the version."""
    assert _allowed(version, {"creator": ALICE, "room_version": version.id})
    assert _allowed(version, {"creator": ALICE})


@every_version()
def test_create_after_other_events_is_rejected(version: RoomVersion) -> None:
    """Rule 1.1."""
    previous = [Room(version).events[-1].reference()]
    assert not _allowed(version, {"creator": ALICE}, prev_events=previous)


@every_version()
def test_room_id_is_of_the_senders_server_until_version_11(version: RoomVersion) -> None:
    """Rule 1.2: from version 12 on the event has none at all."""
    assert _allowed(version, {"creator": CAROL}, CAROL) is version.room_id_is_create_hash
    assert _allowed(version, {"creator": ALICE}, room_id="!x:one") is not version.room_id_is_create_hash
    assert not _allowed(version, {"creator": ALICE}, room_id="!x:two")


@every_version()
@pytest.mark.parametrize("named", ["13", "", 1, None, ["1"], {}])
def test_unknown_room_version_is_rejected(version: RoomVersion, named: Any) -> None:
    """Rule 1.3: present but not recognised."""
    assert not _allowed(version, {"creator": ALICE, "room_version": named})


@every_version()
def test_creator_must_be_named_until_version_10(version: RoomVersion) -> None:
    """Rule 1.4 of those versions."""
    assert _allowed(version, {}) is version.creator_is_sender


@every_version()
@pytest.mark.parametrize("additional", [None, BOB, {}, [5], ["bob"], [BOB, None], [BOB, "@" + "x" * 255 + ":one"]])
def test_additional_creators_must_be_user_ids_from_version_12_on(version: RoomVersion, additional: Any) -> None:
    """Rule 1.4: before, the key means nothing."""
    content = {"creator": ALICE, "additional_creators": additional}
    assert _allowed(version, content) is not version.creators_privileged


@every_version()
def test_additional_creators_that_are_user_ids_pass(version: RoomVersion) -> None:
    """Rule 1.4: an empty list as well."""
    for additional in ([], [BOB, CAROL, "@Old style:two"]):
        assert _allowed(version, {"creator": ALICE, "additional_creators": additional})
