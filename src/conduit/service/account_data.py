"""Account data: what clients store for a user, globally or for one room (`room_id=""` means globally).

Source: client-server API, "Client Config", "Room Tagging". Push rules are the global item `m.push_rules`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import RoomId, UserId

Content = dict[str, Any]

IGNORED = "m.ignored_user_list"

_HOT = frozenset({"m.push_rules", IGNORED, "m.direct"})
"""Types that the server itself reads again and again: kept in a cache."""


def _load(source: CacheSource, key: tuple[str, str, str]) -> Content | None:
    user_id, room_id, event_type = key
    pointer = trees.roomusertype_roomuserdataid.get(source, (room_id, user_id, event_type))
    if pointer is None:
        return None
    stored = trees.roomuserdataid_accountdata.get(source, pointer)
    content: Content | None = None if stored is None else stored["content"]
    return content


_contents: Cached[tuple[str, str, str], Content | None] = Cached(
    "account_data",
    load=_load,
    # What stands in it is the client's choice, and there may be an item for each room: text takes many times its length once it is parsed.
    weigh=lambda content: 200 if content is None else 200 + 8 * len(orjson.dumps(content)),
)


def get(source: CacheSource, user_id: UserId, room_id: RoomId | str, event_type: str) -> Content | None:
    """Return the content of one item, or `None`. Shared: do not change it."""
    if event_type in _HOT:
        return _contents.get(source, (user_id, room_id, event_type))
    return _load(source, (user_id, room_id, event_type))


def ignored_users(source: CacheSource, user_id: UserId) -> Collection[str]:
    """Return whom the user ignores."""
    content = get(source, user_id, "", IGNORED)
    listed = None if content is None else content.get("ignored_users")
    return listed.keys() if isinstance(listed, dict) else ()


_ignoring: Cached[str, frozenset[str]] = Cached(
    "ignoring_users",
    load=lambda source, _: frozenset(trees.ignoring.keys(source)),
    weigh=lambda users: 200 + 120 * len(users),
)


def ignoring(source: CacheSource) -> frozenset[str]:
    """Return the local users who ignore anybody; kept in memory."""
    return _ignoring.get(source, "")


def _note_ignoring(batch: Batch, user_id: UserId) -> None:
    if ignored_users(batch, user_id):
        trees.ignoring.put(batch, user_id, True)
    else:
        trees.ignoring.delete(batch, user_id)
    _ignoring.forget(batch, "")


def put(batch: Batch, user_id: UserId, room_id: RoomId | str, event_type: str, content: Content) -> None:
    """Set one item and let the user's devices know."""
    key = (room_id, user_id, event_type)
    former = trees.roomusertype_roomuserdataid.get(batch, key)
    if former is not None:
        trees.roomuserdataid_accountdata.delete(batch, former)
        trees.accountdata_stream.delete(batch, (user_id, former[2]))
    count = batch.next_count()
    row = (room_id, user_id, count, event_type)
    trees.roomuserdataid_accountdata.put(batch, row, {"type": event_type, "content": content})
    trees.roomusertype_roomuserdataid.put(batch, key, row)
    trees.accountdata_stream.put(batch, (user_id, count), (room_id, event_type))
    if event_type in _HOT:
        _contents.forget(batch, (user_id, room_id, event_type))
    if event_type == IGNORED and not room_id:
        _note_ignoring(batch, user_id)
    batch.wake(("user", user_id))


def all_of(source: CacheSource, user_id: UserId, room_id: RoomId | str) -> dict[str, Content]:
    """Return all items of the user for a room (or the global ones), type -> content."""
    rows = trees.roomuserdataid_accountdata.scan(source, (room_id, user_id))
    return {event_type: stored["content"] for (_, _, _, event_type), stored in rows}


def changes(source: CacheSource, user_id: UserId, since: int, upto: int) -> dict[str, dict[str, Content]]:
    """Return what was set in (since, upto]: room or "" -> type -> content. One scan, however many rooms there are."""
    found: dict[str, dict[str, Content]] = {}
    for (_, count), (room_id, event_type) in trees.accountdata_stream.scan(
        source, (user_id,), after=since, before=upto + 1
    ):
        stored = trees.roomuserdataid_accountdata.get(source, (room_id, user_id, count, event_type))
        if stored is not None:
            found.setdefault(room_id, {})[event_type] = stored["content"]
    return found


def delete_all(batch: Batch, user_id: UserId) -> None:
    """Remove everything that the user has stored, as an erased account wants it."""
    for key, (room_id, event_type) in list(trees.accountdata_stream.scan(batch, (user_id,))):
        trees.roomuserdataid_accountdata.delete(batch, (room_id, user_id, key[1], event_type))
        trees.roomusertype_roomuserdataid.delete(batch, (room_id, user_id, event_type))
        trees.accountdata_stream.delete(batch, key)
        _contents.forget(batch, (user_id, room_id, event_type))
    _note_ignoring(batch, user_id)
