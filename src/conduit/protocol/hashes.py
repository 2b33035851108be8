"""The two hashes of an event, and the id made from one of them.

Source: server-server API, "Signing Events"; "Event IDs" of each room version.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson
from conduit.protocol.ids import EventId
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import EventIdFormat, RoomVersion
from conduit.utils import base64

_NOT_HASHED = frozenset({"unsigned", "signatures", "hashes"})


def content_hash(pdu: dict[str, Any]) -> str:
    """Return the hash of the whole event without `unsigned`, `signatures` and `hashes`, in unpadded Base64."""
    return base64.encode(_content_digest(pdu))


def _content_digest(pdu: dict[str, Any]) -> bytes:
    return sha256(dump({k: v for k, v in pdu.items() if k not in _NOT_HASHED})).digest()


def has_valid_content_hash(pdu: dict[str, Any]) -> bool:
    """Tell whether the event still has the content that its sender hashed; a redacted event has not."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    # Compared after decoding, so that padding makes no difference.
    try:
        return isinstance(claimed, str) and base64.decode(claimed) == _content_digest(pdu)
    except ValueError:
        return False


def essential_bytes(pdu: dict[str, Any], version: RoomVersion) -> bytes:
    """Return the canonical bytes of the redacted event without its signatures.

    Both the signatures and the reference hash cover just these bytes: compute them once and use them twice.
    """
    essence = redact(pdu, version)
    essence.pop("signatures", None)
    return dump(essence)


def reference_hash(pdu: dict[str, Any], version: RoomVersion) -> bytes:
    """Return the SHA-256 over the essential parts of the event, 32 bytes."""
    return sha256(essential_bytes(pdu, version)).digest()


def event_id(pdu: dict[str, Any], version: RoomVersion) -> EventId:
    """Return the event's id: the one it carries (versions 1 and 2), else the one that its hash gives."""
    if not version.event_ids_are_hashes:
        return _given_id(pdu)
    return event_id_of_hash(reference_hash(pdu, version), version)


def event_id_of_hash(digest: bytes, version: RoomVersion) -> EventId:
    """Return the id for a reference hash, in a version whose ids are hashes."""
    if version.event_id_format is EventIdFormat.HASH:
        return EventId("$" + base64.encode(digest))
    return EventId("$" + base64.encode_urlsafe(digest))


def _given_id(pdu: dict[str, Any]) -> EventId:
    given = pdu.get("event_id")
    if not isinstance(given, str):
        raise BadJson("The event has no event_id")
    return EventId(given)
