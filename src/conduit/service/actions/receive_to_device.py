"""Take to-device messages of another server: each once, however often it is sent.

Source: server-server API, "Send-to-device messaging".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import Cached
from conduit.database.database import Database
from conduit.protocol.ids import ServerName, UserId, is_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import to_device

MAX_MESSAGES: Final = 2_000
"""How many messages one EDU may hold; nobody sends so many."""
MAX_ID: Final = 255
REMEMBER_MS: Final = 30 * 24 * 3_600_000
"""How long a message is known to have come already."""
MAX_REMEMBERED: Final = 100_000
"""How many messages of one server are known to have come; it sends again what it has not heard of, and that is what it sent last."""
SWEEP_SECONDS: Final = 6 * 3600.0
_STEP: Final = 1_000

_REMEMBERED: Cached[ServerName, int] = Cached(
    "todevice_remembered", load=lambda source, server: 0, weigh=lambda count: 60
)
"""How many messages of a server were noted since its notes were swept."""


def receive(ctx: Context, origin: ServerName, content: Mapping[str, Any]) -> None:
    """Deliver the messages of an `m.direct_to_device` to local devices, in one batch with the note that they have come."""
    sender, event_type, message_id = content.get("sender"), content.get("type"), content.get("message_id")
    if not is_user_id(sender) or server_name_of(str(sender)) != origin:
        return
    if (
        not isinstance(event_type, str)
        or not isinstance(message_id, str)
        or max(len(event_type), len(message_id)) > MAX_ID
    ):
        return
    messages = content.get("messages")
    key = (origin, sha256(message_id.encode()).digest())
    with ctx.db.batch() as batch:
        if not isinstance(messages, dict) or trees.todevice_received.has(batch, key):
            return
        taken = 0
        left = MAX_MESSAGES
        for user_id, devices in islice(messages.items(), MAX_MESSAGES):
            if not is_user_id(user_id) or server_name_of(user_id) != ctx.server_name or not isinstance(devices, dict):
                continue
            contents = {
                device: message for device, message in islice(devices.items(), left) if isinstance(message, dict)
            }
            left -= len(devices)
            taken += to_device.deliver(batch, UserId(str(sender)), event_type, UserId(user_id), contents)
            if left <= 0:
                break
        if taken:
            trees.todevice_received.put(batch, key, ctx.clock.now_ms())
            _REMEMBERED.set(batch, origin, _REMEMBERED.get(batch, origin) + 1)
    if _REMEMBERED.get(ctx.db, origin) >= MAX_REMEMBERED:
        ctx.outbound.flights.start(ctx.tasks, ("to-device notes", origin), lambda: _sweep_at_once(ctx, origin))


async def _sweep_at_once(ctx: Context, origin: ServerName) -> None:
    with ctx.db.batch() as batch:
        _REMEMBERED.set(batch, origin, 0)
    await _sweep_of(ctx.db, ctx.clock.now_ms(), origin)


async def sweep(db: Database, now_ms: int) -> None:
    """Forget messages that came long ago, and the oldest where there are too many of one server, a step at a time."""
    row = trees.todevice_received.first(db)
    while row is not None:
        origin = ServerName(row[0][0])
        await _sweep_of(db, now_ms, origin)
        row = trees.todevice_received.first(db, after=origin)


async def _sweep_of(db: Database, now_ms: int, origin: ServerName) -> None:
    kept: list[tuple[int, bytes]] = []
    after: bytes | None = None
    while rows := list(islice(trees.todevice_received.scan(db, (origin,), after=after), _STEP)):
        after = rows[-1][0][1]
        kept += [(at, digest) for (_, digest), at in rows if at + REMEMBER_MS > now_ms]
        await _forget(db, origin, [digest for (_, digest), at in rows if at + REMEMBER_MS <= now_ms])
    kept.sort()
    surplus = [digest for _, digest in kept[: max(0, len(kept) - MAX_REMEMBERED)]]
    for start in range(0, len(surplus), _STEP):
        await _forget(db, origin, surplus[start : start + _STEP])


async def _forget(db: Database, origin: ServerName, digests: list[bytes]) -> None:
    with db.batch() as batch:
        for digest in digests:
            trees.todevice_received.delete(batch, (origin, digest))
    await asyncio.sleep(0)


async def run(ctx: Context) -> None:
    """Sweep now and then. Runs until cancelled."""
    while True:
        await sweep(ctx.db, ctx.clock.now_ms())
        await ctx.clock.sleep(SWEEP_SECONDS)
