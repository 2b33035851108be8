"""Look up device and cross-signing keys, here and on other servers.

Of a remote user who shares a room with the one who asks there is a copy, which is fetched if need be; of others their server is asked, and nothing is
kept: no updates of their lists come here.

Source: client-server API, POST /keys/query; server-server API, "Device Management", "End-to-End Encryption".
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from conduit.protocol.errors import TooLarge
from conduit.protocol.ids import ServerName, UserId, server_name_of
from conduit.service.context import Context
from conduit.service.keys import device_keys, remote_devices, remote_shapes
from conduit.service.keys.remote_shapes import Snapshot
from conduit.service.outbound.errors import Refused, RemoteError
from conduit.service.rooms import members

Json = dict[str, Any]
Wanted = Mapping[UserId, Sequence[str]]
"""user -> devices; an empty list stands for all of them."""

DEFAULT_TIMEOUT_MS: Final = 10_000
MAX_TIMEOUT_MS: Final = 60_000
MAX_SERVERS: Final = 5000
"""How many other servers one request may have asked: each costs a task that waits for its turn."""
_AT_ONCE: Final = 10
"""How many lists are fetched from one server at a time."""
_STEP: Final = 100
"""After how many users others get their turn."""
_NAMES: Final = ("device_keys", "master_keys", "self_signing_keys", "user_signing_keys", "failures")


async def query_keys(ctx: Context, requester: UserId, wanted: Wanted, *, timeout_ms: int) -> Json:
    """Return the answer of /keys/query. Servers that could not be asked within `timeout_ms` stand in `failures`. Raises `TooLarge` for too many servers."""
    answer: dict[str, Json] = {name: {} for name in _NAMES}
    local: dict[UserId, Sequence[str]] = {}
    remote: dict[ServerName, dict[UserId, Sequence[str]]] = {}
    for user_id, device_ids in wanted.items():
        server = server_name_of(user_id)
        if server == ctx.server_name:
            local[user_id] = device_ids
        else:
            remote.setdefault(server, {})[user_id] = device_ids
    check_servers(remote)
    await query_local(ctx, requester, local, answer)
    if remote:
        seconds = min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        await asyncio.gather(
            *(_of_server(ctx, requester, server, users, seconds, answer) for server, users in remote.items())
        )
    return {name: value for name, value in answer.items() if value or name in ("device_keys", "failures")}


def check_servers(servers: Collection[ServerName]) -> None:
    """Raise `TooLarge` for more servers than one request may have asked."""
    if len(servers) > MAX_SERVERS:
        raise TooLarge(f"The users of at most {MAX_SERVERS} servers can be asked about at a time")


async def query_local(ctx: Context, requester: UserId | None, wanted: Wanted, answer: dict[str, Json]) -> None:
    """Add the users of this server to `answer`, in steps; without a requester as other servers see them."""
    users = list(wanted)
    for start in range(0, len(users), _STEP):
        part = {user_id: wanted[user_id] for user_id in users[start : start + _STEP]}
        device_keys.query(ctx.db, requester, part, answer)
        await asyncio.sleep(0)


async def _of_server(
    ctx: Context, requester: UserId, server: ServerName, users: Wanted, seconds: float, answer: dict[str, Json]
) -> None:
    """Add the users of one server to `answer`."""
    deadline = asyncio.get_running_loop().time() + seconds
    kept = {
        user_id: device_ids for user_id, device_ids in users.items() if members.share_room(ctx.db, requester, user_id)
    }
    to_fetch = [user_id for user_id in kept if not remote_devices.is_current(ctx.db, user_id, ctx.server_name)]
    to_ask = {user_id: device_ids for user_id, device_ids in users.items() if user_id not in kept}
    if to_fetch:
        outcome = await _fetch(ctx, to_fetch, seconds)
        # A server that does not know this way of asking is asked in the other one.
        refused = [
            user_id for user_id, error in outcome.items() if isinstance(error, Refused) and not _is_unknown(error)
        ]
        to_ask |= {user_id: users[user_id] for user_id in refused if not _is_usable(ctx, user_id)}
        for error in outcome.values():
            if error is not None and not isinstance(error, Refused):
                answer["failures"][server] = failure(error)
    for index, (user_id, device_ids) in enumerate(kept.items()):
        if index % _STEP == _STEP - 1:
            await asyncio.sleep(0)
        if _is_usable(ctx, user_id):
            _show(answer, requester, user_id, remote_devices.known(ctx.db, user_id), device_ids)
    if to_ask:
        try:
            found = await _ask(ctx, server, to_ask, max(0.1, deadline - asyncio.get_running_loop().time()))
        except (RemoteError, TimeoutError) as error:
            answer["failures"][server] = failure(error)
            return
        for user_id, snapshot in found.items():
            await asyncio.sleep(0)  # it may have a thousand devices
            remote_devices.remember_cross_signing(ctx, user_id, snapshot)
            _show(answer, requester, user_id, _with_local_signatures(ctx, user_id, snapshot), to_ask[user_id])


def _is_unknown(error: Refused) -> bool:
    """Tell whether the server says that there is no such user."""
    return error.status == 404 and error.errcode == "M_NOT_FOUND"


def _is_usable(ctx: Context, user_id: UserId) -> bool:
    return remote_devices.is_usable(ctx.db, user_id, ctx.server_name)


async def _fetch(ctx: Context, users: Sequence[UserId], seconds: float) -> dict[UserId, Exception | None]:
    """Fetch the lists of users of one server; return what went wrong with each."""
    slots = asyncio.Semaphore(_AT_ONCE)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    outcome: dict[UserId, Exception | None] = {}

    async def one(user_id: UserId) -> None:
        try:
            async with slots:
                await remote_devices.fetch(ctx, user_id, seconds=max(0.0, deadline - loop.time()))
        except (RemoteError, TimeoutError) as error:
            outcome[user_id] = error
        else:
            outcome[user_id] = None

    await asyncio.gather(*map(one, users))
    return outcome


async def _ask(ctx: Context, server: ServerName, users: Wanted, seconds: float) -> dict[UserId, Snapshot]:
    body = {"device_keys": {user_id: list(device_ids) for user_id, device_ids in users.items()}}
    answer = await ctx.outbound.federation.post(
        server, "/_matrix/federation/v1/user/keys/query", body, seconds=seconds, max_bytes=remote_devices.MAX_ANSWER
    )
    return await asyncio.to_thread(remote_shapes.queried, answer, users)


def _with_local_signatures(ctx: Context, user_id: UserId, found: Snapshot) -> Snapshot:
    """Return the answer with what users of this server have signed of it."""
    if found.master is None:
        return found
    return found._replace(master=device_keys.cross_signing_key(ctx.db, user_id, "master") or found.master)


def _show(
    answer: dict[str, Json], requester: UserId, user_id: UserId, found: Snapshot, device_ids: Sequence[str]
) -> None:
    shown = frozenset((requester, user_id))
    devices: Json = {}
    for device_id, device in found.devices.items():
        if device.keys is None or (device_ids and device_id not in device_ids):
            continue
        keys = device_keys.visible(device.keys, shown)
        keys["unsigned"] = {"device_display_name": device.name} if device.name else {}
        devices[device_id] = keys
    answer["device_keys"][user_id] = devices
    for name, key in (("master_keys", found.master), ("self_signing_keys", found.self_signing)):
        if key is not None:
            answer[name][user_id] = device_keys.visible(key, shown)


def failure(error: Exception) -> Json:
    """Return what `failures` says of a server."""
    if isinstance(error, Refused):
        return {"status": error.status, "errcode": error.errcode, "message": error.error}
    return {"status": 503, "message": "The server cannot be reached from here"}
