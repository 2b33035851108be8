"""Keys of local users' devices for other servers. Source: server-server API, "End-to-End Encryption"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import BadJson
from conduit.protocol.ids import UserId, parse_user_id, server_name_of
from conduit.service.actions import claim_keys
from conduit.service.actions.query_keys import query_local
from conduit.service.context import Context

routes = Routes()

_SHOWN = ("device_keys", "master_keys", "self_signing_keys")


@routes.post("/_matrix/federation/v1/user/keys/query", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def query_keys(ctx: Context, req: Request) -> Json:
    """Return keys of local users. <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>.

    What is known here of users of other servers is none of the asking server's business.
    """
    answer: dict[str, dict[str, Any]] = {name: {} for name in _SHOWN}
    wanted: dict[UserId, Sequence[str]] = {}
    for user, device_ids in fields.obj(req.json(), "device_keys").items():
        if not isinstance(device_ids, list) or not all(isinstance(device_id, str) for device_id in device_ids):
            raise BadJson("device_keys must map users to lists of devices")
        user_id = parse_user_id(user)
        if server_name_of(user_id) == ctx.server_name:
            wanted[user_id] = device_ids
    await query_local(ctx, None, wanted, answer)
    return {name: value for name, value in answer.items() if value or name == "device_keys"}


@routes.post("/_matrix/federation/v1/user/keys/claim", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def claim(ctx: Context, req: Request) -> Json:
    """Hand out one-time keys of local users. <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>."""
    wanted = claim_keys.parse(fields.obj(req.json(), "one_time_keys"))
    return {"one_time_keys": await claim_keys.claim_local(ctx, wanted)}
