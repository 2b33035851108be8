"""How often a password was guessed wrong, account by account: in memory, and only while it matters."""

from __future__ import annotations

from typing import Protocol

from conduit.protocol.errors import LimitExceeded

_MAX_ACCOUNTS = 10_000


class Rate(Protocol):
    """A rate of the configuration: `burst` at once, then `per_second`."""

    @property
    def per_second(self) -> float:
        """How many a second on average."""
        ...

    @property
    def burst(self) -> int:
        """How many at once."""
        ...


class Attempts:
    """Failed attempts, each account with a bucket of its own: the moment at which all is forgiven."""

    def __init__(self) -> None:
        self._forgiven_at: dict[str, float] = {}

    def check(self, user_id: str, rate: Rate, now: float) -> None:
        """Raise `LimitExceeded` if the account has failed too often to be tried again now."""
        wait = self._forgiven_at.get(user_id, now) - now - (rate.burst - 1) * _interval(rate)
        if wait > 1e-9:
            raise LimitExceeded("Too many failed logins", retry_after_ms=int(wait * 1000) + 1)

    def failed(self, user_id: str, rate: Rate, now: float) -> None:
        """Count a failure."""
        if len(self._forgiven_at) >= _MAX_ACCOUNTS:
            self._forgiven_at = {user: at for user, at in self._forgiven_at.items() if at > now}
            if len(self._forgiven_at) >= _MAX_ACCOUNTS:
                # Guessing at so many names at once: the oldest are let go, their addresses are limited too.
                for user in list(self._forgiven_at)[: _MAX_ACCOUNTS // 2]:
                    del self._forgiven_at[user]
        self._forgiven_at[user_id] = max(self._forgiven_at.pop(user_id, now), now) + _interval(rate)


def _interval(rate: Rate) -> float:
    return 1 / max(rate.per_second, 1e-6)
