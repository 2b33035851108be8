"""Who is typing where. Nothing of it is stored; each change draws a count, so that /sync can ask what is new.

Source: client-server API, "Typing Notifications".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from conduit.database.database import Database
from conduit.database.watch import Crowd
from conduit.protocol.ids import RoomId, UserId
from conduit.utils.clock import Clock

MAX_TIMEOUT_MS = 120_000
"""A notice never outlives this; clients renew it every half minute or so."""
RENEW_MS = 25_000
"""How often the sender hears of a notice that goes on: other servers end one of which they hear nothing more, the first of them after half a minute."""

Audience = Callable[[RoomId], Iterable[Crowd]]
"""The crowds who see a room."""


class Typing:
    """The typing notices of all rooms. `run` is the task that ends them in time."""

    def __init__(self, *, db: Database, clock: Clock, audience: Audience) -> None:
        self._db = db
        self._clock = clock
        self._audience = audience
        self._rooms: dict[RoomId, dict[UserId, int]] = {}
        self._changed: dict[RoomId, int] = {}
        self._announced: dict[tuple[RoomId, UserId], int] = {}
        self._wake = asyncio.Event()

    def start(self, room_id: RoomId, user_id: UserId, timeout_ms: int) -> None:
        """Note that the user is typing, for `timeout_ms` unless renewed. The caller has checked that the user is joined."""
        now = self._clock.now_ms()
        typing = self._rooms.setdefault(room_id, {})
        is_new = user_id not in typing
        typing[user_id] = now + min(timeout_ms, MAX_TIMEOUT_MS)
        self._wake.set()
        if is_new:
            self._tell(room_id)
        if is_new or now - self._announced.get((room_id, user_id), 0) >= RENEW_MS:
            self._announced[room_id, user_id] = now
            self._db.watch.announce(("typing", room_id))

    def stop(self, room_id: RoomId, user_id: UserId) -> None:
        """Note that the user is not typing any more; also called when the user leaves."""
        typing = self._rooms.get(room_id)
        if typing is None or user_id not in typing:
            return
        del typing[user_id]
        if not typing:
            del self._rooms[room_id]
        self._announced.pop((room_id, user_id), None)
        self._tell(room_id)
        self._db.watch.announce(("typing", room_id))

    def users(self, room_id: RoomId) -> list[UserId]:
        """Return the users typing in the room, the one who began first first."""
        return list(self._rooms.get(room_id, ()))

    def changed_since(self, room_id: RoomId, count: int) -> bool:
        """Tell whether the room's list has changed after `count`."""
        return self._changed.get(room_id, 0) > count

    async def run(self) -> None:
        """End notices when their time is over. Runs until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now_ms()
            earliest = self._expire(now)
            if earliest is None:
                await self._wake.wait()
                continue
            # A new notice may end earlier than the one waited for.
            sleeping = asyncio.ensure_future(self._clock.sleep((earliest - now) / 1000))
            waking = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                waking.cancel()

    def _expire(self, now: int) -> int | None:
        """End what is over; return when the next notice ends, or `None`."""
        earliest: int | None = None
        for room_id, typing in list(self._rooms.items()):
            for user_id, until in list(typing.items()):
                if until <= now:
                    self.stop(room_id, user_id)
                elif earliest is None or until < earliest:
                    earliest = until
        return earliest

    def _tell(self, room_id: RoomId) -> None:
        self._changed[room_id] = self._db.next_count()
        self._db.watch.wake((("room", room_id),), self._audience(room_id))
