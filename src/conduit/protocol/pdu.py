"""The event: what the rest of the server passes around.

An event is read far more often than it is made, so its frequent fields are plain attributes, and it is written
with one dump. It is never changed: a redacted event is another one with the same id.

Source: server-server API, "PDUs" and "Signing Events"; "Event format" of each room version.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, cast

import orjson

from conduit.protocol import hashes
from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson, TooLarge
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit.protocol.redaction import redact
from conduit.protocol.room_versions import RoomVersion
from conduit.protocol.signing import SigningKey, with_signature
from conduit.utils import base64

MAX_EVENT_BYTES: Final = 65_536
"""The size of an event in its federation form, canonical and signed, without `unsigned`."""


class Event:
    """An event of a room, in the format of the room's version; equal to every event with the same id.

    `pdu` is the form sent to other servers: no `unsigned`, and no `event_id` where ids are hashes. It must not be
    changed. `state_key` is None for messages.
    """

    __slots__ = (
        "auth_events",
        "content",
        "depth",
        "event_id",
        "origin_server_ts",
        "pdu",
        "prev_events",
        "redacts",
        "room_id",
        "sender",
        "state_key",
        "type",
        "version",
    )

    def __init__(self, event_id: EventId, pdu: dict[str, Any], version: RoomVersion) -> None:
        """Wrap a federation form whose shape is known to be right (`event_format.check_format`) and whose id is known."""
        self.event_id: Final = event_id
        self.pdu: Final = pdu
        self.version: Final = version
        self.type: Final[str] = pdu["type"]
        self.sender: Final[UserId] = pdu["sender"]
        self.state_key: Final[str | None] = pdu.get("state_key")
        self.content: Final[dict[str, Any]] = pdu["content"]
        self.origin_server_ts: Final[int] = pdu["origin_server_ts"]
        self.depth: Final[int] = pdu["depth"]
        self.prev_events: Final = _cited(pdu["prev_events"], version)
        self.auth_events: Final = _cited(pdu["auth_events"], version)
        hashed = version.room_id_is_create_hash and self.type == "m.room.create"
        self.room_id: Final = RoomId("!" + event_id[1:] if hashed else pdu["room_id"])
        self.redacts: Final = _redacts(pdu, version) if self.type == "m.room.redaction" else None

    @classmethod
    def from_pdu(cls, pdu: dict[str, Any], version: RoomVersion) -> Event:
        """Return the event that a checked PDU is; its id is read or computed, and `unsigned` is dropped."""
        if "unsigned" in pdu:
            pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
        return cls(hashes.event_id(pdu, version), pdu, version)

    @classmethod
    def from_stored(cls, data: bytes, version: RoomVersion) -> Event:
        """Return the event that `stored` wrote. Rows of Conduit may hold `unsigned` too, which is dropped.

        Raises `ValueError` or `KeyError` when the row is damaged.
        """
        pdu = cast("dict[str, Any]", orjson.loads(data))
        event_id = pdu.pop("event_id") if version.event_ids_are_hashes else pdu["event_id"]
        pdu.pop("unsigned", None)
        return cls(event_id, pdu, version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        key = "" if self.state_key is None else f" {self.state_key!r}"
        return f"<Event {self.event_id} {self.type}{key} by {self.sender} in {self.room_id}>"

    @property
    def is_state(self) -> bool:
        """Whether the event is a state event."""
        return self.state_key is not None

    @property
    def membership(self) -> str | None:
        """The membership that the content names, where it is text."""
        value = self.content.get("membership")
        return value if isinstance(value, str) else None

    @property
    def server_name(self) -> ServerName:
        """The server of the sender."""
        return server_name_of(self.sender)

    def stored(self) -> bytes:
        """Return the bytes for the database: the canonical federation form with the event id in it."""
        if self.version.event_ids_are_hashes:
            return dump({**self.pdu, "event_id": self.event_id})
        return dump(self.pdu)

    def federation(self) -> bytes:
        """Return the canonical bytes for other servers."""
        return dump(self.pdu)

    def redacted(self) -> Event:
        """Return what a redaction leaves of the event; the id stays."""
        return Event(self.event_id, redact(self.pdu, self.version), self.version)

    def reference(self) -> str | list[Any]:
        """Return how another event of the room cites this one in `prev_events` and `auth_events`.

        That is its id, in versions 1 and 2 together with its reference hash.
        """
        if self.version.event_ids_are_hashes:
            return self.event_id
        return [self.event_id, {"sha256": base64.encode(hashes.reference_hash(self.pdu, self.version))}]


def _cited(references: list[Any], version: RoomVersion) -> tuple[EventId, ...]:
    # Versions 1 and 2 cite pairs of id and hash.
    return tuple(references) if version.event_ids_are_hashes else tuple([pair[0] for pair in references])


def _redacts(pdu: dict[str, Any], version: RoomVersion) -> EventId | None:
    target = (pdu["content"] if version.redacts_in_content else pdu).get("redacts")
    return EventId(target) if isinstance(target, str) else None


def seal(pdu: dict[str, Any], version: RoomVersion, server_name: str, signing_key: SigningKey) -> Event:
    """Return the finished event: hashed, signed by this server, with its id.

    `pdu` has all other keys of the version's format already: `prev_events` and `auth_events` made of
    `Event.reference()`, in versions 1 and 2 a fresh `event_id`, for the create event of version 12 no `room_id`.
    Its JSON has been checked. Earlier signatures stay (a join that another server began); `unsigned` is dropped.
    Raises `TooLarge` beyond 65,536 bytes, `BadJson` when a string holds lone surrogates.

    Two dumps suffice: the whole for the content hash, the essential part for both signature and id.
    """
    signatures = pdu.get("signatures")
    body = {key: value for key, value in pdu.items() if key not in _SEALED}
    try:
        whole = dump(body)
    except TypeError as error:
        raise BadJson(f"Not canonical JSON: {error}") from None
    body["hashes"] = {"sha256": base64.encode(sha256(whole).digest())}
    essence = hashes.essential_bytes(body, version)
    entry = {server_name: {signing_key.key_id: signing_key.sign(essence)}}
    if signatures:
        entry = {**signatures, server_name: {**signatures.get(server_name, {}), **entry[server_name]}}
    body["signatures"] = entry
    size = len(whole) + _SEAL_BYTES + len(dump(entry))
    if size > MAX_EVENT_BYTES:
        raise TooLarge(f"The event has {size} bytes; {MAX_EVENT_BYTES} are allowed")
    if version.event_ids_are_hashes:
        event_id = hashes.event_id_of_hash(sha256(essence).digest(), version)
    else:
        event_id = hashes.event_id(body, version)
    return Event(event_id, body, version)


_SEALED = frozenset({"hashes", "signatures", "unsigned"})
# `,"hashes":{"sha256":"<43>"}` and `,"signatures":` around the signatures themselves.
_SEAL_BYTES = len(',"hashes":{"sha256":""}') + 43 + len(',"signatures":')


def countersign(event: Event, server_name: str, signing_key: SigningKey) -> Event:
    """Return the event with this server's signature added; hashes and id stay as they are.

    For what another server made and this one vouches for: an invite to a local user, a restricted join.
    """
    signature = signing_key.sign(hashes.essential_bytes(event.pdu, event.version))
    signatures = with_signature(event.pdu.get("signatures"), server_name, signing_key.key_id, signature)
    return Event(event.event_id, {**event.pdu, "signatures": signatures}, event.version)
