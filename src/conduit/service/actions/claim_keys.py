"""Claim one-time keys of other devices. Source: client-server API, POST /keys/claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.protocol.errors import BadJson
from conduit.protocol.ids import DeviceId, UserId, parse_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import one_time_keys

Wanted = Mapping[UserId, Mapping[str, str]]
"""user -> device -> algorithm."""


def parse(value: Mapping[str, Any]) -> Wanted:
    """Return the keys asked for in a request body; raises `BadJson` or `InvalidParam`."""
    wanted: dict[UserId, Mapping[str, str]] = {}
    for user, devices in value.items():
        if not isinstance(devices, dict) or not all(isinstance(algorithm, str) for algorithm in devices.values()):
            raise BadJson("one_time_keys must map users to devices to algorithms")
        wanted[parse_user_id(user)] = devices
    return wanted


async def claim_keys(ctx: Context, wanted: Wanted) -> dict[str, Any]:
    """Hand out one key for each device named; return `{one_time_keys, failures}`.

    Devices without a key are left out; servers that cannot be asked stand in `failures`.
    """
    claimed: dict[str, dict[str, Any]] = {}
    failures: dict[str, dict[str, Any]] = {}
    with ctx.db.batch() as batch:
        for user_id, devices in wanted.items():
            server = server_name_of(user_id)
            if server != ctx.server_name:
                failures[server] = {"status": 503, "message": "The server cannot be reached from here"}
                continue
            for device_id, algorithm in devices.items():
                key = one_time_keys.claim(batch, user_id, DeviceId(device_id), algorithm)
                if key is not None:
                    claimed.setdefault(user_id, {})[device_id] = key
    return {"one_time_keys": claimed, "failures": failures}
