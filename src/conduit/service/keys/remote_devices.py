"""Copies of the device lists of remote users: of those, and only those, who share a room with somebody here.

A copy is fetched whole when it is first asked for, and kept up by the `m.device_list_update`s of the user's server. Each of these names those before
it. Where one is missing the list is fetched anew. While nobody here shares a room with the user no updates come, so a copy from before
that is worth nothing: `is_current` looks for a room that both sides have been in ever since it was fetched.

Source: server-server API, "Device Management"; client-server API, "Tracking the device list for a user".
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.ids import ServerName, UserId, is_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import device_keys, device_lists, remote_shapes
from conduit.service.keys.remote_shapes import RemoteDevice, Snapshot, Update
from conduit.service.outbound.errors import RemoteError, Unreachable
from conduit.service.rooms import members

Json = dict[str, Any]

SECONDS: Final = 30.0
"""How long a server may take to send a list."""
MAX_ANSWER: Final = 4 << 20
_SEEN: Final = 50
"""How many updates since the list was fetched are remembered by number."""
LANES: Final = 8
"""How many lists are fetched from one server at a time: it can have us fetch those of all its users."""
GATHER_SECONDS: Final = 0.1
"""How long changes that fetched lists bring are gathered before users are told."""
_TELL: Final = ("device lists to tell of",)
_TRIES: Final = 3
"""How often a list is fetched that changes meanwhile."""


# --- what is known -------------------------------------------------------------------------------------------------


def is_in_sight(source: CacheSource, user_id: UserId, server_name: ServerName) -> bool:
    """Tell whether somebody of this server is in a room with the user."""
    return any(members.joined_local(source, room, server_name) for room in members.rooms(source, user_id))


def is_current(source: CacheSource, user_id: UserId, server_name: ServerName) -> bool:
    """Tell whether the copy of the user's device list may be relied on."""
    row = trees.devicelist_remote.get(source, user_id)
    return row is not None and row["fresh"] and _shared_since(source, user_id, server_name, row["at"])


def is_usable(source: CacheSource, user_id: UserId, server_name: ServerName) -> bool:
    """Tell whether there is a copy that is better than nothing, while the user's server cannot be asked: it may lack the newest changes."""
    row = trees.devicelist_remote.get(source, user_id)
    return row is not None and _shared_since(source, user_id, server_name, row["at"])


def _shared_since(source: CacheSource, user_id: UserId, server_name: ServerName, at: int) -> bool:
    for room_id in members.rooms(source, user_id):
        theirs = members.entry(source, room_id, user_id)
        if theirs is None or theirs.since > at:
            continue
        for local in members.joined_local(source, room_id, server_name):
            ours = members.entry(source, room_id, local)
            if ours is not None and ours.since <= at:
                return True
    return False


def is_known(source: CacheSource, user_id: UserId) -> bool:
    """Tell whether there is a copy at all, be it out of date."""
    return trees.devicelist_remote.has(source, user_id)


def known(source: CacheSource, user_id: UserId) -> Snapshot:
    """Return the copy of the user's device list."""
    row = trees.devicelist_remote.get(source, user_id) or {}
    devices = {
        device_id: RemoteDevice(device.get("keys"), device.get("name"))
        for (_, device_id), device in trees.devicelist_device.scan(source, (user_id,))
    }
    master = device_keys.cross_signing_key(source, user_id, "master")
    self_signing = device_keys.cross_signing_key(source, user_id, "self_signing")
    return Snapshot(row.get("stream_id", 0), devices, master, self_signing)


# --- fetching ------------------------------------------------------------------------------------------------------


def _key(user_id: UserId) -> tuple[str, str]:
    return ("device list", user_id)


async def fetch(ctx: Context, user_id: UserId, *, seconds: float) -> None:
    """Fetch the user's device list from their server, or wait for a fetch that is under way, unless the copy is good by now.

    Raises `RemoteError`, and `TimeoutError` after `seconds`; the fetch goes on then.
    """
    if is_current(ctx.db, user_id, ctx.server_name):
        return
    await ctx.outbound.flights.join(ctx.tasks, _key(user_id), lambda: _fetch(ctx, user_id), seconds=seconds)


