"""How far users have read: public and private receipts, per room or per thread.

A receipt belongs to a thread (the root's event id), to the main timeline (`MAIN`), or to the whole room (`UNTHREADED`). It only moves forwards.
What a user sends is read by the user too: such marks stand beside the receipts under a type of their own, which nobody is shown.

Source: client-server API, "Receipts", "Threaded read receipts"; "Marking notifications as read".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId, server_name_of
from conduit.service.rooms import members, short_ids

READ = "m.read"
PRIVATE = "m.read.private"
SENT = "sent"
"""Not a receipt: the newest event that the user has sent himself."""

UNTHREADED = ""
MAIN = "main"


def _load_latest(source: CacheSource, room: int) -> int:
    last = trees.receipt_stream.last(source, (room,))
    return 0 if last is None else last[0][1]


_latest: Cached[int, int] = Cached("latest_receipt", load=_load_latest, weigh=lambda _: 30)


def put(
    batch: Batch,
    room_id: RoomId,
    user_id: UserId,
    kind: str,
    event_id: EventId,
    at: int,
    thread: str,
    now_ms: int,
    *,
    here: ServerName | None = None,
) -> bool:
    """Move the user's receipt of `kind` in `thread` to the event at the timeline count `at`; tell whether it moved.

    The caller has checked that the user is in the room, that the event is in its timeline and belongs to the thread. `here` is this server's name where
    the user is one of another server.
    """
    room = short_ids.ensure_room(batch, room_id)
    key = (room, user_id, kind, thread)
    former = trees.receipt.get(batch, key)
    if former is not None:
        if former["at"] >= at:
            return False
        trees.receipt_stream.delete(batch, (room, former["count"]))
    count = batch.next_count()
    trees.receipt.put(batch, key, {"event_id": event_id, "ts": now_ms, "count": count, "at": at})
    trees.receipt_stream.put(batch, (room, count), (user_id, kind, thread))
    _latest.set(batch, room, count)
    _read.forget(batch, (room, user_id))
    batch.wake(("user", user_id), ("room", room_id))
    if kind == READ:
        members.wake(batch, room_id, here or server_name_of(user_id))
        batch.on_commit(lambda: batch.db.watch.announce(("receipt", room_id, user_id, thread)))
    return True


def find(source: CacheSource, room_id: RoomId, user_id: UserId, thread: str) -> dict[str, Any] | None:
    """Return the user's public receipt in `thread` as it is kept (`event_id`, `ts`, `count`, `at`), or `None`."""
    room = short_ids.short_room(source, room_id)
    return None if room is None else trees.receipt.get(source, (room, user_id, READ, thread))


def moved(source: CacheSource, room_id: RoomId, since: int) -> Iterator[tuple[int, UserId, str]]:
    """Return the count, user and thread of each public receipt in the room that is newer than the count `since`, oldest first."""
    room = short_ids.short_room(source, room_id)
    if room is not None:
        for (_, count), (user_id, kind, thread) in trees.receipt_stream.scan(source, (room,), after=since):
            if kind == READ:
                yield count, UserId(user_id), thread


def mark_sent(batch: Batch, room: int, user_id: UserId, at: int, thread: str) -> None:
    """Note that the user's own event at count `at` (of the short room `room`) is read by its sender."""
    trees.receipt.put(batch, (room, user_id, SENT, thread), {"at": at})
    _read.forget(batch, (room, user_id))


def changed_since(source: CacheSource, room_id: RoomId, since: int) -> bool:
    """Tell whether any receipt in the room is newer than `since`, at the cost of a look into a cache."""
    room = short_ids.short_room(source, room_id)
    return room is not None and _latest.get(source, room) > since


def changes(source: CacheSource, room_id: RoomId, reader: UserId, since: int, upto: int) -> list[dict[str, Any]]:
    """Return the contents of `m.receipt` events for what moved in (since, upto]; all of it from 0. Others' private receipts are left out.

    It is one event, unless somebody has several receipts at the same event, for the whole room and for a thread: an event has place for one of them.
    """
    room = short_ids.short_room(source, room_id)
    contents: list[dict[str, Any]] = []
    if room is None or _latest.get(source, room) <= since:
        return contents
    for _, (user_id, kind, thread) in trees.receipt_stream.scan(source, (room,), after=since, before=upto + 1):
        if kind != READ and user_id != reader:
            continue
        receipt = trees.receipt.get(source, (room, user_id, kind, thread))
        if receipt is None:
            continue
        shown: dict[str, Any] = {"ts": receipt["ts"]}
        if thread:
            shown["thread_id"] = thread
        _add(contents, receipt["event_id"], kind, user_id, shown)
    return contents


def _add(contents: list[dict[str, Any]], event_id: str, kind: str, user_id: str, shown: dict[str, Any]) -> None:
    for content in contents:
        users = content.setdefault(event_id, {}).setdefault(kind, {})
        if user_id not in users:
            users[user_id] = shown
            return
    contents.append({event_id: {kind: {user_id: shown}}})


def read_up_to(source: CacheSource, room_id: RoomId, user_id: UserId) -> tuple[int, dict[str, int]]:
    """Return up to which timeline count the user has read the whole room, and each thread (`MAIN` among them) beyond that. Shared: do not change it."""
    room = short_ids.short_room(source, room_id)
    return (0, {}) if room is None else _read.get(source, (room, user_id))


def _load_read(source: CacheSource, key: tuple[int, str]) -> tuple[int, dict[str, int]]:
    whole = 0
    threads: dict[str, int] = {}
    for (_, _, _, thread), receipt in trees.receipt.scan(source, key):
        if thread == UNTHREADED:
            whole = max(whole, receipt["at"])
        else:
            threads[thread] = max(threads.get(thread, 0), receipt["at"])
    return whole, {thread: at for thread, at in threads.items() if at > whole}


_read: Cached[tuple[int, str], tuple[int, dict[str, int]]] = Cached(
    "read_up_to", load=_load_read, weigh=lambda read: 100 + 150 * len(read[1])
)
