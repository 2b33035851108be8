"""Tokens of a few minutes or hours: for a further login (`m.login.token`) and for OpenID. They are swept when their time is over.

Source: client-server API, "Legacy API: Login", "OpenID"; server-server API, "OpenID".
"""

from __future__ import annotations

import hashlib
import hmac

import orjson

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import UserId
from conduit.utils import base64
from conduit.utils.tokens import new_token

LOGIN_LIFETIME_MS = 2 * 60_000


def issue_login(batch: Batch, user_id: UserId, now_ms: int) -> str:
    """Return a token with which one more client can log in as the user, once and within two minutes."""
    token = new_token()
    trees.login_token.put(batch, token, {"user": user_id, "expires_at": now_ms + LOGIN_LIFETIME_MS})
    return token


def redeem_login(batch: Batch, token: str, now_ms: int) -> UserId:
    """Return the user whom a login token lets in, and end it. Raises `Forbidden` for an unknown, used or expired one."""
    row = trees.login_token.get(batch, token)
    if row is None or now_ms >= row["expires_at"]:
        raise Forbidden("The login token is not valid")
    trees.login_token.delete(batch, token)
    return UserId(row["user"])


def issue_openid(batch: Batch, user_id: UserId, expires_at: int) -> str:
    """Return a token that proves to a third party, which asks this server, who the user is; `expires_at` is in ms."""
    token = new_token()
    trees.openidtoken_expiresatuserid.put(batch, token, (expires_at, user_id))
    return token


def openid_user(source: CacheSource, token: str, now_ms: int) -> UserId | None:
    """Return the user of an OpenID token, or `None` for an unknown or expired one."""
    row = trees.openidtoken_expiresatuserid.get(source, token)
    return UserId(row[1]) if row is not None and now_ms < row[0] else None


def forget_user(batch: Batch, user_id: UserId) -> None:
    """End all such tokens of a user. They are few: this reads all there are."""
    for token, row in list(trees.login_token.scan(batch)):
        if row["user"] == user_id:
            trees.login_token.delete(batch, token)
    for token, (_, owner) in list(trees.openidtoken_expiresatuserid.scan(batch)):
        if owner == user_id:
            trees.openidtoken_expiresatuserid.delete(batch, token)


def sweep(batch: Batch, now_ms: int) -> None:
    """Delete the tokens whose time is over."""
    for token, row in list(trees.login_token.scan(batch)):
        if now_ms >= row["expires_at"]:
            trees.login_token.delete(batch, token)
    for token, (expires_at, _) in list(trees.openidtoken_expiresatuserid.scan(batch)):
        if now_ms >= expires_at:
            trees.openidtoken_expiresatuserid.delete(batch, token)


def jwt_subject(token: str, secret: str, now_ms: int) -> str:
    """Return the `sub` of a JSON Web Token signed with HS256 and `secret`. Raises `Forbidden` unless all of it holds.

    `exp` is required, as with Conduit; `nbf` is heeded. No other algorithm is taken, `none` least of all.
    """
    try:
        head, payload, signature = token.split(".")
        made = hmac.new(secret.encode(), f"{head}.{payload}".encode("ascii"), hashlib.sha256).digest()
        if not hmac.compare_digest(made, base64.decode_urlsafe(signature)):
            raise Forbidden("The login token is not valid")
        header, claims = orjson.loads(base64.decode_urlsafe(head)), orjson.loads(base64.decode_urlsafe(payload))
        expires, subject, starts = claims["exp"], claims["sub"], claims.get("nbf", 0)
        if header["alg"] != "HS256" or not isinstance(subject, str):
            raise Forbidden("The login token is not valid")
        if not float(starts) <= now_ms / 1000 < float(expires):
            raise Forbidden("The login token is not valid at this time")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Forbidden("The login token is not valid") from error
    return subject
