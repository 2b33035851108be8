"""With which servers this one talks at all: the operator's choice, asked for every request that goes out or comes in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from conduit.protocol.glob import Glob

_PORT = re.compile(r":[0-9]+\Z", re.ASCII)


class ServerPolicy:
    """Whether there is federation, and lists of globs over host names. `configure` takes new settings over."""

    __slots__ = ("_allowed", "_denied", "enabled")

    def __init__(self, *, enabled: bool, allowed: Sequence[str] = (), denied: Sequence[str] = ()) -> None:
        self.enabled = enabled
        self._allowed: tuple[Glob, ...] = ()
        self._denied: tuple[Glob, ...] = ()
        self.configure(enabled=enabled, allowed=allowed, denied=denied)

    def configure(self, *, enabled: bool, allowed: Sequence[str], denied: Sequence[str]) -> None:
        """Take new settings. An empty `allowed` lets everybody through who is not denied."""
        self.enabled = enabled
        self._allowed = tuple(Glob(pattern) for pattern in allowed)
        self._denied = tuple(Glob(pattern) for pattern in denied)

    def refusal(self, server: str) -> str | None:
        """Return why this server does not talk with `server`, or `None` if it does. Ports and case do not count."""
        if not self.enabled:
            return "federation is switched off here"
        if not self._denied and not self._allowed:
            return None
        host = _PORT.sub("", server).lower()
        if any(glob.matches(host) for glob in self._denied):
            return "it is on the list of denied servers"
        if self._allowed and not any(glob.matches(host) for glob in self._allowed):
            return "it is not on the list of allowed servers"
        return None
