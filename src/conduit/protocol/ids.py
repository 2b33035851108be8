"""The grammar of identifiers, and a type for each.

The types guard only what mypy sees: an identifier is parsed once at the door (`parse_*`) and trusted within.
Lengths count UTF-8 bytes. Historical user ids are accepted from other servers and refused for new accounts.

Source: appendices, "Identifier Grammar"; rooms/v12 for room ids without a server part.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

from conduit.protocol.errors import InvalidParam, InvalidUsername

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
RoomAlias = NewType("RoomAlias", str)
EventId = NewType("EventId", str)
ServerName = NewType("ServerName", str)
DeviceId = NewType("DeviceId", str)
MxcUri = NewType("MxcUri", str)

MAX_ID_BYTES = 255
_REMEMBERED = 4096
"""How many names are remembered as good or bad: the same come again and again."""
MAX_OPAQUE_BYTES = 255
"""Device ids, transaction ids, push keys and session ids: free text, bounded so that every key fits every engine."""

# hostname / IPv4 / [IPv6], then an optional port. The specification bounds a hostname to 255 characters; IPv6 is
# only matched loosely (hex, colons, dots): whether it is an address is found out by whoever connects.
_SERVER_NAME = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::[0-9]{1,5})?", re.ASCII)
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+", re.ASCII)
# Historical localparts: any Unicode but surrogates, NUL and ':'; the newest spec text keeps them valid in old rooms.
_HISTORICAL = re.compile(r"[^\x00:\ud800-\udfff]*")
# Of these, those with other characters than visible ASCII, or with none, are non-compliant.
_COMPLIANT = re.compile(r"[\x21-\x7e]+", re.ASCII)
_OPAQUE_ROOM = re.compile(r"[^\x00:\ud800-\udfff]+")
_ROOM_V12 = re.compile(r"![A-Za-z0-9_-]{43}", re.ASCII)
_ALIAS = re.compile(r"[^\x00:\ud800-\udfff]+")
_EVENT_HASH = re.compile(r"\$[A-Za-z0-9_+/-]{43}", re.ASCII)
_MXC = re.compile(r"mxc://([^/]+)/([A-Za-z0-9_-]{1,255})", re.ASCII)


def _fits(text: str) -> bool:
    if len(text) > MAX_ID_BYTES:
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def is_server_name(text: str) -> bool:
    """Tell whether `text` is a server name: host or address with an optional port."""
    return len(text) <= MAX_ID_BYTES and _SERVER_NAME.fullmatch(text) is not None


def _split(text: str, sigil: str) -> tuple[str, str] | None:
    if not text.startswith(sigil) or not _fits(text):
        return None
    local, colon, server = text[1:].partition(":")
    return (local, server) if colon and is_server_name(server) else None


def is_user_id(text: object) -> bool:
    """Tell whether `text` is a user id, historical ones included."""
    return isinstance(text, str) and len(text) <= MAX_ID_BYTES and _is_user_id(text)


@lru_cache(maxsize=_REMEMBERED)
def _is_user_id(text: str) -> bool:
    parts = _split(text, "@")
    return parts is not None and _HISTORICAL.fullmatch(parts[0]) is not None


def is_compliant(user_id: str) -> bool:
    """Tell whether a user id is such as may be named outside of events: of visible ASCII."""
    return _COMPLIANT.fullmatch(localpart_of(user_id)) is not None


def is_room_id(text: object) -> bool:
    """Tell whether `text` is a room id of any room version."""
    return isinstance(text, str) and len(text) <= MAX_ID_BYTES and _is_room_id(text)


@lru_cache(maxsize=_REMEMBERED)
def _is_room_id(text: str) -> bool:
    if _ROOM_V12.fullmatch(text):
        return True
    parts = _split(text, "!")
    return parts is not None and _OPAQUE_ROOM.fullmatch(parts[0]) is not None


def is_room_alias(text: object) -> bool:
    """Tell whether `text` is a room alias."""
    if not isinstance(text, str):
        return False
    parts = _split(text, "#")
    return parts is not None and _ALIAS.fullmatch(parts[0]) is not None


def is_event_id(text: object) -> bool:
    """Tell whether `text` is an event id of any room version."""
    if not isinstance(text, str):
        return False
    if _EVENT_HASH.fullmatch(text):
        return True
    parts = _split(text, "$")
    return parts is not None and _OPAQUE_ROOM.fullmatch(parts[0]) is not None


def parse_user_id(text: object) -> UserId:
    """Return `text` as a user id, or raise `InvalidParam`."""
    if not is_user_id(text):
        raise InvalidParam("Not a valid user ID")
    return UserId(str(text))


def parse_compliant_user_id(text: object) -> UserId:
    """Return `text` as a user id such as may be named outside of events, or raise `InvalidParam`."""
    user_id = parse_user_id(text)
    if not is_compliant(user_id):
        raise InvalidParam("Not a compliant user ID")
    return user_id


def parse_room_id(text: object) -> RoomId:
    """Return `text` as a room id, or raise `InvalidParam`."""
    if not is_room_id(text):
        raise InvalidParam("Not a valid room ID")
    return RoomId(str(text))


def parse_room_alias(text: object) -> RoomAlias:
    """Return `text` as a room alias, or raise `InvalidParam`."""
    if not is_room_alias(text):
        raise InvalidParam("Not a valid room alias")
    return RoomAlias(str(text))


def parse_event_id(text: object) -> EventId:
    """Return `text` as an event id, or raise `InvalidParam`."""
    if not is_event_id(text):
        raise InvalidParam("Not a valid event ID")
    return EventId(str(text))


def parse_server_name(text: object) -> ServerName:
    """Return `text` as a server name, or raise `InvalidParam`."""
    if not isinstance(text, str) or not is_server_name(text):
        raise InvalidParam("Not a valid server name")
    return ServerName(text)


def parse_opaque(text: object, name: str) -> str:
    """Return `text`, a free identifier such as a device id, or raise `InvalidParam` naming `name`.

    Free identifiers hold 1 to 255 bytes and no NUL.
    """
    if not isinstance(text, str) or not text or "\0" in text or not _fits(text):
        raise InvalidParam(f"{name} must hold 1 to {MAX_OPAQUE_BYTES} bytes")
    return text


def parse_mxc(text: object) -> tuple[ServerName, str]:
    """Return the server name and media id of an `mxc://` URI, or raise `InvalidParam`."""
    match = _MXC.fullmatch(text) if isinstance(text, str) else None
    if match is None or not is_server_name(match[1]):
        raise InvalidParam("Not a valid mxc:// URI")
    return ServerName(match[1]), match[2]


def server_name_of(identifier: str) -> ServerName:
    """Return the server part of a user id, alias or old-style room or event id.

    The identifier has been parsed before; one without a server part (room version 12) raises `InvalidParam`.
    """
    _, colon, server = identifier.partition(":")
    if not colon:
        raise InvalidParam("The identifier names no server")
    return ServerName(server)


def localpart_of(identifier: str) -> str:
    """Return what stands between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def new_user_id(localpart: str, server_name: ServerName) -> UserId:
    """Return the id of an account to be made here, or raise `InvalidUsername`: today's grammar, whole id within 255 bytes."""
    user_id = f"@{localpart}:{server_name}"
    if not _LOCALPART.fullmatch(localpart) or not _fits(user_id):
        raise InvalidUsername("User names hold a-z, 0-9 and ._=-/+ only, and the whole ID at most 255 bytes")
    return UserId(user_id)
