"""A tree, declared once with typed codecs: `roomuserid_lastread = Tree("roomuserid_lastread", key=row(TEXT, TEXT), value=NUMBER, doc=...)`.

Every read takes a `Source`, the database or an open batch; reading through the batch shows its own writes. Every write
takes a `Batch`. Callers pass and receive Python values: bytes stay below this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from conduit.database.codec import Codec
from conduit.database.errors import Corrupt

K = TypeVar("K")
V = TypeVar("V")


class Source(Protocol):
    """Whatever can be read: the database itself, or a batch (with its own writes on top)."""

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        ...

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        ...

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end`."""
        ...


class Sink(Source, Protocol):
    """What can be written: an open batch."""

    def put_all(self, tree: str, keys: Iterable[bytes], value: bytes) -> None:
        """Set each of `keys` to `value`."""
        ...

    def put(self, tree: str, key: bytes, value: bytes) -> None:
        """Set `key`."""
        ...

    def delete(self, tree: str, key: bytes) -> None:
        """Remove `key`, if it is there."""
        ...


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the smallest key greater than all that start with `prefix`; `None` if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


class Tree(Generic[K, V]):
    """A named, ordered map from `K` to `V`. `ours` tells trees of this server from Conduit's."""

    __slots__ = ("_decode_key", "_decode_value", "_encode_key", "_encode_value", "doc", "key", "name", "ours", "value")

    def __init__(self, name: str, *, key: Codec[K], value: Codec[V], doc: str, ours: bool = False) -> None:
        self.name = name
        self.key = key
        self.value = value
        self.doc = doc
        self.ours = ours
        self._encode_key = key.encode
        self._decode_key = key.decode
        self._encode_value = value.encode
        self._decode_value = value.decode

    def get(self, source: Source, key: K) -> V | None:
        """Return the value at `key`, or `None`."""
        raw_key = self._encode_key(key)
        data = source.get(self.name, raw_key)
        return None if data is None else self._value(raw_key, data)

    def has(self, source: Source, key: K) -> bool:
        """Tell whether `key` is there."""
        return source.get(self.name, self._encode_key(key)) is not None

    def get_many(self, source: Source, keys: Sequence[K]) -> list[V | None]:
        """Return the values at `keys` in their order, read in one go."""
        raw_keys = [self._encode_key(key) for key in keys]
        found = source.get_many(self.name, raw_keys)
        return [
            None if data is None else self._value(raw_key, data) for raw_key, data in zip(raw_keys, found, strict=True)
        ]

    def put(self, sink: Sink, key: K, value: V) -> None:
        """Set `key`."""
        sink.put(self.name, self._encode_key(key), self._encode_value(value))

    def put_all(self, sink: Sink, keys: Iterable[K], value: V) -> None:
        """Set each of `keys` to `value`."""
        sink.put_all(self.name, map(self._encode_key, keys), self._encode_value(value))

    def put_under(self, sink: Sink, prefix: tuple[Any, ...], values: Mapping[Any, V]) -> None:
        """Set the entries whose keys are the parts `prefix` and one more, which is the key in `values`: all the last part of a plain row."""
        part = self.key.layout[len(prefix) :]
        if not prefix or len(part) != 1:
            raise TypeError(f"keys of {self.name} are not {len(prefix)} parts and one more")
        head, encode_last = self._prefix(prefix), part[0].encode
        name, put, encode_value = self.name, sink.put, self._encode_value
        for last, value in values.items():
            put(name, head + encode_last(last), encode_value(value))

    def delete(self, sink: Sink, key: K) -> None:
        """Remove `key`, if it is there."""
        sink.delete(self.name, self._encode_key(key))

    def scan(
        self,
        source: Source,
        prefix: tuple[Any, ...] = (),
        *,
        after: Any = None,
        start: Any = None,
        before: Any = None,
        reverse: bool = False,
    ) -> Iterator[tuple[K, V]]:
        """Return the entries whose keys begin with the parts `prefix`, in key order or backwards.

        `start` (inclusive) or `after` (exclusive, together with everything below it) bounds the next part from below and `before` (exclusive) from above: with
        `prefix=(room,)`, `after=5` and `before=9`, the rows of `room` whose second part is 6, 7 or 8. The next part must be of fixed
        width or the key's last where a bound is given.
        """
        return self._decoded(self._scan_raw(source, prefix, after, start, before, reverse))

    def keys(
        self,
        source: Source,
        prefix: tuple[Any, ...] = (),
        *,
        after: Any = None,
        start: Any = None,
        before: Any = None,
        reverse: bool = False,
    ) -> Iterator[K]:
        """Return the keys that `scan` would, without decoding values."""
        return self._decoded_keys(self._scan_raw(source, prefix, after, start, before, reverse))

    def beginning(self, source: Source, text: str) -> Iterator[K]:
        """Return the keys whose first part, which is a text, begins with `text`."""
        first = text.encode()
        return self._decoded_keys(source.scan(self.name, first, after_prefix(first)))

    def last(self, source: Source, prefix: tuple[Any, ...] = (), *, before: Any = None) -> tuple[K, V] | None:
        """Return the greatest entry under `prefix` (below `before`), or `None`."""
        return next(iter(self.scan(source, prefix, before=before, reverse=True)), None)

    def first(self, source: Source, prefix: tuple[Any, ...] = (), *, after: Any = None) -> tuple[K, V] | None:
        """Return the least entry under `prefix` (above `after`), or `None`."""
        return next(iter(self.scan(source, prefix, after=after)), None)

    def delete_prefix(self, sink: Sink, prefix: tuple[Any, ...]) -> int:
        """Remove every entry under `prefix`; return how many there were."""
        raw_keys = [raw_key for raw_key, _ in self._scan_raw(sink, prefix, None, None, None, False)]
        for raw_key in raw_keys:
            sink.delete(self.name, raw_key)
        return len(raw_keys)

    def _prefix(self, parts: tuple[Any, ...]) -> bytes:
        if not parts:
            return b""
        if self.key.prefix is None:
            raise TypeError(f"keys of {self.name} have one part and no prefix")
        return self.key.prefix(parts)

    def _bound(self, prefix: tuple[Any, ...], part: Any) -> bytes:
        if self.key.prefix is None:
            return self._encode_key(part)
        return self.key.prefix((*prefix, part))

    def _scan_raw(
        self, source: Source, prefix: tuple[Any, ...], after: Any, start: Any, before: Any, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        head = self._prefix(prefix)
        first, end = head, after_prefix(head)
        if start is not None:
            first = self._bound(prefix, start)
        elif after is not None:
            # Past every key that begins with this part, so that rows with further parts are excluded too.
            bound = self._bound(prefix, after)
            is_last = self.key.prefix is None or self._is_last_part(len(prefix))
            above = bound + b"\x00" if is_last else after_prefix(bound)
            if above is None:
                return iter(())
            first = above
        if before is not None:
            end = self._bound(prefix, before)
        return source.scan(self.name, first, end, reverse=reverse)

    # Generators of their own, so that a scan begins when it is called, not when it is first stepped.

    def _decoded(self, entries: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[K, V]]:
        decode_key, decode_value = self._decode_key, self._decode_value
        for raw_key, data in entries:
            try:
                entry = decode_key(raw_key), decode_value(data)
            except ValueError:
                entry = self._key(raw_key), self._value(raw_key, data)
            yield entry

    def _decoded_keys(self, entries: Iterator[tuple[bytes, bytes]]) -> Iterator[K]:
        for raw_key, _ in entries:
            yield self._key(raw_key)

    def _is_last_part(self, index: int) -> bool:
        return self.key.parts == index + 1

    def _key(self, raw_key: bytes) -> K:
        try:
            return self._decode_key(raw_key)
        except ValueError as error:
            raise Corrupt(self.name, raw_key, f"key: {error}") from error

    def _value(self, raw_key: bytes, data: bytes) -> V:
        try:
            return self._decode_value(data)
        except ValueError as error:
            raise Corrupt(self.name, raw_key, f"value: {error}") from error
