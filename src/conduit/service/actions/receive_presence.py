"""Take the presence of its users that another server tells.

What it tells of somebody whom nobody here can see is not kept, or a server could fill the memory with people it makes up. But a server tells it as soon as it has let one of
our users into a room, when we may not have taken that room in yet. So a little of it waits for a while, until the task `run` hears that the user is in a room here.

Source: server-server API, "Presence".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit.protocol.ids import ServerName, UserId, is_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import remote_devices
from conduit.service.presence import STATES

MAX_PUSHES: Final = 500
"""How many users' presence one EDU may tell."""
MAX_STATUS: Final = 1_000
"""Characters of a status message that are kept."""
MAX_WAITING: Final = 2_000
"""How many users' presence waits, of all servers; whose came first goes first."""
MAX_WAITING_OF_SERVER: Final = 200
"""How many of these are of one server."""
WAIT_MS: Final = 5 * 60_000
_MAX_AGO_MS: Final = 10 * 365 * 24 * 3_600_000
_NEWS: Final = "presence of a stranger"


def receive(ctx: Context, origin: ServerName, content: Mapping[str, Any]) -> None:
    """Take an `m.presence` of a server; what it says of other servers' users is passed over."""
    pushes = content.get("push")
    for push in pushes[:MAX_PUSHES] if isinstance(pushes, list) else ():
        if not isinstance(push, dict):
            continue
        user_id, presence = push.get("user_id"), push.get("presence")
        if not is_user_id(user_id) or server_name_of(str(user_id)) != origin or presence not in STATES:
            continue
        status, ago, is_active = push.get("status_msg"), push.get("last_active_ago"), push.get("currently_active")
        is_time = isinstance(ago, int) and not isinstance(ago, bool) and 0 <= ago <= _MAX_AGO_MS
        acted_ms = ctx.clock.now_ms() - ago if isinstance(ago, int) and is_time else None
        told = (str(presence), status[:MAX_STATUS] if isinstance(status, str) else None, acted_ms, is_active is True)
        user = UserId(str(user_id))
        if remote_devices.is_in_sight(ctx.db, user, ctx.server_name):
            _set(ctx, user, told)
        else:
            ctx.db.watch.announce((_NEWS, user, told))


Told = tuple[str, str | None, int | None, bool]
"""Presence, status message, time of the last act in ms, whether active."""


def _set(ctx: Context, user_id: UserId, told: Told) -> None:
    presence, status, acted_ms, is_active = told
    ago = None if acted_ms is None else max(0, ctx.clock.now_ms() - acted_ms)
    ctx.presence.set_remote(user_id, presence, status, last_active_ago=ago, currently_active=is_active)


class _Waiting:
    """The presence that waits, by server and user, oldest first."""

    def __init__(self) -> None:
        self._servers: dict[ServerName, dict[UserId, tuple[int, Told]]] = {}
        self._count = 0

    def add(self, user: UserId, until: int, told: Told) -> None:
        """Let the presence of a user wait; where there is too much, the oldest of the server goes, or of the server that came first."""
        self.drop(user)
        server = server_name_of(user)
        of_server = self._servers.setdefault(server, {})
        of_server[user] = (until, told)
        self._count += 1
        if len(of_server) > MAX_WAITING_OF_SERVER:
            self.drop(next(iter(of_server)))
        if self._count > MAX_WAITING:
            self.drop(next(iter(next(iter(self._servers.values())))))

    def get(self, user: UserId) -> Told | None:
        """Return what waits of a user."""
        found = self._servers.get(server_name_of(user), {}).get(user)
        return None if found is None else found[1]

    def drop(self, user: UserId) -> None:
        """Let what waits of a user, if anything, wait no more."""
        server = server_name_of(user)
        if self._servers.get(server, {}).pop(user, None) is not None:
            self._count -= 1
            if not self._servers[server]:
                del self._servers[server]

    def expire(self, now: int) -> None:
        """Drop what has waited for too long."""
        for of_server in list(self._servers.values()):
            for user in [one for one, (until, _) in of_server.items() if until <= now]:
                self.drop(user)

    def users(self) -> list[UserId]:
        """Return whose presence waits."""
        return [user for of_server in self._servers.values() for user in of_server]


async def run(ctx: Context) -> None:
    """Take the presence of those who have come into sight since it was told. Runs until cancelled."""
    waiting = _Waiting()
    with ctx.db.watch.subscribe(_NEWS, "entered") as news:
        while True:
            changes = await news.take()
            now = ctx.clock.now_ms()
            waiting.expire(now)
            for kind, *what in changes:
                if kind == _NEWS:
                    user, told = what
                    waiting.add(user, now + WAIT_MS, told)
                    continue
                # Somebody of here may bring many into sight; somebody else only himself.
                entered = UserId(what[1])
                for user in waiting.users() if server_name_of(entered) == ctx.server_name else [entered]:
                    told = waiting.get(user)
                    if told is not None and remote_devices.is_in_sight(ctx.db, user, ctx.server_name):
                        waiting.drop(user)
                        _set(ctx, user, told)
