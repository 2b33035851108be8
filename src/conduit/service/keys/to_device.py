"""Messages from device to device: kept until the receiving device has acknowledged them by its next /sync.

An inbox is bounded, for a device may never come back. Nobody may have more in it than is left free: so whoever fills it leaves room for others, however many join in. What does
not fit is dropped, with a line in the log. Half a year of the keys of busy rooms takes a fraction of it.

Source: client-server API, "Send-to-Device messaging".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import structlog

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import DeviceId, UserId, server_name_of
from conduit.service.outbound.turns import household
from conduit.service.rooms import members
from conduit.service.users import devices

log = structlog.get_logger(__name__)

MAX_PER_SYNC = 100
"""How many messages one /sync answer holds; the rest follows in the next one."""
MAX_BYTES = 256 << 20
"""What may wait for one device: some two hundred thousand keys of rooms."""
MAX_BYTES_OF_STRANGERS = 1 << 20
"""What may wait of one sender, or the servers of one owner, from users who share no room with the device's user."""


def deliver(
    batch: Batch, sender: UserId, event_type: str, user_id: UserId, contents: Mapping[str, Mapping[str, Any]]
) -> int:
    """Queue a message for devices of one local user; `*` stands for all of them. Unknown devices are passed over, and those of which the inbox is too full. Return how many took it."""
    taken = 0
    own = devices.ids(batch, user_id)
    for wanted, content in contents.items():
        targets: Iterable[str] = own if wanted == "*" else (device for device in own if device == wanted)
        message = {"type": event_type, "sender": sender, "content": content}
        size = _size(message)
        for device_id in targets:
            if not _takes(batch, user_id, device_id, sender, size):
                log.warning("inbox_full", user_id=user_id, device_id=device_id, sender=sender)
                continue
            trees.todeviceid_events.put(batch, (user_id, device_id, batch.next_count()), message)
            taken += 1
    if taken:
        batch.wake(("user", user_id))
    return taken


def _size(message: Mapping[str, Any]) -> int:
    return len(orjson.dumps(message))


def _payer(sender: UserId, user_id: UserId) -> str:
    """Return who is charged for a message: the sender if of this server, else whoever owns the sender's server."""
    server = server_name_of(sender)
    return sender if server == server_name_of(user_id) else household(server)


def _takes(batch: Batch, user_id: UserId, device_id: str, sender: UserId, size: int) -> bool:
    """Tell whether the device's inbox has room for a message, and note that it is there then."""
    waiting = trees.todevice_waiting.get(batch, (user_id, device_id)) or {}
    payer = _payer(sender, user_id)
    own = waiting.get(payer, 0) + size
    if own > MAX_BYTES - sum(waiting.values()):
        return False
    if own > MAX_BYTES_OF_STRANGERS and sender != user_id and not members.share_room(batch, sender, user_id):
        return False
    trees.todevice_waiting.put(batch, (user_id, device_id), {**waiting, payer: own})
    return True


def pending(
    source: CacheSource, user_id: UserId, device_id: DeviceId, since: int, upto: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the oldest messages in (since, upto], at most `MAX_PER_SYNC`, and the count up to which that is all of them."""
    found: list[dict[str, Any]] = []
    rows = trees.todeviceid_events.scan(source, (user_id, device_id), after=since, before=upto + 1)
    last = since
    for (_, _, count), message in rows:
        if len(found) == MAX_PER_SYNC:
            return found, last
        found.append(message)
        last = count
    return found, upto


def acknowledge(batch: Batch, user_id: UserId, device_id: DeviceId, upto: int) -> None:
    """Remove what the device has received: everything up to the count of the token that it came back with."""
    waiting = trees.todevice_waiting.get(batch, (user_id, device_id)) or {}
    for key, message in list(trees.todeviceid_events.scan(batch, (user_id, device_id), before=upto + 1)):
        trees.todeviceid_events.delete(batch, key)
        payer = _payer(UserId(message.get("sender", user_id)), user_id)
        left = waiting.pop(payer, 0) - _size(message)
        if left > 0:
            waiting[payer] = left
    if waiting and trees.todeviceid_events.first(batch, (user_id, device_id)) is not None:
        trees.todevice_waiting.put(batch, (user_id, device_id), waiting)
    else:
        trees.todevice_waiting.delete(batch, (user_id, device_id))
