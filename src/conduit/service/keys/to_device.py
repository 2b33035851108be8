"""Messages from device to device: kept until the receiving device has acknowledged them by its next /sync.

Source: client-server API, "Send-to-Device messaging".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.users import devices

MAX_PER_SYNC = 100
"""How many messages one /sync answer holds; the rest follows in the next one."""


def deliver(
    batch: Batch, sender: UserId, event_type: str, user_id: UserId, contents: Mapping[str, Mapping[str, Any]]
) -> None:
    """Queue a message for devices of one local user; `*` stands for all of them, unknown devices are passed over."""
    own = devices.ids(batch, user_id)
    for wanted, content in contents.items():
        targets: Iterable[str] = own if wanted == "*" else (device for device in own if device == wanted)
        for device_id in targets:
            message = {"type": event_type, "sender": sender, "content": content}
            trees.todeviceid_events.put(batch, (user_id, device_id, batch.next_count()), message)
    batch.wake(("user", user_id))


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
    for key in list(trees.todeviceid_events.keys(batch, (user_id, device_id), before=upto + 1)):
        trees.todeviceid_events.delete(batch, key)


def has_pending(source: CacheSource, user_id: UserId, device_id: DeviceId, upto: int) -> bool:
    """Tell whether there is a message with a count up to `upto`."""
    return any(True for _ in trees.todeviceid_events.keys(source, (user_id, device_id), before=upto + 1))
