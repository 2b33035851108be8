"""Profiles of users of other servers.

Source: client-server API, "Profiles"; server-server API, GET /query/profile.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import UserId, server_name_of
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.users import profiles

SECONDS: Final = 20.0
KEPT_MS: Final = 60_000
"""How long an answer is good for. A profile is looked at again and again while somebody is being mentioned or invited."""


async def profile_of(ctx: Context, user_id: UserId, name: str | None = None) -> dict[str, Any]:
    """Return a remote user's profile, or the one field named, if there is such.

    Raises what the user's server answers (`NotFound`, `Forbidden`), or `ConnectionFailed`.
    """
    key = ("profile", user_id, name)
    recent, now_ms = ctx.outbound.recent, ctx.clock.now_ms()
    known: dict[str, Any] | None = recent.get(key, now_ms)
    if known is None:
        known = await ctx.outbound.flights.join(ctx.tasks, key, lambda: _ask(ctx, user_id, name))
        recent.put(key, known, until_ms=now_ms + KEPT_MS, weight=200 + len(orjson.dumps(known)))
    return known


async def _ask(ctx: Context, user_id: UserId, name: str | None) -> dict[str, Any]:
    query = {"user_id": user_id} if name is None else {"user_id": user_id, "field": name}
    try:
        answer = await ctx.outbound.federation.get(
            server_name_of(user_id),
            "/_matrix/federation/v1/query/profile",
            query,
            seconds=SECONDS,
            max_bytes=2 * profiles.MAX_PROFILE_BYTES,
        )
    except RemoteError as error:
        raise as_client_error(error) from error
    found = {field: value for field, value in answer.items() if _is_good(field, value)}
    return found if name is None else {field: value for field, value in found.items() if field == name}


def _is_good(field: str, value: Any) -> bool:
    """Tell whether a field may be shown. Empty names and avatars stand for none."""
    if value in (None, ""):
        return False
    try:
        profiles.check_field_name(field)
        profiles.check_value(field, value)
    except MatrixError:
        return field == profiles.BLURHASH and isinstance(value, str)
    return True
