"""Messages between devices in /sync: given until the device comes back with the token of the answer that held them.

Source: client-server API, "Send-to-Device messaging", "Server behaviour".
"""

from __future__ import annotations

from typing import Any

from conduit.database.cache import Cached
from conduit.database.database import Database
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import to_device
from conduit.service.rooms.cuts import SyncToken
from conduit.service.sync.window import Window

_UNKNOWN = 1
"""Lower than every count of a message: there may be something to acknowledge."""

_GIVEN: Cached[tuple[UserId, DeviceId], int] = Cached(
    "to_device_given", load=lambda source, device: _UNKNOWN, weigh=lambda count: 120
)
"""A count from which on messages were given to a device and not acknowledged; 0 for none."""


def acknowledge(db: Database, user_id: UserId, device_id: DeviceId, since: SyncToken) -> None:
    """Forget the messages that came with the answer whose token the device now shows. An idle device costs no look into the database."""
    slot = (user_id, device_id)
    given = _GIVEN.get(db, slot)
    if not given or given > since.devices:
        return
    with db.batch() as batch:
        to_device.acknowledge(batch, user_id, device_id, since.devices)
    _GIVEN.fill(db, slot, 0)


def changes(window: Window) -> tuple[list[dict[str, Any]], int]:
    """Return the messages for the device, oldest first, and the count up to which that is all of them."""
    since = window.since_devices
    if not window.own_news and since == window.since:
        return [], window.upto
    found, upto = to_device.pending(window.db, window.user_id, window.device_id, since, window.upto)
    if found:
        _GIVEN.fill(window.db, (window.user_id, window.device_id), since + 1)
    return found, upto
