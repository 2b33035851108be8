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
from conduit.database.database import Database
from conduit.protocol.ids import ServerName, UserId, is_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import to_device

MAX_MESSAGES: Final = 5_000
"""How many messages one EDU may hold; nobody sends so many."""
MAX_ID: Final = 255
REMEMBER_MS: Final = 30 * 24 * 3_600_000
"""How long a message is known to have come already."""
SWEEP_SECONDS: Final = 6 * 3600.0
_STEP: Final = 1_000


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
        trees.todevice_received.put(batch, key, ctx.clock.now_ms())
        left = MAX_MESSAGES
        for user_id, devices in islice(messages.items(), MAX_MESSAGES):
            if not is_user_id(user_id) or server_name_of(user_id) != ctx.server_name or not isinstance(devices, dict):
                continue
            contents = {
                device: message for device, message in islice(devices.items(), left) if isinstance(message, dict)
            }
            left -= len(devices)
            to_device.deliver(batch, UserId(str(sender)), event_type, UserId(user_id), contents)
            if left <= 0:
                break


async def sweep(db: Database, now_ms: int) -> None:
    """Forget messages that came long ago, a step at a time."""
    keys = [key for key, at in trees.todevice_received.scan(db) if at + REMEMBER_MS <= now_ms]
    for start in range(0, len(keys), _STEP):
        with db.batch() as batch:
            for key in keys[start : start + _STEP]:
                trees.todevice_received.delete(batch, key)
        await asyncio.sleep(0)


async def run(ctx: Context) -> None:
    """Sweep now and then. Runs until cancelled."""
    while True:
        await sweep(ctx.db, ctx.clock.now_ms())
        await ctx.clock.sleep(SWEEP_SECONDS)
