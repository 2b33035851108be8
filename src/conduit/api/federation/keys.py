"""The keys with which this server signs, and, as a notary, those of others.

Source: server-server API, "Retrieving server keys".
"""

from __future__ import annotations

from typing import Any

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.errors import BadJson, Forbidden
from conduit.protocol.ids import is_server_name, parse_server_name
from conduit.service.context import Context

routes = Routes()

MAX_SERVERS = 1000
"""Servers that one query may name."""


@routes.get("/_matrix/key/v2/server", "/_matrix/key/v2/server/", "/_matrix/key/v2/server/{keyId}", auth=Auth.NONE)
async def get_keys(ctx: Context, req: Request) -> Json:
    """Publish this server's keys. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>.

    Until v1.6 the path could name a key, or none after its slash, and older servers still ask so.
    """
    _check_enabled(ctx)
    return ctx.outbound.keyring.published()


@routes.get(
    "/_matrix/key/v2/query/{serverName}",
    "/_matrix/key/v2/query/{serverName}/",
    "/_matrix/key/v2/query/{serverName}/{keyId}",
    auth=Auth.NONE,
    limit=Limit.READ,
)
async def query_one(ctx: Context, req: Request) -> Json:
    """Vouch for another server's keys. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername>.

    Until v1.6 the path could name a key, and older servers still do so.
    """
    _check_enabled(ctx)
    server = parse_server_name(req.params["serverName"])
    valid_until = req.query.number("minimum_valid_until_ts", ctx.clock.now_ms())
    return {"server_keys": await ctx.outbound.keyring.vouch({server: {req.params.get("keyId", ""): valid_until}})}


@routes.post("/_matrix/key/v2/query", auth=Auth.NONE, limit=Limit.READ)
async def query_many(ctx: Context, req: Request) -> Json:
    """Vouch for the keys of several servers. <https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>."""
    _check_enabled(ctx)
    asked = fields.obj(req.json(), "server_keys")
    if len(asked) > MAX_SERVERS:
        raise BadJson(f"At most {MAX_SERVERS} servers can be asked about at a time")
    now = ctx.clock.now_ms()
    wanted = {server: _criteria(keys, now) for server, keys in asked.items() if is_server_name(server)}
    return {"server_keys": await ctx.outbound.keyring.vouch(wanted)}


def _criteria(keys: Any, now: int) -> dict[str, int]:
    if not isinstance(keys, dict):
        raise BadJson("server_keys maps servers to objects")
    if not keys:
        return {"": now}
    criteria = {}
    for key_id, wish in keys.items():
        if not isinstance(wish, dict):
            raise BadJson("Criteria are objects")
        least = wish.get("minimum_valid_until_ts", now)
        if type(least) is not int or not 0 <= least <= MAX_INTEGER:
            raise BadJson("minimum_valid_until_ts is no time")
        criteria[key_id] = least
    return criteria


def _check_enabled(ctx: Context) -> None:
    if not ctx.config.allow_federation:
        raise Forbidden("Federation is switched off on this server")
