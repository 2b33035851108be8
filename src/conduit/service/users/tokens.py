"""Access and refresh tokens.

A device has one access token, as in Conduit's layout. A client that can refresh gets one with an end and a refresh token beside it. A
refresh makes a new pair; the old pair stays good until one token of the new pair is used for the first time, so that a client which never
received the answer can ask again. The row of the newest access token names the pair that it replaces, so at most two pairs of a
device exist and all are found from `userdeviceid_token`.

Source: client-server API, "Refreshing access tokens", "Relationship between access tokens and devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch, Database
from conduit.protocol.errors import UnknownToken
from conduit.protocol.ids import UserId
from conduit.service.users import accounts, requester
from conduit.service.users.requester import Requester
from conduit.utils.tokens import new_token

__all__ = ["Issued", "Requester", "find", "issue", "refresh", "revoke", "settle"]


@dataclass(frozen=True, slots=True)
class Issued:
    """What a login hands to the client; `refresh_token` and `lifetime_ms` are `None` for a token without an end."""

    access_token: str
    refresh_token: str | None = None
    lifetime_ms: int | None = None


def find(db: CacheSource, token: str) -> Requester | None:
    """Return whose access token this is, or `None` for one that is not known.

    An expired token and that of a barred account are found as well: `expired(now_ms)`, `locked` and `deactivated` say so. The first use of a token
    that a refresh has made ends the pair before it.
    """
    found = requester.find(db, token)
    if found is not None and found.replaces and isinstance(db, Database):
        with db.batch() as batch:
            settle(batch, token)
        return requester.find(db, token)
    return found


def issue(batch: Batch, user_id: UserId, device_id: str, *, now_ms: int = 0, lifetime_ms: int | None = None) -> Issued:
    """Return a new access token for an existing device; all earlier tokens of the device end.

    With `lifetime_ms` the token ends after that time and a refresh token comes with it.
    """
    revoke(batch, user_id, device_id)
    return _write(batch, user_id, device_id, now_ms, lifetime_ms, None)


def revoke(batch: Batch, user_id: UserId, device_id: str) -> None:
    """End all tokens of a device."""
    access = trees.userdeviceid_token.get(batch, (user_id, device_id))
    if access is not None:
        settle(batch, access)
        _end(batch, access, _row(batch, access).get("refresh_token"))
        trees.userdeviceid_token.delete(batch, (user_id, device_id))


def refresh(batch: Batch, refresh_token: str, *, now_ms: int, lifetime_ms: int) -> Issued:
    """Return a new pair of tokens for the device of `refresh_token`.

    Raises `UnknownToken` for one that is not known or was replaced by a pair in use, `UserDeactivated` and `UserLocked` as a login does.
    """
    owner = trees.refreshtoken.get(batch, refresh_token)
    current = trees.userdeviceid_token.get(batch, (owner["user"], owner["device"])) if owner else None
    if owner is None or current is None:
        raise UnknownToken("Unknown refresh token", soft_logout=False)
    user_id, device_id = UserId(owner["user"]), owner["device"]
    accounts.check_may_log_in(batch, user_id)
    row = _row(batch, current)
    if row.get("refresh_token") == refresh_token:
        # The pair in use: what it replaced ends now, and it stays until the new one is used.
        settle(batch, current)
        replaces = {"access": current, "refresh": refresh_token}
    else:
        # Asked again: the answer with the current pair was lost, nobody has used it.
        _end(batch, current, row.get("refresh_token"))
        replaces = row["replaces"]
    return _write(batch, user_id, device_id, now_ms, lifetime_ms, replaces)


def settle(batch: Batch, access_token: str) -> None:
    """End the pair that the pair of `access_token` replaces, if it is still there."""
    row = _row(batch, access_token)
    old = row.pop("replaces", None)
    if old is not None:
        _end(batch, old["access"], old["refresh"])
        trees.accesstoken.put(batch, access_token, row)
        requester.forget(batch, access_token)


def _row(source: CacheSource, access_token: str) -> dict[str, Any]:
    return trees.accesstoken.get(source, access_token) or {}


def _end(batch: Batch, access_token: str, refresh_token: str | None) -> None:
    trees.token_userdeviceid.delete(batch, access_token)
    trees.accesstoken.delete(batch, access_token)
    requester.forget(batch, access_token)
    if refresh_token is not None:
        trees.refreshtoken.delete(batch, refresh_token)


def _write(
    batch: Batch,
    user_id: UserId,
    device_id: str,
    now_ms: int,
    lifetime_ms: int | None,
    replaces: dict[str, str] | None,
) -> Issued:
    access = new_token()
    trees.token_userdeviceid.put(batch, access, (user_id, device_id))
    trees.userdeviceid_token.put(batch, (user_id, device_id), access)
    if lifetime_ms is None:
        return Issued(access)
    refresh_token = new_token()
    row: dict[str, Any] = {"expires_at": now_ms + lifetime_ms, "refresh_token": refresh_token}
    if replaces is not None:
        row["replaces"] = replaces
    trees.accesstoken.put(batch, access, row)
    trees.refreshtoken.put(batch, refresh_token, {"user": user_id, "device": device_id})
    return Issued(access, refresh_token, lifetime_ms)
