"""How soon a server may be asked for its keys again: so that nobody can have this server knock on one door all the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from conduit.utils.clock import Clock

FIRST_PAUSE: Final = 30.0
"""Seconds until a server is asked again that did not have what was looked for; doubles."""
LONGEST_PAUSE: Final = 600.0
RENEWALS: Final = 8
"""How often within `FIRST_PAUSE` a server that answers is asked anew for those who want newer keys of it."""
MOST: Final = 10_000
"""Servers that are remembered."""


class Pauses:
    """When each server may be asked again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._renewals: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def may_ask(self, server: str) -> bool:
        """Tell whether the server may be asked now."""
        pause = self._pauses.get(server)
        return pause is None or self._clock.monotonic() >= pause[0]

    def may_renew(self, server: str) -> bool:
        """Tell whether the server may be asked now because somebody wants newer keys than there are: some times in a pause, while it does not fail."""
        pause, now = self._pauses.get(server), self._clock.monotonic()
        if pause is None or now >= pause[0]:
            return True
        if pause[1] > FIRST_PAUSE:
            return False
        since, count = self._renewals.pop(server, (now, 0))
        if now >= since + FIRST_PAUSE:
            since, count = now, 0
        self._renewals[server] = (since, count + 1)
        if len(self._renewals) > MOST:
            self._renewals.popitem(last=False)
        return count < RENEWALS

    def failed(self, server: str) -> None:
        """Leave a server alone that did not answer, each time for twice as long."""
        _, length = self._pauses.pop(server, (0.0, FIRST_PAUSE / 2))
        length = min(length * 2, LONGEST_PAUSE)
        self._begin(server, length, length)

    def answered(self, server: str) -> None:
        """Note that a server has answered: what it does not have now it may have in half a minute."""
        self._begin(server, FIRST_PAUSE, FIRST_PAUSE / 2)

    def _begin(self, server: str, seconds: float, length: float) -> None:
        self._pauses[server] = (self._clock.monotonic() + seconds, length)
        if len(self._pauses) > MOST:
            self._pauses.popitem(last=False)
