"""The shape and the size of events.

`check_format` is the first check of a PDU from another server: what fails here is dropped, for nothing further could
be said about it. What a client sends passes `check_new`, for the server itself makes the rest.

Source: server-server API, "Checks performed on receipt of a PDU" 1; client-server API, "Size limits"; "Event format" of
each room version.
"""

from __future__ import annotations

import re
from typing import Any, Final

from conduit.protocol.canonical_json import MAX_INTEGER, MAX_LAX_INTEGER, check, dump
from conduit.protocol.errors import BadJson, InvalidParam, TooLarge
from conduit.protocol.ids import is_event_id, is_room_id, is_user_id
from conduit.protocol.pdu import MAX_EVENT_BYTES
from conduit.protocol.room_versions import EventIdFormat, RoomVersion

MAX_KEY_BYTES: Final = 255
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10
_REFERENCES: Final = {"prev_events": MAX_PREV_EVENTS, "auth_events": MAX_AUTH_EVENTS}

_HASH: Final = re.compile(r"\$[A-Za-z0-9+/]{43}", re.ASCII)
_URLSAFE_HASH: Final = re.compile(r"\$[A-Za-z0-9_-]{43}", re.ASCII)


def check_format(pdu: Any, version: RoomVersion, *, old: bool = False) -> None:
    """Raise unless `pdu` has the event format of `version`.

    `BadJson` for a wrong shape, `TooLarge` for a size, `InvalidParam` for a malformed identifier. `unsigned` may
    hold anything that is JSON and does not count towards the size. An `old` event may cite any number of others:
    in the history of rooms there are some from before that was limited.
    """
    if not isinstance(pdu, dict):
        raise BadJson("An event is an object")
    _check_values(pdu, version)
    _check_fields(pdu, version)
    _check_references(pdu, version, old=old)
    _check_seals(pdu)
    size = len(dump(pdu)) if "unsigned" not in pdu else len(dump({k: v for k, v in pdu.items() if k != "unsigned"}))
    if size > MAX_EVENT_BYTES:
        raise TooLarge(f"The event has {size} bytes; {MAX_EVENT_BYTES} are allowed")


def check_new(event_type: str, state_key: str | None, content: Any) -> None:
    """Raise unless a client's event can become one of any room version: `BadJson` or `TooLarge`.

    Canonical JSON is demanded whatever the room's version. The size of the whole is measured when it is sealed.
    """
    if not isinstance(content, dict):
        raise BadJson("The content of an event is an object")
    check(content, True)
    _check_key("type", event_type)
    if state_key is not None:
        _check_key("state_key", state_key)


def _check_key(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise BadJson(f"{name} is not a string")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise BadJson(f"{name} is not valid Unicode") from None
    if size > MAX_KEY_BYTES:
        raise TooLarge(f"{name} has {size} bytes; {MAX_KEY_BYTES} are allowed")


def _check_values(pdu: dict[str, Any], version: RoomVersion) -> None:
    """Raise `BadJson` for what no event can hold. What `_check_references` and `_check_seals` look at in full is left to them."""
    for name, value in pdu.items():
        if type(value) is str or name == "signatures":
            continue
        if version.event_ids_are_hashes and name in _REFERENCES:
            continue
        check(value, version.strict_canonical_json, within=1)


def _check_fields(pdu: dict[str, Any], version: RoomVersion) -> None:
    _check_key("type", pdu.get("type"))
    if "state_key" in pdu:
        _check_key("state_key", pdu["state_key"])
    if not isinstance(pdu.get("content"), dict):
        raise BadJson("content is not an object")
    if not is_user_id(pdu.get("sender")):
        raise InvalidParam("sender is not a user ID")
    _check_room_id(pdu, version)
    bound = MAX_INTEGER if version.strict_canonical_json else MAX_LAX_INTEGER
    for name in ("depth", "origin_server_ts"):
        value = pdu.get(name)
        # A bool is an int to Python, not to JSON.
        if type(value) is not int or not 0 <= value <= bound:
            raise BadJson(f"{name} is not an integer from 0 to {bound}")


def _check_room_id(pdu: dict[str, Any], version: RoomVersion) -> None:
    if version.room_id_is_create_hash and pdu["type"] == "m.room.create":
        return  # That it has none is left to the auth rules, which reject instead of dropping.
    room_id = pdu.get("room_id")
    if not isinstance(room_id, str) or not is_room_id(room_id):
        raise InvalidParam("room_id is not a room ID")
    if version.room_id_is_create_hash == (":" in room_id):
        raise InvalidParam("room_id is not a room ID of this room version")


def _check_references(pdu: dict[str, Any], version: RoomVersion, *, old: bool) -> None:
    if version.event_ids_are_hashes:
        # It would be covered by the hash that the id is made of, and shadow that id once stored.
        if "event_id" in pdu:
            raise BadJson("An event of this room version carries no event_id")
    elif not is_event_id(pdu.get("event_id")) or ":" not in pdu["event_id"]:
        # One that names no server could be taken for the hash of an event that is yet to come.
        raise InvalidParam("event_id is not an event ID of this room version")
    for name, bound in _REFERENCES.items():
        references = pdu.get(name)
        if not isinstance(references, list):
            raise BadJson(f"{name} is not an array")
        if len(references) > bound and not old:
            raise TooLarge(f"{name} has {len(references)} entries; {bound} are allowed")
        for reference in references:
            if not _is_reference(reference, version.event_id_format):
                raise InvalidParam(f"{name} holds something that is not a reference to an event")


def _is_reference(reference: Any, form: EventIdFormat) -> bool:
    if form is EventIdFormat.GIVEN:
        return (
            isinstance(reference, list)
            and len(reference) == 2
            and is_event_id(reference[0])
            and isinstance(reference[1], dict)
        )
    known = _HASH if form is EventIdFormat.HASH else _URLSAFE_HASH
    return isinstance(reference, str) and known.fullmatch(reference) is not None


def _check_seals(pdu: dict[str, Any]) -> None:
    hashes = pdu.get("hashes")
    if not isinstance(hashes, dict) or not isinstance(hashes.get("sha256"), str):
        raise BadJson("hashes holds no sha256")
    signatures = pdu.get("signatures")
    if not isinstance(signatures, dict):
        raise BadJson("signatures is not an object")
    for entry in signatures.values():
        if not isinstance(entry, dict) or not all(isinstance(signature, str) for signature in entry.values()):
            raise BadJson("signatures does not map servers to their signatures")
    if not isinstance(pdu.get("unsigned", {}), dict):
        raise BadJson("unsigned is not an object")
