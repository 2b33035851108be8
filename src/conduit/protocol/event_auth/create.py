"""Rule 1: `m.room.create`."""

from __future__ import annotations

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import is_user_id, server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import ROOM_VERSIONS, RoomVersion


def check(event: Event, version: RoomVersion) -> None:
    """Raise `Forbidden` unless the event may begin a room."""
    content = event.content
    # 1.1. If it has any prev_events, reject.
    if event.prev_events:
        raise Forbidden("m.room.create comes after other events")
    if version.room_id_is_create_hash:
        # 1.2. If the event has a room_id, reject.
        if "room_id" in event.pdu:
            raise Forbidden("m.room.create names a room_id instead of making it")
    # 1.2, until version 11. If the server of the room_id is not that of the sender, reject.
    elif server_name_of(event.room_id) != server_name_of(event.sender):
        raise Forbidden("The room ID is on another server than the sender of m.room.create")
    # 1.3. If content.room_version is present and not a recognised version, reject.
    named = content.get("room_version", version.id)
    if not isinstance(named, str) or named not in ROOM_VERSIONS:
        raise Forbidden("The room version is not known")
    # 1.4. If additional_creators is present and not an array of user ids, reject.
    if version.creators_privileged and "additional_creators" in content:
        additional = content["additional_creators"]
        if not isinstance(additional, list) or not all(is_user_id(user) for user in additional):
            raise Forbidden("additional_creators is not an array of user IDs")
    # 1.4, until version 10. If content has no creator, reject.
    if not version.creator_is_sender and "creator" not in content:
        raise Forbidden("m.room.create names no creator")
