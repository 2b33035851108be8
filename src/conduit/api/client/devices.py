"""Devices. Source: client-server API, "Device Management"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import NotFound
from conduit.service.actions import change_devices
from conduit.service.context import Context
from conduit.service.users import devices, uiaa

routes = Routes()


@routes.get("/_matrix/client/v3/devices", auth=Auth.USER, allow_guests=True, limit=Limit.READ)
async def get_devices(ctx: Context, req: Request) -> Json:
    """List the caller's devices. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices>."""
    return {"devices": devices.list_all(ctx.db, req.user_id)}


@routes.get("/_matrix/client/v3/devices/{deviceId}", auth=Auth.USER, allow_guests=True, limit=Limit.READ)
async def get_device(ctx: Context, req: Request) -> Json:
    """Show one of the caller's devices. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid>."""
    device = devices.get(ctx.db, req.user_id, req.params["deviceId"])
    if device is None:
        raise NotFound("You have no such device")
    return device


@routes.put("/_matrix/client/v3/devices/{deviceId}", auth=Auth.USER, allow_guests=True, limit=Limit.CHATTY)
async def rename_device(ctx: Context, req: Request) -> Json:
    """Name one of the caller's devices. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid>."""
    name = fields.text(req.json(), "display_name", None, max_length=devices.MAX_NAME_LENGTH)
    change_devices.rename(ctx, req.user_id, req.params["deviceId"], name)
    return {}


@routes.delete("/_matrix/client/v3/devices/{deviceId}", auth=Auth.USER, limit=Limit.CHATTY)
async def delete_device(ctx: Context, req: Request) -> Json:
    """Delete one of the caller's devices. <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid>."""
    await uiaa.require(ctx, req)
    change_devices.delete(ctx, req.user_id, [req.params["deviceId"]])
    return {}


@routes.post("/_matrix/client/v3/delete_devices", auth=Auth.USER, limit=Limit.CHATTY)
async def delete_devices(ctx: Context, req: Request) -> Json:
    """Delete several of the caller's devices. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices>."""
    device_ids = fields.array(req.json(), "devices", of=str)
    await uiaa.require(ctx, req)
    change_devices.delete(ctx, req.user_id, device_ids)
    return {}