async def _fetch(ctx: Context, user_id: UserId) -> None:
    key, flights = _key(user_id), ctx.outbound.flights
    for _ in range(_TRIES):
        at = ctx.db.current_count()
        try:
            found = await _ask(ctx, user_id)
        except RemoteError:
            with ctx.db.batch() as batch:
                _set_stale(batch, user_id)
                if flights.take_notes(key):
                    # Clients learn that what they have is outdated, and ask again when they need it.
                    device_lists.record_remote_change(batch, user_id, ctx.server_name)
            raise
        # An update that came meanwhile may be newer than the answer.
        notes: list[Update] = flights.take_notes(key)
        missed = any(not note.previous or note.stream_id > found.stream_id for note in notes)
        with ctx.db.batch() as batch:
            changed = _store(ctx, batch, user_id, found, at, fresh=not missed)
        if changed:
            _tell_soon(ctx, user_id)
        if not missed:
            return
    # The list changes faster than it can be fetched. It stays marked as out of date, and clients that ask for it have it fetched again.
    with ctx.db.batch() as batch:
        device_lists.record_remote_change(batch, user_id, ctx.server_name)


async def _ask(ctx: Context, user_id: UserId) -> Snapshot:
    server = server_name_of(user_id)
    path = ctx.outbound.federation.path("/_matrix/federation/v1/user/devices", user_id)
    lane = (server, zlib.crc32(user_id.encode()) % LANES)
    async with ctx.outbound.lanes(lane):
        answer = await ctx.outbound.federation.get(server, path, seconds=SECONDS, max_bytes=MAX_ANSWER)
    # A thousand signatures take their time.
    found = await asyncio.to_thread(remote_shapes.snapshot, answer, user_id)
    if found is None:
        raise Unreachable(server, "its device list is not understood")
    return found


def _tell_soon(ctx: Context, user_id: UserId) -> None:
    """Tell local users of a list that was fetched and has changed: of all that are fetched about now together.

    Who enters a room has the lists of everybody in it fetched. Each of them alone would wake everybody else in it.
    """
    flights = ctx.outbound.flights
    flights.start(ctx.tasks, _TELL, lambda: _tell(ctx))
    flights.leave_note(_TELL, user_id, most=1 << 30)


async def _tell(ctx: Context) -> None:
    await ctx.clock.sleep(GATHER_SECONDS)
    with ctx.db.batch() as batch:
        for user_id in dict.fromkeys(ctx.outbound.flights.take_notes(_TELL)):
            _tell_of(ctx, batch, user_id)


def _tell_of(ctx: Context, batch: Batch, user_id: UserId) -> None:
    row = trees.devicelist_remote.get(batch, user_id)
    if row is not None and row.pop("untold", False):
        trees.devicelist_remote.put(batch, user_id, row)
    device_lists.record_remote_change(batch, user_id, ctx.server_name)


def _store(ctx: Context, batch: Batch, user_id: UserId, found: Snapshot, at: int, *, fresh: bool) -> bool:
    """Replace the copy by what was fetched; return whether that changes anything, so that local users must be told."""
    if not is_in_sight(batch, user_id, ctx.server_name):
        forget(batch, user_id)
        return False
    former = trees.devicelist_remote.get(batch, user_id)
    row = {"stream_id": found.stream_id, "seen": [], "fresh": fresh, "at": at}
    before = {device_id: device for (_, device_id), device in trees.devicelist_device.scan(batch, (user_id,))}
    after = {device_id: device.row() for device_id, device in found.devices.items()}
    for device_id in before.keys() - after.keys():
        trees.devicelist_device.delete(batch, (user_id, device_id))
    for device_id, device in after.items():
        if before.get(device_id) != device:
            trees.devicelist_device.put(batch, (user_id, device_id), device)
    keys_changed = _store_cross_signing(ctx, batch, user_id, found.master, found.self_signing)
    changed = former is None or before != after or keys_changed
    if changed or (former is not None and former.get("untold")):
        row["untold"] = True  # should the server stop before it has told of it
    trees.devicelist_remote.put(batch, user_id, row)
    return changed


def _store_cross_signing(
    ctx: Context, batch: Batch, user_id: UserId, master: Json | None, self_signing: Json | None
) -> bool:
    """Make these the user's keys; signatures that users of this server have made on them stay. Tell whether that changes anything."""
    changed = False
    for usage, key in (("master", master), ("self_signing", self_signing)):
        before = device_keys.cross_signing_key(batch, user_id, usage)
        if key is None:
            if before is not None:
                device_keys.delete_cross_signing_key(batch, user_id, usage)
                changed = True
            continue
        if before is not None and before["keys"] == key["keys"]:
            ours = {
                signer: signatures
                for signer, signatures in before.get("signatures", {}).items()
                if is_user_id(signer) and server_name_of(signer) == ctx.server_name
            }
            key = device_keys.merge_signatures(key, {"signatures": ours})
        if key != before:
            ((_, public_key),) = key["keys"].items()
            device_keys.set_cross_signing_key(batch, user_id, usage, public_key, key)
            changed = True
    return changed


def remember_cross_signing(ctx: Context, user_id: UserId, found: Snapshot) -> None:
    """Keep the cross-signing keys of a user whose list is not kept, so that a user of this server can sign them."""
    if found.master is None:
        return
    with ctx.db.batch() as batch:
        _store_cross_signing(ctx, batch, user_id, found.master, found.self_signing)


