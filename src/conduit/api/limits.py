"""How often a caller may ask: one bucket for each class of requests and each user, or address if there is no user."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from ipaddress import IPv6Address, ip_address

from conduit.config.schema import RateLimits
from conduit.protocol.errors import LimitExceeded
from conduit.utils.buckets import Buckets
from conduit.utils.clock import Clock


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


class Limits:
    """The buckets of one server, in memory only."""

    def __init__(self, rates: RateLimits, clock: Clock) -> None:
        self._clock = clock
        self._classes: dict[Limit, Buckets] = {}
        self.configure(rates)

    def configure(self, rates: RateLimits) -> None:
        """Take new rates over; all buckets start full."""
        self._classes = {}
        if not rates.enabled:
            return
        for limit in Limit:
            rate = getattr(rates, limit.value, None)
            if rate is not None:
                self._classes[limit] = Buckets(rate.per_second, rate.burst, self._clock)

    def charge(self, limit: Limit, key: Hashable, requests: int = 1) -> None:
        """Take so many requests of the class `limit` from the bucket of `key`, or raise `LimitExceeded` and take none."""
        buckets = self._classes.get(limit)
        wait = 0.0 if buckets is None else buckets.take(key, requests)
        if wait:
            raise LimitExceeded(retry_after_ms=int(wait * 1000) + 1)

    def __len__(self) -> int:
        return sum(map(len, self._classes.values()))


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
