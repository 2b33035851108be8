"""The composite layouts: keys and values that are more than a row of parts. Drawn here, frozen like all layouts.

PDU_ID        live           shortroom · count                          16 bytes
              backfilled     shortroom · 0 · 2^64-1-n                   24 bytes   before all live events, greater n earlier
              gap-filled     shortroom · count · 0 · 2^64-1-n           32 bytes   right after live event `count`
STATE_DIFF    parent or 0 · (shortstatekey · shortevent)* [· 0 · (shortstatekey · shortevent)*]   added, then removed, each sorted
EVENT_META    status (1 byte) · shortroom · depth · shortevent*                                   auth events
RELATION      shortevent · rel_type ff event type ff sender
MEMBERSHIP    count · shortevent · membership
MEDIA_META    SHA-256 · filename ff content type [ff]      the last ff: also served without authentication
ACCOUNT_DATA  room-or-empty ff user ff count ff type
QUEUE         destination ff (pdu id | count), destination = server, `+` application service or `$` user ff push key
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from conduit.database.codec import TEXT, U64, U64_FF, Codec, row

_MAX = (1 << 64) - 1
_TWO = struct.Struct(">QQ")
_THREE = struct.Struct(">QQQ")
_FOUR = struct.Struct(">QQQQ")


class PduId(NamedTuple):
    """A position in a room's timeline. Tuple order is not time order: compare `order()`, or the encoded bytes.

    `live` is the live event's count, or 0 for history before all live events; `back` is 0 for a live event, else the
    backfill count n (greater n = earlier).
    """

    room: int
    live: int
    back: int = 0

    def order(self) -> tuple[int, int]:
        """Return what sorts as time within the room."""
        return (self.live, _MAX - self.back if self.back else 0)

    def token(self) -> str:
        """Return the position in the form used in pagination tokens: `n`, `-n` or `count~n`."""
        if not self.back:
            return str(self.live)
        return f"{self.live}~{self.back}" if self.live else f"-{self.back}"


def _encode_pdu_id(pdu_id: PduId) -> bytes:
    if not pdu_id.back:
        return _TWO.pack(pdu_id.room, pdu_id.live)
    if pdu_id.live:
        return _FOUR.pack(pdu_id.room, pdu_id.live, 0, _MAX - pdu_id.back)
    return _THREE.pack(pdu_id.room, 0, _MAX - pdu_id.back)


def _decode_pdu_id(data: bytes) -> PduId:
    if len(data) == 16:
        return PduId(*_TWO.unpack(data))
    if len(data) == 24:
        room, zero, rest = _THREE.unpack(data)
        if zero == 0 and rest != _MAX:
            return PduId(room, 0, _MAX - rest)
    if len(data) == 32:
        room, count, zero, rest = _FOUR.unpack(data)
        if zero == 0 and count and rest != _MAX:
            return PduId(room, count, _MAX - rest)
    raise ValueError("not a timeline position")


def _pdu_id_prefix(parts: tuple[Any, ...]) -> bytes:
    """Encode (room,) or (room, position): a `PduId` as second part stands for the whole key, a number for a count."""
    if len(parts) == 1:
        return U64.encode(parts[0])
    room, position = parts
    if isinstance(position, PduId):
        return _encode_pdu_id(position)
    return _TWO.pack(room, position)


PDU_ID: Codec[PduId] = Codec(_encode_pdu_id, _decode_pdu_id, _pdu_id_prefix, 2)


class StateDiff(NamedTuple):
    """A layer of state: `added` and `removed` are packed (shortstatekey, shortevent) pairs of 16 bytes, sorted."""

    parent: int
    added: bytes
    removed: bytes


def _encode_diff(diff: StateDiff) -> bytes:
    data = U64.encode(diff.parent) + diff.added
    return data + bytes(8) + diff.removed if diff.removed else data


def _decode_diff(data: bytes) -> StateDiff:
    if len(data) % 8 or len(data) < 8:
        raise ValueError("a row of 8-byte numbers was expected")
    parent = U64.decode(data[:8])
    body = len(data) - 8
    if body % 16 == 0:  # no divider: whole pairs only
        return StateDiff(parent, data[8:], b"")
    for at in range(8, len(data), 16):
        if data[at : at + 8] == bytes(8):
            return StateDiff(parent, data[8:at], data[at + 8 :])
    raise ValueError("the divider is missing")


STATE_DIFF: Codec[StateDiff] = Codec(_encode_diff, _decode_diff)


class EventMeta(NamedTuple):
    """What is known of an event without reading it. `status` is one of the constants below."""

    status: int
    room: int
    depth: int
    auth: tuple[int, ...]


ACCEPTED, REJECTED, SOFT_FAILED, OUTLIER, PARTIAL = range(5)


def _encode_meta(meta: EventMeta) -> bytes:
    return struct.pack(f">BQQ{len(meta.auth)}Q", meta.status, meta.room, meta.depth, *meta.auth)


def _decode_meta(data: bytes) -> EventMeta:
    if len(data) < 17 or (len(data) - 17) % 8:
        raise ValueError("not the facts of an event")
    status, room, depth, *auth = struct.unpack(f">BQQ{(len(data) - 17) // 8}Q", data)
    return EventMeta(status, room, depth, tuple(auth))


EVENT_META: Codec[EventMeta] = Codec(_encode_meta, _decode_meta)


class Relation(NamedTuple):
    """One event's relation to another."""

    event: int
    rel_type: str
    event_type: str
    sender: str


