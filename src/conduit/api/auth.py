"""Who asks: from the access token to the requester, and what kind of caller an endpoint wants.

Source: client-server API, "Client Authentication", "Using access tokens", "Account locking", "Guest Access".
"""

from __future__ import annotations

from collections.abc import Mapping

from conduit.api.request import Query
from conduit.api.web import Auth, Route
from conduit.protocol.errors import (
    Forbidden,
    GuestAccessForbidden,
    MissingToken,
    UnknownToken,
    UserDeactivated,
    UserLocked,
)
from conduit.service.context import Context
from conduit.service.users import devices, tokens
from conduit.service.users.requester import Requester

_SCHEME = "bearer "


def access_token(headers: Mapping[str, str], raw_query: str) -> str | None:
    """Return the token that the request carries, or `None`. The header goes before the (deprecated) query parameter."""
    header = headers.get("Authorization")
    if header is not None and header[:7].lower() == _SCHEME:
        return header[7:].strip() or None
    if "access_token" in raw_query:
        return Query(raw_query).text("access_token") or None
    return None


def authenticate(
    ctx: Context, route: Route, headers: Mapping[str, str], raw_query: str, remote: str
) -> Requester | None:
    """Return who asks, or `None` on a route that does not ask for it. Raises what tells the client why it is refused."""
    auth = route.auth
    if auth is Auth.NONE:
        return None
    token = access_token(headers, raw_query)
    if token is None:
        if auth is Auth.OPTIONAL:
            return None
        raise MissingToken("Missing access token")
    requester = tokens.find(ctx.db, token)
    if requester is None:
        raise UnknownToken("Unknown access token", soft_logout=False)
    now_ms = ctx.clock.now_ms()
    if requester.expired(now_ms):
        raise UnknownToken("The access token has expired", soft_logout=True)
    if requester.deactivated:
        raise UserDeactivated("This account has been deactivated")
    if requester.locked and not route.allow_locked:
        raise UserLocked("This account has been locked", soft_logout=True)
    _check_kind(route, requester)
    if now_ms >= requester.seen_until:
        devices.seen(ctx.db, requester, remote, now_ms, headers.get("User-Agent") or "")
    return requester


def _check_kind(route: Route, requester: Requester) -> None:
    auth = route.auth
    if requester.is_guest and not route.allow_guests and auth is not Auth.OPTIONAL:
        raise GuestAccessForbidden("Guests cannot use this")
    if auth is Auth.APPSERVICE and requester.appservice_id is None:
        raise Forbidden("Only application services can use this")
    if auth is Auth.ADMIN and not requester.is_admin:
        raise Forbidden("Only administrators can use this")
