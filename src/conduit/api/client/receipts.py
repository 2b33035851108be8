"""Receipts and read markers. Source: client-server API, "Receipts", "Fully read markers"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Limit, Routes
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import parse_room_id
from conduit.service.actions import mark_read
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", limit=Limit.CHATTY)
async def send_receipt(ctx: Context, req: Request) -> Json:
    """Move one receipt, of the room or of a thread. POST /rooms/{roomId}/receipt/{receiptType}/{eventId}."""
    kind = req.params["receiptType"]
    if kind not in (*mark_read.KINDS, mark_read.FULLY_READ):
        raise InvalidParam("Receipt type must be m.read, m.read.private or m.fully_read")
    # Many clients send no body at all.
    thread = req.json(optional=True).get("thread_id")
    if thread is not None and not isinstance(thread, str):
        raise InvalidParam("thread_id field must be a non-empty string")
    marks = {kind: req.params["eventId"]}
    await mark_read.send_receipts(ctx, req.user_id, parse_room_id(req.params["roomId"]), marks, thread=thread)
    return {}


@routes.post("/_matrix/client/v3/rooms/{roomId}/read_markers", limit=Limit.CHATTY)
async def set_read_markers(ctx: Context, req: Request) -> Json:
    """Move the fully-read marker and the receipts together. POST /rooms/{roomId}/read_markers."""
    body = req.json()
    marks = {kind: fields.text(body, kind, "") for kind in (mark_read.FULLY_READ, *mark_read.KINDS)}
    given = {kind: event_id for kind, event_id in marks.items() if event_id}
    await mark_read.send_receipts(ctx, req.user_id, parse_room_id(req.params["roomId"]), given)
    return {}
