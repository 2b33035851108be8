"""The named locks of deeds, and the order in which they may be taken.

A deed takes a lock around everything between reading what it decides on and the commit, if there is an `await` in between; what needs no `await`
needs no lock, because code between two awaits runs alone. Order: a user's lock before a room's; never two rooms, never two users. A room's `entry` comes before its `room`.
After waiting for a lock the deed checks again what it had checked before.
"""

from __future__ import annotations

import asyncio

from conduit.protocol.ids import RoomId, UserId
from conduit.utils.keyed_lock import Held, KeyedLock


class Locks:
    """The locks of one homeserver. None is reentrant; waiters are served in order of arrival."""

    def __init__(self) -> None:
        self._rooms = KeyedLock()
        self._users = KeyedLock()
        self._histories = KeyedLock()
        self.transactions = KeyedLock()
        """By server: the lock under which what it tells beside events takes effect, one transaction at a time and in their order. It is taken before all others."""
        self.large_work = asyncio.Semaphore(1)
        """Held by whoever has a helper process compute something large: one at a time."""
        self._entries = KeyedLock()
        self._bodies = KeyedLock()

    def room(self, room_id: RoomId) -> Held:
        """Return the lock under which the room's state and leaves change: `async with locks.room(room_id):`."""
        return self._rooms(room_id)

    def entry(self, room_id: RoomId) -> Held:
        """Return the lock under which a room is brought here from elsewhere, one join at a time; held while other servers are asked."""
        return self._entries(room_id)

    def history(self, room_id: RoomId) -> Held:
        """Return the lock under which a room's past is fetched from others. It is taken before the room's own."""
        return self._histories(room_id)

    def body(self, room_id: RoomId) -> Held:
        """Return the lock under which a large list of a room's state is made: once for all who ask for it. No other is taken under it."""
        return self._bodies(room_id)

    def user(self, user_id: UserId) -> Held:
        """Return the lock under which an account's own facts change."""
        return self._users(user_id)
