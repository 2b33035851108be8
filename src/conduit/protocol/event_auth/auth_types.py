"""Which part of the state an event cites as its auth events, and whether it cites that.

Source: server-server API, "Auth events selection"; rule 3 of the authorisation rules.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion

_NEEDS_JOIN_RULES = frozenset({"join", "invite", "knock"})


def auth_types_for(
    event_type: str, sender: str, state_key: str | None, content: dict[str, Any], version: RoomVersion
) -> list[tuple[str, str]]:
    """Return the type and state key of the state events that authorise such an event, without duplicates.

    Those of them that the room has are the event's `auth_events`. `m.room.create` cites none; in version 12 nothing
    cites `m.room.create`.
    """
    if event_type == "m.room.create":
        return []
    types = [("m.room.power_levels", ""), ("m.room.member", sender)]
    if not version.room_id_is_create_hash:
        types.insert(0, ("m.room.create", ""))
    if event_type == "m.room.member" and state_key is not None:
        if state_key != sender:
            types.append(("m.room.member", state_key))
        types.extend(key for key in _for_membership(content, version) if key not in types)
    return types


def _for_membership(content: dict[str, Any], version: RoomVersion) -> Iterable[tuple[str, str]]:
    membership = content.get("membership")
    if not isinstance(membership, str):
        return
    if membership in _NEEDS_JOIN_RULES:
        yield "m.room.join_rules", ""
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            yield "m.room.third_party_invite", token
    if membership == "join" and version.restricted_joins:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            yield "m.room.member", authoriser


def third_party_token(content: dict[str, Any]) -> str | None:
    """Return the token of a third-party invite that an `m.room.member` redeems, if it names one."""
    third_party = content.get("third_party_invite")
    signed = third_party.get("signed") if isinstance(third_party, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None


def check_auth_events(
    event: Event, version: RoomVersion, auth_events: Iterable[Event], *, rejected: Container[EventId] = ()
) -> None:
    """Raise `Forbidden` unless the events that `event` cites are such as it may cite (rule 3).

    `auth_events` are all the events cited, `rejected` the ids of those that were rejected themselves.
    """
    allowed = set(auth_types_for(event.type, event.sender, event.state_key, event.content, version))
    seen: set[tuple[str, str]] = set()
    for cited in auth_events:
        key = (cited.type, cited.state_key or "")
        # 3.1. If there are duplicate entries for a type and state key, reject.
        if key in seen:
            raise Forbidden(f"Two auth events have the type {cited.type} and the same state key")
        seen.add(key)
        # 3.2. If there are entries that auth events selection does not name, reject.
        if key not in allowed or cited.state_key is None:
            raise Forbidden(f"The auth event of type {cited.type} does not authorise such an event")
        # 3.3. If there are entries which were themselves rejected, reject.
        if cited.event_id in rejected:
            raise Forbidden("An auth event was rejected")
        # 3.5. If an entry belongs to another room, reject.
        if cited.room_id != event.room_id:
            raise Forbidden("An auth event belongs to another room")
    # 3.4, until version 11. If there is no m.room.create among the entries, reject.
    if not version.room_id_is_create_hash and event.type != "m.room.create" and ("m.room.create", "") not in seen:
        raise Forbidden("m.room.create is not among the auth events")
