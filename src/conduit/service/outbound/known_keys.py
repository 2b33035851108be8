"""The keys of other servers that are known: stored, and those used last in memory.

Anybody can have us fetch the keys of servers without number: he only has to speak in their names. So there is room for a number of bytes of those that share no room with us, the
latest ones; and none of these is kept for longer than a year. What is gone is fetched again when it is needed, from notaries if its server is gone too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

import orjson
import structlog

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.ids import ServerName
from conduit.service.outbound.server_keys import ServerKeys, merge, read_row
from conduit.utils.clock import Clock

log = structlog.get_logger(__name__)

IN_MEMORY: Final = 8 << 20
"""Bytes, as they are stored, of the keys that are kept decoded: most servers have some hundred."""
MAX_OF_STRANGERS: Final = 32 << 20
"""Bytes that the keys of servers may take which share no room with us; twice as many until they are swept."""
KEEP_MS: Final = 365 * 24 * 3_600_000
FIRST_SWEEP_SECONDS: Final = 3600.0
SWEEP_SECONDS: Final = 24 * 3600.0
_STEP: Final = 200


class _Stranger(NamedTuple):
    fetched_at: int
    server: ServerName
    size: int


class KnownKeys:
    """The keys of all other servers. `close` it in the end."""

    def __init__(self, db: Database, clock: Clock, *, ignored: Iterable[bytes]) -> None:
        self._db = db
        self._clock = clock
        self.ignored = frozenset(ignored)
        self._recent: OrderedDict[str, tuple[ServerKeys, int]] = OrderedDict()
        self._weight = 0
        self._unswept = 0
        self._sweep: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End a sweep that is under way."""
        if self._sweep is not None:
            self._sweep.cancel()

    def get(self, server: str) -> ServerKeys | None:
        """Return what is known of a server's keys, or `None`."""
        recent = self._recent.get(server)
        if recent is not None:
            self._recent.move_to_end(server)
            return recent[0]
        row = trees.server_signingkeys.get(self._db, ServerName(server))
        known = read_row(row, server, ignored=self.ignored) if isinstance(row, dict) else None
        if known is not None:
            self._remember(known, len(orjson.dumps(row)))
        return known

    def put(self, fresh: Sequence[ServerKeys], *, direct: bool) -> None:
        """Merge what was fetched into what is known: `direct` from the servers themselves, or from a notary."""
        if not fresh:
            return
        with self._db.batch() as batch:
            for keys in fresh:
                merged = merge(self.get(keys.server), keys, direct=direct)
                row = merged.row()
                size = len(orjson.dumps(row))
                trees.server_signingkeys.put(batch, ServerName(keys.server), row)
                self._remember(merged, size)
                self._unswept += size
        if self._unswept > MAX_OF_STRANGERS and (self._sweep is None or self._sweep.done()):
            self._sweep = asyncio.get_running_loop().create_task(self._sweep_at_once())

    def _remember(self, keys: ServerKeys, size: int) -> None:
        self._drop(keys.server)
        self._recent[keys.server] = (keys, size)
        self._weight += size
        while self._weight > IN_MEMORY:
            self._drop(next(iter(self._recent)))

    def _drop(self, server: str) -> None:
        former = self._recent.pop(server, None)
        if former is not None:
            self._weight -= former[1]

    # --- sweeping --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sweep once a day. Runs until cancelled."""
        pause = FIRST_SWEEP_SECONDS
        while True:
            await self._clock.sleep(pause)
            await self.sweep()
            pause = SWEEP_SECONDS

    async def _sweep_at_once(self) -> None:
        try:
            await self.sweep()
        except Exception:
            log.exception("keys_not_swept")

    async def sweep(self) -> None:
        """Drop keys of servers that share no room with us: those that were fetched long ago, and the oldest of too many. Works a step at a time."""
        self._unswept = 0
        strangers: list[_Stranger] = []
        after: str | None = None
        while rows := list(islice(trees.server_signingkeys.scan(self._db, after=after), _STEP)):
            after = rows[-1][0]
            for name, row in rows:
                server = ServerName(name)
                if trees.serverroomids.first(self._db, (server,)) is None:
                    known = read_row(row, server, ignored=()) if isinstance(row, dict) else None
                    strangers.append(
                        _Stranger(0 if known is None else known.fetched_at, server, len(orjson.dumps(row)))
                    )
            await asyncio.sleep(0)
        strangers.sort(reverse=True)
        left, oldest = MAX_OF_STRANGERS, self._clock.now_ms() - KEEP_MS
        gone: list[ServerName] = []
        for stranger in strangers:
            left -= stranger.size
            # When Conduit has fetched its keys is not known.
            if left < 0 or 0 < stranger.fetched_at < oldest:
                gone.append(stranger.server)
        for start in range(0, len(gone), _STEP):
            with self._db.batch() as batch:
                for server in gone[start : start + _STEP]:
                    trees.server_signingkeys.delete(batch, server)
                    self._drop(server)
            await asyncio.sleep(0)
        if gone:
            log.info("keys_of_strangers_dropped", servers=len(gone))
