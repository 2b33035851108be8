"""What the steps share: writing much in batches of bounded size, reading past damaged rows, short ids, and a word on progress."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import structlog

from conduit.database import trees
from conduit.database.batch import Batch
from conduit.database.database import Database
from conduit.database.tree import Tree

log = structlog.get_logger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_BATCH_BYTES = 1 << 20
_TELL_EVERY_S = 5.0


class Bulk:
    """A `Sink` for a step's writes: it begins a new batch whenever the open one has grown to a megabyte.

    So a step is not atomic; it must do no harm when it is repeated from the beginning.
    """

    def __init__(self, db: Database, step: str) -> None:
        self.db = db
        self.step = step
        self.done = 0
        self._batch: Batch | None = None
        self._bytes = 0
        self._next_word = time.monotonic() + _TELL_EVERY_S
        self._short_events: dict[str, int] = {}

    def __enter__(self) -> Bulk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.__exit__(kind, error, trace)
        if kind is None:
            self.db.sync_now()
            log.info("database_step_done", step=self.step, items=self.done)

    def count(self, items: int = 1) -> None:
        """Note that `items` more are done; says so now and then."""
        self.done += items
        if time.monotonic() >= self._next_word:
            self._next_word = time.monotonic() + _TELL_EVERY_S
            log.info("database_step", step=self.step, items=self.done)

    def skip(self, tree: Tree[Any, Any], key: bytes, why: str) -> None:
        """Say that a row could not be used."""
        log.warning("database_row_skipped", step=self.step, tree=tree.name, key=repr(key[:120]), why=why)

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, tree: str, key: bytes) -> bytes | None:
        """Return the value of `key` as it is now, or `None`."""
        return self._source().get(tree, key)

    def get_many(self, tree: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        return self._source().get_many(tree, keys)

    def scan(
        self, tree: str, first: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries with `first <= key < end` as they are now."""
        return self._source().scan(tree, first, end, reverse=reverse)

    def rows(self, tree: Tree[K, V]) -> Iterator[tuple[K, V]]:
        """Return the whole tree as it was before this step's open batch; rows that cannot be read are passed over, with a warning."""
        for raw_key, data in self.db.scan(tree.name, b"", None):
            try:
                entry = tree.key.decode(raw_key), tree.value.decode(data)
            except ValueError as error:
                self.skip(tree, raw_key, str(error))
                continue
            yield entry

    # --- writing ---------------------------------------------------------------------------------------------------

    def put(self, tree: str, key: bytes, value: bytes) -> None:
        """Set `key`."""
        self._room_for(len(key) + len(value)).put(tree, key, value)

    def put_all(self, tree: str, keys: Iterable[bytes], value: bytes) -> None:
        """Set each of `keys` to `value`."""
        for key in keys:
            self.put(tree, key, value)

    def delete(self, tree: str, key: bytes) -> None:
        """Remove `key`, if it is there."""
        self._room_for(len(key)).delete(tree, key)

    def next_count(self) -> int:
        """Return a fresh count."""
        return self._room_for(0).next_count()

    def clear(self, *all_of: Tree[Any, Any]) -> None:
        """Remove every entry of some trees."""
        for tree in all_of:
            for raw_key, _ in self.db.scan(tree.name, b"", None):
                self.delete(tree.name, raw_key)

    def event(self, event_id: str) -> int:
        """Return the short id of an event, given now if it has none."""
        short = self._short_events.get(event_id)
        if short is None:
            short = trees.eventid_shorteventid.get(self, event_id)
            if short is None:
                short = self.next_count()
                trees.eventid_shorteventid.put(self, event_id, short)
            if not trees.shorteventid_eventid.has(self, short):
                trees.shorteventid_eventid.put(self, short, event_id)
            if len(self._short_events) > 200_000:
                self._short_events.clear()
            self._short_events[event_id] = short
        return short

    def events(self, event_ids: Iterable[str]) -> tuple[int, ...]:
        """Return the short ids of several events."""
        return tuple([self.event(event_id) for event_id in event_ids])

    def room(self, room_id: str) -> int:
        """Return the short id of a room, given now if it has none."""
        short = trees.roomid_shortroomid.get(self, room_id)
        if short is None:
            short = self.next_count()
            trees.roomid_shortroomid.put(self, room_id, short)
            trees.shortroomid_roomid.put(self, short, room_id)
        return short

    def state_key(self, event_type: str, state_key: str) -> int:
        """Return the short id of a state key, given now if it has none."""
        pair = (event_type, state_key)
        short = trees.statekey_shortstatekey.get(self, pair)
        if short is None:
            short = self.next_count()
            trees.statekey_shortstatekey.put(self, pair, short)
            trees.shortstatekey_statekey.put(self, short, pair)
        return short

    def _source(self) -> Batch | Database:
        return self._batch if self._batch is not None else self.db

    def _room_for(self, size: int) -> Batch:
        if self._batch is not None and self._bytes + size > _BATCH_BYTES:
            batch, self._batch = self._batch, None
            batch.__exit__(None, None, None)
        if self._batch is None:
            self._batch = self.db.batch().__enter__()
            self._bytes = 0
        self._bytes += size + 32
        return self._batch


def server_name(db: Database) -> str | None:
    """Return the name of the server that the database belongs to, as far as it tells: only local users have devices."""
    stored = db.get("global", b"conduit_py.server_name")
    if stored is not None:
        return stored.decode()
    device = next(trees.userdeviceid_metadata.keys(db), None)
    if device is not None:
        return device[0].partition(":")[2]
    for user_id, password in trees.userid_password.scan(db):
        if password:
            return user_id.partition(":")[2]
    return None
