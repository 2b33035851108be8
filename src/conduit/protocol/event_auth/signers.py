"""Whose signatures an event needs.

Source: server-server API, "Validating hashes and signatures on received events"; rule 5.2.
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadJson
from conduit.protocol.ids import ServerName, is_user_id, server_name_of
from conduit.protocol.room_versions import RoomVersion


def required_signers(pdu: dict[str, Any], version: RoomVersion) -> frozenset[ServerName]:
    """Return the servers each of which must have validly signed the event.

    `pdu` has passed `event_format.check_format`. Raises `BadJson` when the event names a user who cannot be one.
    """
    content, signers = pdu["content"], set[ServerName]()
    is_member = pdu["type"] == "m.room.member"
    # A third-party invite is sent on behalf of its maker by whichever server redeems it.
    if not (is_member and content.get("membership") == "invite" and "third_party_invite" in content):
        signers.add(server_name_of(pdu["sender"]))
    # Versions 1 and 2: the server that gave the event its id.
    if not version.event_ids_are_hashes:
        signers.add(server_name_of(pdu["event_id"]))
    if is_member and version.restricted_joins and "join_authorised_via_users_server" in content:
        authoriser = content["join_authorised_via_users_server"]
        if not is_user_id(authoriser):
            raise BadJson("join_authorised_via_users_server is not a user ID")
        signers.add(server_name_of(authoriser))
    return frozenset(signers)
