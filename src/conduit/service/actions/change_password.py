"""Change a password. Source: client-server API, "Password management"."""

from __future__ import annotations

from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import UserId
from conduit.service.actions.log_in import end_sessions
from conduit.service.context import Context
from conduit.service.users import accounts, devices, passwords, short_lived


async def change_password(
    ctx: Context, user_id: UserId, password: str, *, keep_device: str | None, end_others: bool
) -> None:
    """Store a new password; with `end_others` all devices but `keep_device` are logged out and deleted.

    Raises `WeakPassword` or `InvalidParam` for one that is not taken, `Forbidden` if another change was quicker: who has proved to know the old password
    has proved nothing any more.
    """
    before = accounts.password_hash(ctx.db, user_id)
    hashed = await ctx.hasher.hash(passwords.check_new(password))
    with ctx.db.batch() as batch:
        if accounts.is_deactivated(batch, user_id):
            # The account was deactivated while the thread ran: its password stays empty.
            return
        if accounts.password_hash(batch, user_id) != before:
            raise Forbidden("The password was changed meanwhile")
        accounts.set_password(batch, user_id, hashed)
        if end_others:
            others = [device_id for device_id in devices.ids(batch, user_id) if device_id != keep_device]
            end_sessions(batch, user_id, others)
            short_lived.forget_user(batch, user_id)
