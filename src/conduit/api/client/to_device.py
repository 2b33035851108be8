"""Send-to-Device messaging. Source: client-server API, "Send-to-Device Messaging"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_opaque
from conduit.service.actions import send_to_device
from conduit.service.context import Context

routes = Routes()


@routes.put(
    "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", auth=Auth.USER, limit=Limit.CHATTY, allow_guests=True
)
async def put_to_device(ctx: Context, req: Request) -> Json:
    """Send a message to devices; the same transaction id again sends nothing. PUT /sendToDevice."""
    messages = fields.obj(req.json(), "messages")
    await send_to_device.send_to_device(
        ctx,
        sender=req.user_id,
        device_id=req.device_id,
        event_type=parse_opaque(req.params["eventType"], "eventType"),
        txn_id=parse_opaque(req.params["txnId"], "txnId"),
        messages=messages,
    )
    return {}
