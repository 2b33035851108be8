"""Typed codecs for keys and values: tuples in, bytes out, and tuple order is byte order (but a text sorts behind the longer texts that begin with it).

A key is a row of parts. A part of fixed width stands as it is; a part of free width (text) ends in 0xff unless it is the key's
last. 0xff never occurs in UTF-8, so text parts are cut at it safely; fixed parts may hold any byte and are cut by
width, never searched. Nothing outside this file splits a key.

    U64            8 bytes, big-endian             sorts as the number
    U64_FF         8 bytes, then 0xff              Conduit puts a separator after some fixed parts
    U32            4 bytes, big-endian
    TEXT           UTF-8 [0xff]
    BYTES32        32 bytes (a SHA-256)
    RAW            any bytes; last part only
    POSITION       8 bytes: 2^63 + n for a live position n, 2^63 - n for a backfilled one (n > 0); sorts as time

The layouts are frozen: rows written by Conduit, and by older releases of this server, are read with them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import orjson

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One part of a key. `width` counts a fixed part's bytes, `tail` included; `None` means ended by 0xff."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    width: int | None


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """A whole key or value. `decode` raises `ValueError` (or a subclass) for bytes that it did not write.

    `prefix` encodes the first parts of a key so that exactly the keys beginning with those parts start with its bytes; it is `None` for values
    and for keys of one part. `parts` counts a key's parts, and `layout` is what it consists of where that is a plain row.
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    prefix: Callable[[tuple[Any, ...]], bytes] | None = None
    parts: int = 1
    layout: tuple[Part[Any], ...] = ()


def _decode_u64(data: bytes) -> int:
    if len(data) != 8:
        raise ValueError(f"{len(data)} bytes where 8 were expected")
    return int.from_bytes(data, "big")


def _decode_u32(data: bytes) -> int:
    if len(data) != 4:
        raise ValueError(f"{len(data)} bytes where 4 were expected")
    return int.from_bytes(data, "big")


def _encode_u64_ff(number: int) -> bytes:
    return _U64.pack(number) + b"\xff"


def _decode_u64_ff(data: bytes) -> int:
    if len(data) != 9 or data[8] != 0xFF:
        raise ValueError("an 8-byte number and 0xff were expected")
    return int.from_bytes(data[:8], "big")


def _decode_text(data: bytes) -> str:
    return data.decode("utf-8")


def _bytes32(data: bytes) -> bytes:
    if len(data) != 32:
        raise ValueError(f"{len(data)} bytes where 32 were expected")
    return data


def _same(data: bytes) -> bytes:
    return data


def _encode_position(position: int) -> bytes:
    return _U64.pack(_SIGN + position)


def _decode_position(data: bytes) -> int:
    return _decode_u64(data) - _SIGN


U64: Part[int] = Part(_U64.pack, _decode_u64, 8)
U64_FF: Part[int] = Part(_encode_u64_ff, _decode_u64_ff, 9)
U32: Part[int] = Part(_U32.pack, _decode_u32, 4)
TEXT: Part[str] = Part(str.encode, _decode_text, None)
BYTES32: Part[bytes] = Part(_bytes32, _bytes32, 32)
RAW: Part[bytes] = Part(_same, _same, None)
POSITION: Part[int] = Part(_encode_position, _decode_position, 8)


def _encode_two(
    first: Callable[[Any], bytes], tail: bytes, second: Callable[[Any], bytes]
) -> Callable[[tuple[Any, ...]], bytes]:
    # Keys of two and three parts are written many times a message; the loop below costs twice as much.
    def encode(row: tuple[Any, ...]) -> bytes:
        a, b = row
        return first(a) + tail + second(b)

    return encode


def _encode_three(
    first: Callable[[Any], bytes],
    first_tail: bytes,
    second: Callable[[Any], bytes],
    second_tail: bytes,
    third: Callable[[Any], bytes],
) -> Callable[[tuple[Any, ...]], bytes]:
    def encode(row: tuple[Any, ...]) -> bytes:
        a, b, c = row
        return first(a) + first_tail + second(b) + second_tail + third(c)

    return encode