def forget(batch: Batch, user_id: UserId) -> None:
    """Drop the copy of the user's device list."""
    trees.devicelist_remote.delete(batch, user_id)
    trees.devicelist_device.delete_prefix(batch, (user_id,))


def _set_stale(batch: Batch, user_id: UserId) -> None:
    row = trees.devicelist_remote.get(batch, user_id)
    if row is not None and row["fresh"]:
        trees.devicelist_remote.put(batch, user_id, {**row, "fresh": False})


# --- updates -------------------------------------------------------------------------------------------------------


def update(ctx: Context, origin: ServerName, content: Any) -> None:
    """Take an `m.device_list_update` of another server: change the copy, or have the list fetched in the background where an update is missing.

    What speaks of another server's user, of one out of sight, or cannot be understood, is passed over.
    """
    user_id = _user_of(ctx, origin, content)
    if user_id is None:
        return
    found = remote_shapes.update(content, user_id)
    if found is None or ctx.outbound.flights.leave_note(_key(user_id), found):
        return
    with ctx.db.batch() as batch:
        if _apply(ctx, batch, found):
            return
        _set_stale(batch, user_id)
    ctx.outbound.flights.start(ctx.tasks, _key(user_id), lambda: _fetch(ctx, user_id))
    # If that fails, clients are told that something has changed.
    ctx.outbound.flights.leave_note(_key(user_id), found._replace(stream_id=0, previous=(0,)))


def _apply(ctx: Context, batch: Batch, found: Update) -> bool:
    """Change the copy; tell whether that could be done: an update before this one may be missing."""
    user_id = found.user_id
    row = trees.devicelist_remote.get(batch, user_id)
    if row is None or not found.previous or not is_current(batch, user_id, ctx.server_name):
        return False
    base, seen = row["stream_id"], row["seen"]
    if found.stream_id <= base or found.stream_id in seen:
        return True
    if not all(previous <= base or previous in seen for previous in found.previous):
        return False
    key = (user_id, found.device_id)
    device = found.device
    if device is None or device.keys is None:
        trees.devicelist_device.delete(batch, key)
    else:
        trees.devicelist_device.put(batch, key, device.row())
    seen = [*seen, found.stream_id]
    if len(seen) > _SEEN:
        base, seen = max(base, seen[-_SEEN - 1]), seen[-_SEEN:]
    trees.devicelist_remote.put(batch, user_id, {**row, "stream_id": base, "seen": seen})
    device_lists.record_remote_change(batch, user_id, ctx.server_name)
    return True


def update_signing_keys(ctx: Context, origin: ServerName, content: Any) -> None:
    """Take an `m.signing_key_update` of another server: the user's master and self-signing keys, where these are given."""
    user_id = _user_of(ctx, origin, content)
    if user_id is None:
        return
    # A list that is being fetched may have been written before this: then it is fetched once more.
    ctx.outbound.flights.leave_note(_key(user_id), Update(user_id, "", 0, (), None))
    if not is_known(ctx.db, user_id):
        # Clients may know the keys all the same, from a query of their own.
        with ctx.db.batch() as batch:
            device_lists.record_remote_change(batch, user_id, ctx.server_name)
        return
    current = known(ctx.db, user_id)
    offered_master = content.get("master_key") or current.master
    offered_second = content.get("self_signing_key") or current.self_signing
    master, self_signing = remote_shapes.cross_signing(offered_master, offered_second, user_id)
    if master is None:
        return
    with ctx.db.batch() as batch:
        if _store_cross_signing(ctx, batch, user_id, master, self_signing):
            device_lists.record_remote_change(batch, user_id, ctx.server_name)


def _user_of(ctx: Context, origin: ServerName, content: Any) -> UserId | None:
    """Return the user whom an update is about, if its server may speak of them and somebody here is concerned."""
    if not isinstance(content, Mapping) or not is_user_id(content.get("user_id")):
        return None
    user_id = UserId(content["user_id"])
    if server_name_of(user_id) != origin or origin == ctx.server_name:
        return None
    return user_id if is_in_sight(ctx.db, user_id, ctx.server_name) else None


def resume(ctx: Context) -> None:
    """Tell local users of lists that were out of date when the server stopped: their clients have not heard of what has changed in them."""
    with ctx.db.batch() as batch:
        for user, row in list(trees.devicelist_remote.scan(batch, ())):
            user_id = UserId(user)
            if not is_in_sight(batch, user_id, ctx.server_name):
                forget(batch, user_id)
            elif not row["fresh"] or row.get("untold"):
                _tell_of(ctx, batch, user_id)
