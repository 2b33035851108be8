"""Device, one-time and cross-signing keys. Source: client-server API, "Key management API" and "Cross-signing"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import BadJson, InvalidParam
from conduit.protocol.ids import DeviceId, UserId, parse_user_id, server_name_of
from conduit.service.actions import claim_keys
from conduit.service.actions import query_keys as query_keys_of
from conduit.service.browse import key_changes
from conduit.service.context import Context
from conduit.service.keys import cross_signing, device_keys, one_time_keys, shapes
from conduit.service.users import uiaa

routes = Routes()


@routes.post(
    "/_matrix/client/v3/keys/upload",
    "/_matrix/client/v3/keys/upload/{deviceId}",
    auth=Auth.USER,
    limit=Limit.CHATTY,
    allow_guests=True,
)
async def upload_keys(ctx: Context, req: Request) -> Json:
    """Publish identity, one-time and fallback keys of the caller's device. POST /keys/upload."""
    body = req.json()
    user_id, device_id = req.user_id, DeviceId(req.device_id)
    if not device_id:
        raise InvalidParam("Keys belong to a device; this access token has none")
    identity = body.get("device_keys")
    if identity is not None:
        identity = shapes.device_keys(identity, user_id, device_id)
    one_time = shapes.one_time_keys(fields.obj(body, "one_time_keys", {}), "one_time_keys")
    fallback = shapes.one_time_keys(fields.obj(body, "fallback_keys", {}), "fallback_keys")
    with ctx.db.batch() as batch:
        if identity is not None:
            device_keys.upload(batch, user_id, device_id, identity)
        one_time_keys.upload(batch, user_id, device_id, one_time)
        one_time_keys.upload_fallback(batch, user_id, device_id, fallback)
        return {"one_time_key_counts": dict(one_time_keys.counts(batch, user_id, device_id))}


@routes.post("/_matrix/client/v3/keys/query", auth=Auth.USER, allow_guests=True)
async def query_keys(ctx: Context, req: Request) -> Json:
    """Return device and cross-signing keys of the users named. POST /keys/query."""
    body = req.json()
    timeout_ms = fields.number(body, "timeout", query_keys_of.DEFAULT_TIMEOUT_MS)
    wanted: dict[UserId, list[str]] = {}
    for user, device_ids in fields.obj(body, "device_keys").items():
        if not isinstance(device_ids, list) or not all(isinstance(device_id, str) for device_id in device_ids):
            raise BadJson("device_keys must map users to lists of devices")
        wanted[parse_user_id(user)] = device_ids
    return await query_keys_of.query_keys(ctx, req.user_id, wanted, timeout_ms=timeout_ms)


@routes.post("/_matrix/client/v3/keys/claim", auth=Auth.USER, allow_guests=True)
async def claim(ctx: Context, req: Request) -> Json:
    """Hand out one-time keys, each at most once. POST /keys/claim."""
    body = req.json()
    timeout_ms = fields.number(body, "timeout", query_keys_of.DEFAULT_TIMEOUT_MS)
    wanted = claim_keys.parse(fields.obj(body, "one_time_keys"))
    return await claim_keys.claim_keys(ctx, wanted, timeout_ms=timeout_ms)


@routes.get("/_matrix/client/v3/keys/changes", auth=Auth.USER)
async def get_key_changes(ctx: Context, req: Request) -> Json:
    """Return whose keys changed, and who went out of sight, between two sync tokens. GET /keys/changes."""
    return await key_changes.key_changes(ctx, req.user_id, req.query.required("from"), req.query.required("to"))


# The unstable paths are those from before cross-signing was specified, which clients still call.
@routes.post(
    "/_matrix/client/v3/keys/device_signing/upload",
    "/_matrix/client/unstable/keys/device_signing/upload",
    auth=Auth.USER,
    limit=Limit.CHATTY,
)
async def upload_cross_signing_keys(ctx: Context, req: Request) -> Json:
    """Publish cross-signing keys; replacing any takes authentication. POST /keys/device_signing/upload."""
    keys = cross_signing.parse(req.json(), req.user_id)
    appservice = req.requester is not None and req.requester.appservice_id is not None
    if not appservice and cross_signing.needs_authentication(ctx.db, req.user_id, keys):
        await uiaa.require(ctx, req)
    with ctx.db.batch() as batch:
        cross_signing.upload(batch, req.user_id, keys)
    return {}


@routes.post(
    "/_matrix/client/v3/keys/signatures/upload",
    "/_matrix/client/unstable/keys/signatures/upload",
    auth=Auth.USER,
    limit=Limit.CHATTY,
)
async def upload_signatures(ctx: Context, req: Request) -> Json:
    """Publish signatures on keys; what cannot be taken stands in `failures`. POST /keys/signatures/upload."""
    with ctx.db.batch() as batch:
        failures = cross_signing.add_signatures(
            batch, req.user_id, req.json(), is_local=lambda user: server_name_of(user) == ctx.server_name
        )
    return {"failures": failures}
