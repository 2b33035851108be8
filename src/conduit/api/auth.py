"""Who asks: from the access token to the requester, and what kind of caller an endpoint wants.

Source: client-server API, "Client Authentication", "Using access tokens", "Account locking", "Guest Access"; server-server API,
"Request Authentication".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from conduit.api import x_matrix
from conduit.api.request import Query, Request
from conduit.api.web import Auth, Route
from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import (
    Forbidden,
    GuestAccessForbidden,
    MissingToken,
    Unauthorized,
    UnknownToken,
    UserDeactivated,
    UserLocked,
)
from conduit.service.context import Context
from conduit.service.users import devices, tokens
from conduit.service.users.requester import Requester

_SCHEME = "bearer "
_LARGE = 256 * 1024


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


async def claims_of_server(ctx: Context, authorization: Sequence[str]) -> list[x_matrix.Claim]:
    """Return which server says to ask. It is one that this server talks with, and one of its keys that are named is known.

    So no body is read for somebody who could not have signed it. Raises `Unauthorized` or `Forbidden`.
    """
    outbound = ctx.outbound
    if not outbound.policy.enabled:
        raise Forbidden("Federation is switched off on this server")
    claims = x_matrix.read_claims(authorization, ctx.server_name)
    origin = claims[0].origin
    if origin == ctx.server_name:
        raise Unauthorized("The request says to come from this server itself")
    refusal = outbound.policy.refusal(origin)
    if refusal is not None:
        raise Forbidden("This server does not talk with yours")
    known = [claim for claim in claims if await outbound.keyring.may_sign(origin, claim.key_id)]
    if not known:
        raise Unauthorized(f"No valid key {claims[0].key_id} of {origin} is known")
    return known


async def verify_server(ctx: Context, claims: Sequence[x_matrix.Claim], target: str, request: Request) -> None:
    """Set the request's origin, now that its body is there and the signature can be checked. Raises `Unauthorized`, or for a body that is no JSON object what `Request.json` does.

    `target` is the path with the query, as it was sent.
    """
    content = request.json() if request.body else None

    def is_signed() -> bool:
        canonical = None if content is None else partial(dump, content)
        return any(
            ctx.outbound.keyring.signed_request(
                claim.origin,
                claim.key_id,
                claim.signature,
                claim.messages(request.method, target, request.body, canonical),
            )
            for claim in claims
        )

    # Hashing megabytes takes its time; it need not be the loop's.
    signed = await asyncio.to_thread(is_signed) if len(request.body) > _LARGE else is_signed()
    if not signed:
        raise Unauthorized("The request's signature is wrong")
    request.origin = claims[0].origin
    ctx.outbound.backoff.alive(request.origin)


def _check_kind(route: Route, requester: Requester) -> None:
    auth = route.auth
    if requester.is_guest and not route.allow_guests and auth is not Auth.OPTIONAL:
        raise GuestAccessForbidden("Guests cannot use this")
    if auth is Auth.APPSERVICE and requester.appservice_id is None:
        raise Forbidden("Only application services can use this")
    if auth is Auth.ADMIN and not requester.is_admin:
        raise Forbidden("Only administrators can use this")