def _row(parts: tuple[Part[Any], ...]) -> Codec[Any]:
    count = len(parts)
    # What follows each part on its way to the next one.
    tails = [b"" if part.width is not None else b"\xff" for part in parts[:-1]] + [b""]

    def prefix(row: tuple[Any, ...]) -> bytes:
        pieces = []
        for index, value in enumerate(row):
            pieces.append(parts[index].encode(value))
            pieces.append(tails[index])
        return b"".join(pieces)

    def encode(row: tuple[Any, ...]) -> bytes:
        if len(row) != count:
            raise _wrong_count(row, count)
        return prefix(row)

    encode_row: Callable[[tuple[Any, ...]], bytes] = encode
    decode_row = _decoder(parts)
    if all(part is U64 for part in parts):
        encode_row, decode_row = _packed(count)
    elif all(part is TEXT for part in parts):
        encode_row, decode_row = _texts(count, decode_row)
    elif count == 2:
        encode_row = _encode_two(parts[0].encode, tails[0], parts[1].encode)
    elif count == 3:
        encode_row = _encode_three(parts[0].encode, tails[0], parts[1].encode, tails[1], parts[2].encode)
    return Codec(encode_row, decode_row, prefix, count, parts)


def _wrong_count(row: tuple[Any, ...], count: int) -> ValueError:
    return ValueError(f"{len(row)} parts where {count} were expected")


def _decoder(parts: tuple[Part[Any], ...]) -> Callable[[bytes], tuple[Any, ...]]:
    last = len(parts) - 1

    def decode(data: bytes) -> tuple[Any, ...]:
        row = []
        at = 0
        for index, part in enumerate(parts):
            if part.width is not None:
                stop = at + part.width
                after = stop
            elif index == last:
                stop = after = len(data)
            else:
                stop = data.find(b"\xff", at)
                if stop < 0:
                    raise ValueError(f"part {index + 1} is not ended")
                after = stop + 1
            row.append(part.decode(data[at:stop]))
            at = after
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes too many")
        return tuple(row)

    return decode


def _packed(count: int) -> tuple[Callable[[tuple[Any, ...]], bytes], Callable[[bytes], tuple[Any, ...]]]:
    """Return what encodes and decodes rows of counts, in one call each."""
    packed = struct.Struct(f">{count}Q")

    def encode(row: tuple[Any, ...]) -> bytes:
        return packed.pack(*row)

    def decode(data: bytes) -> tuple[Any, ...]:
        try:
            return packed.unpack(data)
        except struct.error as error:
            raise ValueError(str(error)) from None

    return encode, decode


def _texts(
    count: int, decode_any: Callable[[bytes], tuple[Any, ...]]
) -> tuple[Callable[[tuple[Any, ...]], bytes], Callable[[bytes], tuple[Any, ...]]]:
    """Return what encodes and decodes rows of texts, in one call each."""

    def encode(row: tuple[Any, ...]) -> bytes:
        if len(row) != count:
            raise _wrong_count(row, count)
        return b"\xff".join([text.encode() for text in row])

    def decode(data: bytes) -> tuple[Any, ...]:
        found = tuple([text.decode() for text in data.split(b"\xff")])
        return found if len(found) == count else decode_any(data)  # which says what is wrong

    return encode, decode


@overload
def row(a: Part[A], b: Part[B], /) -> Codec[tuple[A, B]]: ...
@overload
def row(a: Part[A], b: Part[B], c: Part[C], /) -> Codec[tuple[A, B, C]]: ...
@overload
def row(a: Part[A], b: Part[B], c: Part[C], d: Part[D], /) -> Codec[tuple[A, B, C, D]]: ...
@overload
def row(a: Part[A], b: Part[B], c: Part[C], d: Part[D], e: Part[E], /) -> Codec[tuple[A, B, C, D, E]]: ...
def row(*parts: Part[Any]) -> Codec[Any]:
    """Return the codec of a key of several parts; its Python form is the tuple of them."""
    return _row(parts)


def one(part: Part[A]) -> Codec[A]:
    """Return the codec of a key or value of one part; its Python form is the part itself."""
    return Codec(part.encode, part.decode, layout=(part,))


def _decode_empty(data: bytes) -> bool:
    if data:
        raise ValueError("an empty value was expected")
    return True


def _encode_numbers(numbers: tuple[int, ...]) -> bytes:
    return struct.pack(f">{len(numbers)}Q", *numbers)


def _decode_numbers(data: bytes) -> tuple[int, ...]:
    if len(data) % 8:
        raise ValueError("a row of 8-byte numbers was expected")
    return struct.unpack(f">{len(data) // 8}Q", data)


EMPTY: Codec[bool] = Codec(lambda _: b"", _decode_empty)
"""A set: the value is empty and reads as `True`."""
JSON: Codec[Any] = Codec(orjson.dumps, orjson.loads)
"""Any JSON value; written without canonicalisation."""
BYTES: Codec[bytes] = Codec(_same, _same)
NUMBER: Codec[int] = one(U64)
STRING: Codec[str] = one(TEXT)
NUMBERS: Codec[tuple[int, ...]] = Codec(_encode_numbers, _decode_numbers)
