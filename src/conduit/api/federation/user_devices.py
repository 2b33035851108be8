"""Device lists of local users for other servers. Source: server-server API, "Device Management"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import parse_user_id, server_name_of
from conduit.service.context import Context
from conduit.service.keys import device_updates
from conduit.service.users import accounts, devices

routes = Routes()


@routes.get("/_matrix/federation/v1/user/devices/{userId}", auth=Auth.SERVER, limit=Limit.FEDERATION)
async def get_devices(ctx: Context, req: Request) -> Json:
    """Return a local user's devices that have keys. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>."""
    user_id = parse_user_id(req.params["userId"])
    if server_name_of(user_id) != ctx.server_name or not accounts.exists(ctx.db, user_id):
        raise NotFound("There is no such user here")
    found = []
    for device in devices.list_all(ctx.db, user_id):
        public = device_updates.public_form(ctx.db, user_id, device)
        if "keys" in public:
            found.append({"device_id": device["device_id"], **public})
    answer: Json = {"user_id": user_id, "stream_id": device_updates.stream_id(ctx.db, user_id), "devices": found}
    signing_keys = device_updates.signing_key_update(ctx.db, user_id)
    return {**answer, **signing_keys}
