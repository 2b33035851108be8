"""How much somebody may have of something in a while: a bucket for each, that is emptied by use and fills again evenly.

A bucket is a single number, the moment at which it would be full again (the "generic cell rate algorithm"): it takes one
dict entry while it is not full and none at all otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable

from conduit.utils.clock import Clock

MAX_BUCKETS = 50_000
"""Beyond it the oldest are forgotten, which can only let somebody have too much."""


class Buckets:
    """Buckets of `burst` drops, each of which comes back after 1/`per_second` seconds; in memory only."""

    def __init__(self, per_second: float, burst: int, clock: Clock) -> None:
        self._clock = clock
        self._interval = 1.0 / max(per_second, 1e-6)
        self._burst = max(burst, 1)
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, drops: int = 1) -> float:
        """Take so many drops, but never more than half a bucket, and return 0; or take none, and return in how many seconds there are enough."""
        now = self._clock.monotonic()
        full_at = self._full_at.get(key, 0.0)
        if full_at <= now:
            if len(self._full_at) >= MAX_BUCKETS:
                self._shrink(now)
            full_at = now
        full_at += min(drops, max(1, self._burst // 2)) * self._interval
        wait = full_at - now - self._burst * self._interval
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at
        return 0.0

    def _shrink(self, now: float) -> None:
        kept = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        surplus = len(kept) - MAX_BUCKETS // 2
        if surplus > 0:
            for key in list(kept)[:surplus]:
                del kept[key]
        self._full_at = kept
