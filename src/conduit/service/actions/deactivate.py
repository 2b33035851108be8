"""End an account for good. Source: client-server API, "Account deactivation".

One batch bars the account and deletes what it has; then its rooms are left, one after another. Until that is done the account says `leaving`, so a
restart goes on with it.
"""

from __future__ import annotations

import structlog

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.actions.bind_threepid import unbind_all
from conduit.service.actions.leave import leave
from conduit.service.actions.log_in import end_sessions
from conduit.service.context import Context
from conduit.service.rooms import members
from conduit.service.users import accounts, devices, profiles, short_lived

log = structlog.get_logger(__name__)

AT_ONCE = 30
"""Rooms that are left before the request is answered; the others follow in the background."""


async def deactivate(ctx: Context, user_id: UserId, *, erase: bool = False, id_server: str | None = None) -> bool:
    """Bar the account for ever, end its sessions, unbind its third-party identifiers and leave its rooms.

    Returns whether all identifiers have been unbound: where they were bound, or at `id_server`.

    The profile, keys, backups and pushers are deleted; with `erase` account data too, and who joins a room later is served the user's messages
    redacted.
    """
    with ctx.db.batch() as batch:
        accounts.set_password(batch, user_id, "")
        erased = erase or accounts.is_erased(batch, user_id)
        accounts.update(batch, user_id, deactivated=True, erased=erased, admin=False, leaving=True)
        end_sessions(batch, user_id, devices.ids(batch, user_id))
        short_lived.forget_user(batch, user_id)
        profiles.delete(batch, user_id)
        _delete_keys(batch, user_id)
        trees.senderkey_pusher.delete_prefix(batch, (user_id,))
        trees.push_queue.delete_prefix(batch, (user_id,))
        if erase:
            account_data.delete_all(batch, user_id)
            trees.userfilterid_filter.delete_prefix(batch, (user_id,))
        rooms = _rooms(batch, user_id)
    ctx.presence.forget(user_id)
    unbound = await unbind_all(ctx, user_id, id_server)
    if len(rooms) <= AT_ONCE:
        await leave_rooms(ctx, user_id)
    else:
        ctx.tasks.spawn(leave_rooms(ctx, user_id), name=f"rooms of {user_id}")
    return unbound


async def leave_rooms(ctx: Context, user_id: UserId) -> None:
    """Leave all rooms of a deactivated user, invites and knocks included."""
    for room_id in _rooms(ctx.db, user_id):
        try:
            await leave(ctx, user_id, room_id)
        except MatrixError as error:
            log.warning("room_not_left", room_id=room_id, user_id=user_id, error=error.error)
    with ctx.db.batch() as batch:
        accounts.update(batch, user_id, leaving=False)


def resume(ctx: Context) -> None:
    """Go on, after a start, with the users who have not left all rooms, and may have identifiers that are still bound."""
    for user_id in accounts.with_flag(ctx.db, "leaving"):
        ctx.tasks.spawn(_finish(ctx, user_id), name=f"rooms of {user_id}")


async def _finish(ctx: Context, user_id: UserId) -> None:
    await unbind_all(ctx, user_id)
    await leave_rooms(ctx, user_id)


def _rooms(source: CacheSource, user_id: UserId) -> list[RoomId]:
    return [room for membership in ("join", "invite", "knock") for room in members.rooms(source, user_id, membership)]


def _delete_keys(batch: Batch, user_id: UserId) -> None:
    trees.keyid_key.delete_prefix(batch, (user_id,))
    for tree in (trees.userid_masterkeyid, trees.userid_selfsigningkeyid, trees.userid_usersigningkeyid):
        tree.delete(batch, user_id)
    trees.backupid_algorithm.delete_prefix(batch, (user_id,))
    trees.backupid_etag.delete_prefix(batch, (user_id,))
    trees.backupkeyid_backup.delete_prefix(batch, (user_id,))
