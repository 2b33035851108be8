from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson
from conduit.protocol.event_auth import required_signers
from conduit.protocol.room_versions import RoomVersion
from tests.protocol.room import ALICE, CAROL, Room, every_version


def _signers(
    version: RoomVersion, content: dict[str, Any], event_type: str = "m.room.member", **changes: Any
) -> set[str]:
    return set(required_signers(Room(version).pdu(ALICE, event_type, content, ALICE, **changes), version))


@every_version()
def test_senders_server_signs(version: RoomVersion) -> None:
    """Every event; in versions 1 and 2 the server of the event id as well."""
    assert _signers(version, {}, "m.room.topic") == {"one"}
    given = {} if version.event_ids_are_hashes else {"event_id": "$x:three"}
    assert _signers(version, {}, "m.room.topic", **given) == ({"one", "three"} if given else {"one"})


@every_version()
def test_authorising_users_server_signs_from_version_8_on(version: RoomVersion) -> None:
    """Rule 5.2; of member events only."""
    content = {"membership": "join", "join_authorised_via_users_server": CAROL}
    assert _signers(version, content) == ({"one", "two"} if version.restricted_joins else {"one"})
    assert _signers(version, content, "m.room.topic") == {"one"}


@every_version(restricted_joins=True)
@pytest.mark.parametrize("authoriser", [None, 5, "carol", [CAROL]])
def test_authorising_user_who_is_none_is_told(version: RoomVersion, authoriser: Any) -> None:
    """Nobody could sign for it."""
    with pytest.raises(BadJson):
        _signers(version, {"membership": "join", "join_authorised_via_users_server": authoriser})


@every_version(event_ids_are_hashes=True)
def test_third_party_invite_is_signed_by_whoever_redeems_it(version: RoomVersion) -> None:
    """The sender's server is not needed; for anything but an invite it is."""
    assert _signers(version, {"membership": "invite", "third_party_invite": {}}) == set()
    assert _signers(version, {"membership": "join", "third_party_invite": {}}) == {"one"}
