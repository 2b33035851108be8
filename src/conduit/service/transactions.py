"""Transaction ids: what was answered to a request that a client may repeat.

An id counts for one device and one endpoint with its path. The row is written in the batch of the deed itself, so either both are there
after a crash or neither is.

    key = transactions.key("PUT", "send", room_id, event_type, txn_id)
    answered = transactions.find(ctx.db, user_id, device_id, key)

Source: client-server API, "Transaction identifiers".
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from itertools import islice

from conduit.database import trees
from conduit.database.cache import CacheSink, CacheSource
from conduit.database.database import Database
from conduit.protocol.ids import UserId

KEEP_MS = 24 * 3600 * 1000
"""How long an answer is kept: a client that repeats a request does so within minutes."""

SWEEP_STEP = 500
"""How many rows one batch of a sweep removes."""


def key(*parts: str) -> bytes:
    """Return the key of a request: what identifies its endpoint and path, and the transaction id, hashed."""
    return sha256("\0".join(parts).encode()).digest()


def find(source: CacheSource, user_id: UserId, device_id: str, transaction: bytes) -> bytes | None:
    """Return what was answered to this request before, or `None` if it is new."""
    row = trees.transaction.get(source, (user_id, device_id, transaction))
    return None if row is None else row[1]


def remember(batch: CacheSink, user_id: UserId, device_id: str, transaction: bytes, answer: bytes, now_ms: int) -> None:
    """Keep what a request is answered with, in the batch of what it does."""
    trees.transaction.put(batch, (user_id, device_id, transaction), (now_ms, answer))
    trees.transaction_age.put(batch, (now_ms, user_id, device_id, transaction), True)


async def sweep(db: Database, *, now_ms: int) -> int:
    """Remove the answers that are older than a day; return how many. Yields to others on the way."""
    removed = 0
    while old := list(islice(trees.transaction_age.keys(db, before=now_ms - KEEP_MS), SWEEP_STEP)):
        with db.batch() as batch:
            for age in old:
                trees.transaction_age.delete(batch, age)
                trees.transaction.delete(batch, age[1:])
        removed += len(old)
        await asyncio.sleep(0)
    return removed
