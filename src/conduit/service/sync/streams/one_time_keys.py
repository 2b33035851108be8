"""What a device's client needs to know of its keys on the server, in every answer of /sync: how many are left, which fallback keys are unused.

Source: client-server API, "Extensions to /sync" of end-to-end encryption.
"""

from __future__ import annotations

from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import one_time_keys


def everything(source: CacheSource, user_id: UserId, device_id: DeviceId) -> dict[str, Any]:
    """Return the two members of the answer; both come from a cache."""
    return {
        "device_one_time_keys_count": one_time_keys.counts(source, user_id, device_id),
        "device_unused_fallback_key_types": one_time_keys.unused_fallback_types(source, user_id, device_id),
    }
