"""Telling other servers of changes of local users' devices and keys.

A change is noted in the batch that makes it, as one row however many servers are concerned; a task of its own then queues an EDU for each of these
servers, in batches, and removes the row with the last one. A crash in between has some servers told twice, which they notice by the stream id.

Updates of a user form a chain: each has a stream id and names the one before it, so that a server sees when it has missed one.

Source: server-server API, "Device Management"; `m.device_list_update`, `m.signing_key_update`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.context import Context
from conduit.service.rooms import members, partial
from conduit.service.sending import queue
from conduit.service.users import devices

Json = dict[str, Any]

WAKE: Final = ("device updates",)
_SERVERS: Final = 200
"""How many servers are told in one batch."""


# --- noting --------------------------------------------------------------------------------------------------------


def announce(batch: Batch, user_id: UserId, device_ids: Iterable[str], *, signing_keys: bool = False) -> None:
    """Note that these devices of a local user have changed, or the cross-signing keys that others see."""
    told = _has_company(batch, user_id)
    for device_id in device_ids:
        previous = trees.devicelist_chain.get(batch, user_id)
        count = batch.next_count()
        # The chain goes on even if nobody is told: who knows the list from earlier times must see that there was something.
        trees.devicelist_chain.put(batch, user_id, count)
        if told:
            row = {"device_id": device_id, "stream_id": count, "prev_id": [] if previous is None else [previous]}
            trees.devicelist_outgoing.put(batch, (user_id, count), row)
    if told and signing_keys:
        trees.devicelist_outgoing.put(batch, (user_id, batch.next_count()), {"signing_keys": True})
    if told:
        batch.wake(WAKE)


def announce_join(batch: Batch, user_id: UserId, room_id: RoomId) -> None:
    """Note that a local user has joined a room: servers in it that shared no room with the user are told that there are devices to be known."""
    if len(_servers_in(batch, room_id)) > 1 and next(trees.keyid_key.keys(batch, (user_id,)), None) is not None:
        trees.devicelist_outgoing.put(batch, (user_id, batch.next_count()), {"joined": room_id})
        batch.wake(WAKE)


def _has_company(source: CacheSource, user_id: UserId) -> bool:
    """Tell whether the user is in a room with other servers."""
    return any(len(_servers_in(source, room_id)) > 1 for room_id in members.rooms(source, user_id))


def _servers_in(source: CacheSource, room_id: RoomId) -> Collection[str]:
    """Return the servers in a room, those that were named when its members were still to come among them."""
    incomplete = partial.find(source, room_id)
    known = members.servers(source, room_id)
    return known if incomplete is None else {*known, *incomplete.servers}


def stream_id(source: CacheSource, user_id: UserId) -> int:
    """Return the stream id of the newest update of a local user; 0 if there never was one."""
    return trees.devicelist_chain.get(source, user_id) or 0


# --- telling -------------------------------------------------------------------------------------------------------


async def run(ctx: Context) -> None:
    """Tell other servers of what was noted, and then of each change as it comes. Runs until cancelled."""
    with ctx.db.watch.register([WAKE]) as waiter:
        while True:
            await tell_all(ctx)
            await waiter.wait()


async def tell_all(ctx: Context) -> None:
    """Queue EDUs for all changes that are noted now."""
    for key, row in list(trees.devicelist_outgoing.scan(ctx.db, ())):
        user_id = UserId(key[0])
        servers, edu = _message(ctx, user_id, row)
        for start in range(0, max(len(servers), 1), _SERVERS):
            some = servers[start : start + _SERVERS]
            with ctx.db.batch() as batch:
                for server in some:
                    queue.enqueue_edu(batch, server, edu)
                if start + _SERVERS >= len(servers):
                    trees.devicelist_outgoing.delete(batch, key)
            await asyncio.sleep(0)


def _message(ctx: Context, user_id: UserId, row: Json) -> tuple[Sequence[ServerName], Json]:
    """Return whom to tell, nobody perhaps, and the EDU, which says how things are now."""
    if "joined" in row:
        room_id = RoomId(row["joined"])
        if not members.is_joined(ctx.db, room_id, user_id):
            return (), {}
        others = [room for room in members.rooms(ctx.db, user_id) if room != room_id]
        servers = _servers(ctx, [room_id]) - _servers(ctx, others)
        # It names no update before it, which makes the other side fetch the whole list.
        keyed = [device for device in devices.ids(ctx.db, user_id) if trees.keyid_key.has(ctx.db, (user_id, device))]
        if not keyed:
            return (), {}
        content = device_update(ctx.db, user_id, keyed[0], stream_id(ctx.db, user_id), [])
        return sorted(servers), {"edu_type": "m.device_list_update", "content": content}
    servers = _servers(ctx, members.rooms(ctx.db, user_id))
    if "signing_keys" in row:
        return sorted(servers), {"edu_type": "m.signing_key_update", "content": signing_key_update(ctx.db, user_id)}
    content = device_update(ctx.db, user_id, row["device_id"], row["stream_id"], row["prev_id"])
    return sorted(servers), {"edu_type": "m.device_list_update", "content": content}


def _servers(ctx: Context, rooms: Iterable[RoomId]) -> set[ServerName]:
    """Return the other servers in the rooms that this one talks with."""
    found = {ServerName(server) for room_id in rooms for server in _servers_in(ctx.db, room_id)}
    found.discard(ctx.server_name)
    return {server for server in found if ctx.outbound.policy.refusal(server) is None}


def device_update(source: CacheSource, user_id: UserId, device_id: str, stream: int, previous: Sequence[int]) -> Json:
    """Return the content of an `m.device_list_update` that says what the device is now, or that it is gone."""
    content: Json = {"user_id": user_id, "device_id": device_id, "stream_id": stream, "prev_id": list(previous)}
    device = devices.get(source, user_id, device_id)
    if device is None:
        return {**content, "deleted": True}
    content |= public_form(source, user_id, device)
    return content


def public_form(source: CacheSource, user_id: UserId, device: devices.Device) -> Json:
    """Return what other servers may know of a local device: `keys` and `device_display_name`, as far as there are any."""
    found: Json = {}
    keys = trees.keyid_key.get(source, (user_id, device["device_id"]))
    if keys is not None:
        found["keys"] = only_own_signatures(keys, user_id)
    if device.get("display_name"):
        found["device_display_name"] = device["display_name"]
    return found


def signing_key_update(source: CacheSource, user_id: UserId) -> Json:
    """Return the content of an `m.signing_key_update`: the master and self-signing keys as they are now."""
    content: Json = {"user_id": user_id}
    for name, tree in (("master_key", trees.userid_masterkeyid), ("self_signing_key", trees.userid_selfsigningkeyid)):
        row = tree.get(source, user_id)
        key = None if row is None else trees.keyid_key.get(source, row)
        if key is not None:
            content[name] = only_own_signatures(key, user_id)
    return content


def only_own_signatures(key: Json, user_id: UserId) -> Json:
    """Return a copy with the user's own signatures only: others' would tell who knows whom."""
    if "signatures" not in key:
        return dict(key)
    return {**key, "signatures": {user: own for user, own in key["signatures"].items() if user == user_id}}