def _decode_relation(data: bytes) -> Relation:
    rel_type, event_type, sender = data[8:].split(b"\xff")
    return Relation(U64.decode(data[:8]), rel_type.decode(), event_type.decode(), sender.decode())


RELATION: Codec[Relation] = Codec(
    lambda r: U64.encode(r.event) + b"\xff".join((r.rel_type.encode(), r.event_type.encode(), r.sender.encode())),
    _decode_relation,
)


class Membership(NamedTuple):
    """A user's membership of a room: since which count, by which event (0 for an invite over federation)."""

    membership: str
    since: int
    event: int


def _decode_membership(data: bytes) -> Membership:
    return Membership(data[16:].decode(), U64.decode(data[:8]), U64.decode(data[8:16]))


MEMBERSHIP: Codec[Membership] = Codec(lambda m: _TWO.pack(m.since, m.event) + m.membership.encode(), _decode_membership)


class MediaMeta(NamedTuple):
    """Where a media item's bytes are and how to serve them. Empty name or type means none."""

    sha256: bytes
    filename: str
    content_type: str
    unauthenticated: bool


def _encode_media(meta: MediaMeta) -> bytes:
    tail = b"\xff" if meta.unauthenticated else b""
    return meta.sha256 + meta.filename.encode() + b"\xff" + meta.content_type.encode() + tail


def _decode_media(data: bytes) -> MediaMeta:
    if len(data) < 33:
        raise ValueError("not a media item")
    filename, content_type, *rest = data[32:].split(b"\xff")
    return MediaMeta(data[:32], filename.decode(), content_type.decode(), bool(rest))


MEDIA_META: Codec[MediaMeta] = Codec(_encode_media, _decode_media)

_account_data = row(TEXT, TEXT, U64_FF, TEXT)
ACCOUNT_DATA: Codec[tuple[str, str, int, str]] = _account_data

THREE_NUMBERS: Codec[tuple[int, int, int]] = row(U64, U64, U64)


def _decode_room_then_event(data: bytes) -> tuple[str, str]:
    at = data.index(b"$")
    return data[:at].decode(), data[at:].decode()


ROOM_THEN_EVENT: Codec[tuple[str, str]] = Codec(
    lambda pair: pair[0].encode() + pair[1].encode(),
    _decode_room_then_event,
    lambda parts: b"".join(part.encode() for part in parts),
    2,
)


def _encode_queue(key: tuple[tuple[str, ...], bytes]) -> bytes:
    destination, item = key
    return b"\xff".join([*(part.encode() for part in destination), item])


def _decode_queue(data: bytes) -> tuple[tuple[str, ...], bytes]:
    # A push destination has two text parts, every other has one; what follows may hold 0xff.
    count = 2 if data.startswith(b"$") else 1
    *destination, item = data.split(b"\xff", count)
    if len(destination) != count:
        raise ValueError("no destination")
    return tuple(part.decode() for part in destination), item


QUEUE: Codec[tuple[tuple[str, ...], bytes]] = Codec(_encode_queue, _decode_queue)
"""((destination parts), pdu id or count in its encoded form)."""
