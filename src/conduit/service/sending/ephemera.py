"""What is told to a destination as it is when a transaction is made: who types, who has read how far, who is online.

Nothing of it waits in a queue. Noted is only where something may be new; so however often it changes while a transaction is under way, the next one holds the newest of
each. What a destination was told of typing is remembered until the opposite was told and acknowledged: who stops, leaves or runs out of time is told of as well.

Source: server-server API, "Typing Notifications", "Receipts", "Presence".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from conduit.database.cache import CacheSource
from conduit.protocol.ids import RoomId, ServerName, UserId, server_name_of
from conduit.service.context import Context
from conduit.service.rooms import members, receipts, server_access
from conduit.service.rooms.typing import RENEW_MS
from conduit.service.sending.transaction import Transaction

PRESENCE_MS: Final = 5_000
"""A destination hears of presence no more often,"""
PRESENCE_BURST: Final = 3
"""but so many times at once if it has heard nothing for a while: where little happens nobody need wait."""
TOLD_MS: Final = RENEW_MS // 2
"""Who types is not told again before this time."""
MAX_USERS: Final = 100
"""How many users one presence EDU holds."""
MAX_PRESENCE_EDUS: Final = 5
MAX_RECEIPTS: Final = 400
"""How many receipts a transaction holds."""
MAX_WAITING: Final = 5_000
"""How many receipts, and users whose presence is new, are noted for one destination; older ones are dropped."""

Json = dict[str, Any]
Receipt = tuple[RoomId, UserId, str]
"""Room, user, thread."""


class Ephemera:
    """What may be new for one destination."""

    __slots__ = ("presence", "presence_at", "receipts", "rooms", "typing")

    def __init__(self, typing: Iterable[tuple[RoomId, UserId]] = ()) -> None:
        self.rooms: dict[RoomId, None] = {}
        """Where who types may have changed."""
        self.typing: dict[tuple[RoomId, UserId], int] = {}
        """Whom the destination takes for typing, and when it was told, in ms."""
        self.receipts: dict[Receipt, None] = {}
        self.presence: dict[UserId, None] = {}
        self.presence_at = 0
        """Until when the destination will have heard enough of presence, in ms: each time adds a pause."""
        for room_id, user_id in typing:
            self.typing[room_id, user_id] = 0
            self.rooms[room_id] = None

    def note_receipt(self, receipt: Receipt) -> None:
        """Note that a receipt has moved."""
        self.receipts[receipt] = None
        if len(self.receipts) > MAX_WAITING:
            del self.receipts[next(iter(self.receipts))]

    def note_presence(self, user_id: UserId) -> None:
        """Note that the destination does not know the presence of a user."""
        self.presence[user_id] = None
        if len(self.presence) > MAX_WAITING:
            del self.presence[next(iter(self.presence))]

    def drop(self, typing: Iterable[tuple[RoomId, UserId]]) -> None:
        """Forget what is new, because the destination is out of reach; of whom it takes for typing, or may (`typing`), it must still hear."""
        self.receipts.clear()
        self.presence.clear()
        self.typing = {**dict.fromkeys(typing, 0), **self.typing}
        self.rooms = {room_id: None for room_id, _ in self.typing}

    def presence_due(self) -> int | None:
        """Return when presence may be sent, in ms; `None` if there is none to be sent."""
        return self.presence_at - (PRESENCE_BURST - 1) * PRESENCE_MS if self.presence else None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing here that a restart would not find again."""
        return not (self.rooms or self.typing or self.receipts or self.presence)

    def acknowledged(self, transaction: Transaction) -> None:
        """Note that the destination has a transaction, and so takes those for typing whom it names."""
        told = self.typing
        self.typing = {each: told.get(each, transaction.ts) for each in transaction.typing}
        for edu in transaction.edus:
            content = edu["content"]
            if edu["edu_type"] == "m.typing" and content["typing"]:
                self.typing[RoomId(content["room_id"]), UserId(content["user_id"])] = transaction.ts

    def add(self, ctx: Context, server: ServerName, transaction: Transaction) -> None:
        """Add what is new, as much as fits. It counts as told from now on, but for typing: that does once it is acknowledged."""
        self._add_typing(ctx, server, transaction)
        self._add_receipts(ctx, server, transaction)
        due = self.presence_due()
        if due is not None and transaction.ts >= due:
            self._add_presence(ctx, transaction)

    def _add_typing(self, ctx: Context, server: ServerName, transaction: Transaction) -> None:
        told = dict(self.typing)
        for room_id in list(self.rooms):
            here = _hears(ctx.db, room_id, server)
            now = (
                [user for user in ctx.typing.users(room_id) if server_name_of(user) == ctx.server_name] if here else []
            )
            before = {user: at for (room, user), at in self.typing.items() if room == room_id}
            news = [(user, True) for user in now if transaction.ts - before.get(user, -TOLD_MS) >= TOLD_MS]
            gone = [user for user in before if user not in now]
            news += [(user, False) for user in gone if here]
            if len(news) > transaction.space:
                break
            del self.rooms[room_id]
            for user in gone:
                del told[room_id, user]
                if not here:
                    del self.typing[room_id, user]
            for user, is_typing in news:
                if is_typing:
                    told[room_id, user] = transaction.ts
                content = {"room_id": room_id, "user_id": user, "typing": is_typing}
                transaction.edus.append({"edu_type": "m.typing", "content": content})
        transaction.typing = list(told)

    def _add_receipts(self, ctx: Context, server: ServerName, transaction: Transaction) -> None:
        contents: list[Json] = []
        newest = 0
        for receipt in list(self.receipts)[:MAX_RECEIPTS]:
            room_id, user_id, thread = receipt
            found = receipts.find(ctx.db, room_id, user_id, thread)
            is_wanted = found is not None and _hears(ctx.db, room_id, server)
            if found is not None and is_wanted:
                if not _place_receipt(contents, receipt, found, transaction.space):
                    break
                newest = max(newest, found["count"])
            del self.receipts[receipt]
        transaction.edus += [{"edu_type": "m.receipt", "content": content} for content in contents]
        if not self.receipts:
            transaction.receipts = newest

    def _add_presence(self, ctx: Context, transaction: Transaction) -> None:
        self.presence_at = max(self.presence_at, transaction.ts) + PRESENCE_MS
        for _ in range(min(MAX_PRESENCE_EDUS, transaction.space)):
            users = list(self.presence)[:MAX_USERS]
            pushes = []
            for user_id in users:
                del self.presence[user_id]
                content = ctx.presence.get(user_id)
                if content is not None:
                    pushes.append({"user_id": user_id, "last_active_ago": 0, **content})
            if pushes:
                transaction.edus.append({"edu_type": "m.presence", "content": {"push": pushes}})


def _hears(source: CacheSource, room_id: RoomId, server: ServerName) -> bool:
    """Tell whether the server is in the room and not shut out of it."""
    return members.has_server(source, room_id, server) and server_access.is_allowed(source, room_id, server)


def _place_receipt(contents: list[Json], receipt: Receipt, found: Json, limit: int) -> bool:
    """Put a receipt into the first EDU that holds none of its user in its room; tell whether there is one, or may be."""
    room_id, user_id, thread = receipt
    data = {"ts": found["ts"]}
    if thread:
        data["thread_id"] = thread
    shown = {"event_ids": [found["event_id"]], "data": data}
    for content in contents:
        read = content.setdefault(room_id, {"m.read": {}})["m.read"]
        if user_id not in read:
            read[user_id] = shown
            return True
    if len(contents) == limit:
        return False
    contents.append({room_id: {"m.read": {user_id: shown}}})
    return True
