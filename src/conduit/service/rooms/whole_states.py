"""Whole states read in steps, so that nobody has to wait for the ten thousand members of somebody else's room.

What is read is a numbered state, or what was taken from one: it stays the same however long the reading takes and whatever happens in the room
meanwhile. Only a redaction shows at once, as it must.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping

from conduit.database.cache import CacheSource
from conduit.protocol.ids import EventId
from conduit.service.rooms import client_events, short_ids
from conduit.service.rooms.client_events import ClientEvent

MEMBER = "m.room.member"
STEP = 250
"""How many entries are read between two chances for others to run: some milliseconds' work."""
MAX_KEPT = 5000
"""The events of larger states are read past the caches, which they would fill."""

Wanted = Callable[[str, str], bool]
"""Whether an entry of a state is wanted, by its type and state key."""


async def ids(
    source: CacheSource, entries: Mapping[int, int], wanted: Wanted | None = None, *, step: int = STEP
) -> AsyncGenerator[list[EventId], None]:
    """Yield the events of a state given as short state key -> short event, some at a time, with a pause before each but the first."""
    rows = list(entries.items())
    for start in range(0, len(rows), step):
        if start:
            await asyncio.sleep(0)
        some = rows[start : start + step]
        if wanted is not None:
            pairs = short_ids.statekeys_of(source, [key for key, _ in some])
            some = [row for row, pair in zip(some, pairs, strict=True) if wanted(*pair)]
        yield short_ids.events_of(source, [short for _, short in some])


async def forms(
    source: CacheSource, entries: Mapping[int, int], wanted: Wanted | None = None, *, step: int = STEP
) -> AsyncGenerator[list[ClientEvent], None]:
    """As `ids`, but yield the events themselves as clients see them."""
    keep = len(entries) <= MAX_KEPT
    async for some in ids(source, entries, wanted, step=step):
        yield client_events.get_many(source, some, keep=keep)


def is_member(event_type: str, state_key: str) -> bool:
    """Want memberships only."""
    return event_type == MEMBER


def is_no_member(event_type: str, state_key: str) -> bool:
    """Want everything but memberships."""
    return event_type != MEMBER


async def listed(opening: bytes, steps: AsyncIterator[Iterable[bytes]], closing: bytes) -> AsyncIterator[bytes]:
    """Yield a JSON array or object piece by piece, `opening` and `closing` around the elements that come in steps."""
    yield opening
    comma = b""
    async for step in steps:
        joined = b",".join(step)
        if joined:
            yield comma + joined
            comma = b","
    yield closing
