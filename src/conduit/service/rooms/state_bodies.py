"""Whole lists of a room's state as JSON, made once: `/state` and `/members` are asked again and again for the same state.

A body belongs to one state (by its number) and to one moment since which nothing in the room was redacted: a redaction changes what state
events say, not which they are. It is the same for every reader.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import NamedTuple

from conduit.database.cache import Cached, CacheSink, CacheSource
from conduit.protocol.ids import RoomId

_fresh = count(1)

_EPOCH: Cached[RoomId, int] = Cached("redaction_epoch", load=lambda source, room_id: next(_fresh), weigh=lambda _: 30)
"""A number that is another one after each redaction in the room, and after the cache has lost it."""


class _Body(NamedTuple):
    stamp: tuple[int, ...]
    json: bytes


def _load(source: CacheSource, slot: tuple[RoomId, str]) -> _Body | None:
    return None


_BODIES: Cached[tuple[RoomId, str], _Body | None] = Cached(
    "state_body", load=_load, weigh=lambda body: 100 + (0 if body is None else len(body.json))
)


def stamp(source: CacheSource, room_id: RoomId, state: int) -> tuple[int, int]:
    """Return what changes whenever the contents of a room's state may have changed: its number, and a mark of redactions."""
    return state, _EPOCH.get(source, room_id)


def held(source: CacheSource, room_id: RoomId, state: int, kind: str, *others: int) -> bytes | None:
    """Return the body of `kind` for a state of the room if it is in the cache. `others` are whatever numbers it depends on beside the state."""
    found = _BODIES.peek(source, (room_id, kind))
    return found.json if found is not None and found.stamp == (*stamp(source, room_id, state), *others) else None


async def get(
    lock: AbstractAsyncContextManager[None],
    source: CacheSource,
    room_id: RoomId,
    state: int,
    kind: str,
    make: Callable[[], AsyncIterator[bytes]],
    *others: int,
) -> bytes:
    """Return the body of `kind` for a state of the room, from the cache or from the pieces that `make` yields; one of a kind is kept for each room.

    `lock` is that of the room's bodies (`locks.body`): of several who want what is being made, one makes it.
    """
    body = held(source, room_id, state, kind, *others)
    if body is not None:
        return body
    async with lock:
        body = held(source, room_id, state, kind, *others)
        if body is None:
            began = stamp(source, room_id, state)
            body = b"".join([piece async for piece in make()])
            if stamp(source, room_id, state) == began:  # else something was redacted, perhaps in what was read before
                _BODIES.fill(source, (room_id, kind), _Body((*began, *others), body))
    return body


def forget(batch: CacheSink, room_id: RoomId) -> None:
    """Make the room's bodies anew when they are next asked for: something in it is being redacted."""
    _EPOCH.set(batch, room_id, next(_fresh))
