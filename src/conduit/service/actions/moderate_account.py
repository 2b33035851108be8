"""Lock and suspend accounts. Source: client-server API, "Account moderation", "Server Administration"."""

from __future__ import annotations

from typing import Literal

from conduit.protocol.errors import Forbidden, InvalidParam, NotFound
from conduit.protocol.ids import UserId, parse_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.users import accounts

Bar = Literal["locked", "suspended"]


def target(ctx: Context, user_id: str) -> UserId:
    """Return an account that an administrator may look at and bar.

    Raises `InvalidParam` for a user of another server, `NotFound` for an unknown or deactivated one, `Forbidden` for an administrator.
    """
    found = parse_user_id(user_id)
    if server_name_of(found) != ctx.server_name:
        raise InvalidParam("The user does not belong to this server")
    account = accounts.get(ctx.db, found)
    if account is None or account.deactivated:
        raise NotFound("There is no such user")
    if account.admin:
        raise Forbidden("An administrator cannot be locked or suspended")
    return found


def is_barred(ctx: Context, user_id: UserId, bar: Bar) -> bool:
    """Tell whether the account is locked, or suspended."""
    account = accounts.get(ctx.db, user_id)
    return account is not None and bool(getattr(account, bar))


def set_bar(ctx: Context, user_id: UserId, bar: Bar, value: bool) -> None:
    """Lock or suspend an account, or lift that; open sessions feel it at once."""
    with ctx.db.batch() as batch:
        accounts.update(batch, user_id, **{bar: value})
