"""Places for what other servers can make this one do, requests above all, handed out by turns, so that nobody has so many that others get none.

Who waits is grouped by room (whatever is for no room is a group, too), then by household, then by server; each group takes its turn, however many wait in another. A household stands for what one owner can have at no
cost: any number of names under one domain, or of addresses in one network.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from conduit.protocol.ids import RoomId, ServerName

_SHORT = 3
"""A label of up to so many letters before a country's is taken for a part of its registry, as in `co.uk`."""
_COUNTRY = 2


@lru_cache(maxsize=10_000)
def household(server: ServerName) -> str:
    """Return the domain that somebody has registered for a server's name, as far as can be told without a list of registries; of an address its network."""
    host = server.rpartition(":")[0] if server.rpartition(":")[2].isdigit() else server
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        labels = host.lower().split(".")
        is_registry = len(labels) > 2 and len(labels[-1]) == _COUNTRY and len(labels[-2]) <= _SHORT
        return ".".join(labels[-3 if is_registry else -2 :])
    return ":".join(address.exploded.split(":")[:3]) if address.version == 6 else host.rpartition(".")[0]


class _Share(NamedTuple):
    """In whose name a place is taken."""

    room: RoomId | None
    household: str
    server: ServerName


class _Limits(NamedTuple):
    of_room: int
    of_household: int
    of_server: int


_Servers = dict[ServerName, deque[asyncio.Future[None]]]


class Turns:
    """Places of a limited number: `async with turns.place(room_id, server):`."""

    def __init__(self, most: int, *, of_room: int, of_household: int, of_server: int) -> None:
        self._free = most
        self._limits = _Limits(of_room, of_household, of_server)
        self._taken: Counter[tuple[str, str | None]] = Counter()
        self._waiting: dict[RoomId | None, dict[str, _Servers]] = {}

    def is_wanted(self, room_id: RoomId | None, server: ServerName) -> bool:
        """Tell whether somebody else would have a place that a server gives back which it has for a room. Its owner's own servers are nobody else: they have their part in any case."""
        own = household(server)
        for other_room, households in self._waiting.items():
            if other_room != room_id and self._taken["room", other_room] >= self._limits.of_room:
                continue
            for name in households:
                if name != own and self._taken["household", name] < self._limits.of_household:
                    return True
        return False

    @asynccontextmanager
    async def place(self, room_id: RoomId | None, server: ServerName) -> AsyncIterator[None]:
        """Hold a place from when it is one's turn."""
        share = _Share(room_id, household(server), server)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(room_id, {}).setdefault(share.household, {}).setdefault(server, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(share, turn)
            else:
                self._give_back(share)
            raise
        try:
            yield
        finally:
            self._give_back(share)

    def _give_back(self, share: _Share) -> None:
        self._free += 1
        for name, value in zip(_Share._fields, share, strict=True):
            self._taken[name, value] -= 1
            if not self._taken[name, value]:
                del self._taken[name, value]
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free:
            share = self._next()
            if share is None:
                return
            turn = self._waiting[share.room][share.household][share.server].popleft()
            self._tidy(share, to_end=not turn.done())
            if turn.done():
                continue  # given up just now
            self._free -= 1
            for name, value in zip(_Share._fields, share, strict=True):
                self._taken[name, value] += 1
            turn.set_result(None)

    def _next(self) -> _Share | None:
        """Return whose turn it is. Whoever has as much as they may is passed over: of those there are never more than places."""
        for room_id, households in self._waiting.items():
            if self._taken["room", room_id] >= self._limits.of_room:
                continue
            for name, servers in households.items():
                if self._taken["household", name] >= self._limits.of_household:
                    continue
                for server in servers:
                    if self._taken["server", server] < self._limits.of_server:
                        return _Share(room_id, name, server)
        return None

    def _forget(self, share: _Share, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(share.room, {}).get(share.household, {}).get(share.server, deque())
        if turn in queue:
            queue.remove(turn)
            self._tidy(share, to_end=False)

    def _tidy(self, share: _Share, *, to_end: bool) -> None:
        """Drop groups in which nobody waits any more; the others have had their turn."""
        households = self._waiting[share.room]
        servers = households[share.household]
        if not servers[share.server]:
            del servers[share.server]
        elif to_end:
            servers[share.server] = servers.pop(share.server)
        if not servers:
            del households[share.household]
        elif to_end:
            households[share.household] = households.pop(share.household)
        if not households:
            del self._waiting[share.room]
        elif to_end:
            self._waiting[share.room] = self._waiting.pop(share.room)
