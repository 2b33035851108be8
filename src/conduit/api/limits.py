"""How often a caller may ask: one bucket for each class of requests and each user, or address if there is no user.

A bucket is a single number, the moment at which it would be full again (the "generic cell rate algorithm"): it takes one
dict entry while it is not full and none at all otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from ipaddress import IPv6Address, ip_address

from conduit.config.schema import RateLimits
from conduit.protocol.errors import LimitExceeded
from conduit.utils.clock import Clock

MAX_BUCKETS = 50_000
"""For each class. Beyond it the oldest are forgotten, which can only let a caller through too early."""


class Limit(Enum):
    """The classes of requests that are counted together; each has a rate in `[global.rate_limits]`."""

    NONE = "none"
    MESSAGE = "message"
    CHATTY = "chatty"
    READ = "read"
    SEARCH = "search"
    JOIN = "join"
    INVITE = "invite"
    CREATE_ROOM = "create_room"
    UPLOAD = "upload"
    LOGIN = "login"
    REGISTRATION = "registration"
    FEDERATION = "federation"


class _Class:
    __slots__ = ("allowance", "full_at", "interval")

    def __init__(self, per_second: float, burst: int) -> None:
        self.interval = 1.0 / max(per_second, 1e-6)
        self.allowance = max(burst - 1, 0) * self.interval
        self.full_at: dict[Hashable, float] = {}


class Limits:
    """The buckets of one server, in memory only."""

    def __init__(self, rates: RateLimits, clock: Clock) -> None:
        self._clock = clock
        self._classes: dict[Limit, _Class] = {}
        self.configure(rates)

    def configure(self, rates: RateLimits) -> None:
        """Take new rates over; all buckets start full."""
        self._classes = {}
        if not rates.enabled:
            return
        for limit in Limit:
            rate = getattr(rates, limit.value, None)
            if rate is not None:
                self._classes[limit] = _Class(rate.per_second, rate.burst)

    def charge(self, limit: Limit, key: Hashable) -> None:
        """Take one request of `limit` from the bucket of `key`, or raise `LimitExceeded` and take nothing."""
        bucket = self._classes.get(limit)
        if bucket is None:
            return
        now = self._clock.monotonic()
        full_at = bucket.full_at.get(key, 0.0)
        if full_at <= now:
            if len(bucket.full_at) >= MAX_BUCKETS:
                _shrink(bucket, now)
            full_at = now
        wait = full_at - now - bucket.allowance
        if wait > 1e-9:
            raise LimitExceeded(retry_after_ms=int(wait * 1000) + 1)
        bucket.full_at[key] = full_at + bucket.interval

    def __len__(self) -> int:
        return sum(len(bucket.full_at) for bucket in self._classes.values())


def _shrink(bucket: _Class, now: float) -> None:
    kept = {key: full_at for key, full_at in bucket.full_at.items() if full_at > now}
    surplus = len(kept) - MAX_BUCKETS // 2
    if surplus > 0:
        for key in list(kept)[:surplus]:
            del kept[key]
    bucket.full_at = kept


def address_key(remote: str) -> str:
    """Return what stands for the address `remote`: itself, or the /64 of an IPv6 address, which one household owns whole."""
    if ":" not in remote:
        return remote
    try:
        address = ip_address(remote)
    except ValueError:
        return remote
    if not isinstance(address, IPv6Address):
        return remote
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.exploded[:19]
