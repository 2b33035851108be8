"""Claim one-time keys of other devices, here and on other servers.

Source: client-server API, POST /keys/claim; server-server API, POST /user/keys/claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from conduit.protocol.errors import BadJson
from conduit.protocol.ids import DeviceId, ServerName, UserId, parse_user_id, server_name_of
from conduit.service.actions.query_keys import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, check_servers, failure
from conduit.service.context import Context
from conduit.service.keys import one_time_keys, remote_shapes
from conduit.service.outbound.errors import RemoteError

Wanted = Mapping[UserId, Mapping[str, str]]
"""user -> device -> algorithm."""

MAX_ANSWER: Final = 4 << 20
_STEP: Final = 500
"""After how many devices others get their turn."""


def parse(value: Mapping[str, Any]) -> Wanted:
    """Return the keys asked for in a request body; raises `BadJson` or `InvalidParam`."""
    wanted: dict[UserId, Mapping[str, str]] = {}
    for user, devices in value.items():
        if not isinstance(devices, dict) or not all(isinstance(algorithm, str) for algorithm in devices.values()):
            raise BadJson("one_time_keys must map users to devices to algorithms")
        wanted[parse_user_id(user)] = devices
    return wanted


async def claim_keys(ctx: Context, wanted: Wanted, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> dict[str, Any]:
    """Hand out one key for each device named; return `{one_time_keys, failures}`.

    Devices without a key are left out; servers that could not be asked within `timeout_ms` stand in `failures`.
    """
    failures: dict[str, dict[str, Any]] = {}
    remote: dict[ServerName, dict[UserId, Mapping[str, str]]] = {}
    for user_id, devices in wanted.items():
        server = server_name_of(user_id)
        if server != ctx.server_name:
            remote.setdefault(server, {})[user_id] = devices
    check_servers(remote)
    claimed = await claim_local(ctx, wanted)
    seconds = min(timeout_ms, MAX_TIMEOUT_MS) / 1000

    async def ask(server: ServerName, users: Wanted) -> None:
        try:
            claimed.update(await _claim_of(ctx, server, users, seconds))
        except RemoteError as error:
            failures[server] = failure(error)

    await asyncio.gather(*(ask(server, users) for server, users in remote.items()))
    return {"one_time_keys": claimed, "failures": failures}


async def claim_local(ctx: Context, wanted: Wanted) -> dict[str, dict[str, Any]]:
    """Hand out keys of local devices, in steps; the users of other servers are passed over."""
    claimed: dict[str, dict[str, Any]] = {}
    local = [user_id for user_id in wanted if server_name_of(user_id) == ctx.server_name]
    pairs = [(user_id, device_id) for user_id in local for device_id in wanted[user_id]]
    for start in range(0, len(pairs), _STEP):
        with ctx.db.batch() as batch:
            for user_id, device_id in pairs[start : start + _STEP]:
                key = one_time_keys.claim(batch, user_id, DeviceId(device_id), wanted[user_id][device_id])
                if key is not None:
                    claimed.setdefault(user_id, {})[device_id] = key
        await asyncio.sleep(0)
    return claimed


async def _claim_of(ctx: Context, server: ServerName, users: Wanted, seconds: float) -> dict[str, dict[str, Any]]:
    body = {"one_time_keys": {user_id: dict(devices) for user_id, devices in users.items()}}
    answer = await ctx.outbound.federation.post(
        server, "/_matrix/federation/v1/user/keys/claim", body, seconds=seconds, max_bytes=MAX_ANSWER
    )
    return {user_id: dict(devices) for user_id, devices in remote_shapes.claimed(answer, users).items()}
