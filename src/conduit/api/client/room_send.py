"""Sending and redacting messages. Source: client-server API, "Sending events to a room", "Redactions"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.history import event_of
from conduit.api.request import Json, Request
from conduit.api.suspension import is_suspended, require_unsuspended
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_opaque, parse_room_id
from conduit.service import transactions
from conduit.service.actions.once import Transaction
from conduit.service.actions.redact import redact
from conduit.service.actions.send_message import send_message
from conduit.service.context import Context

routes = Routes()


@routes.put(
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
    auth=Auth.USER,
    limit=Limit.MESSAGE,
    allow_guests=True,
)
async def put_send(ctx: Context, req: Request) -> Json:
    """Send a message event. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>."""
    room_id = parse_room_id(req.params["roomId"])
    return await _send(ctx, req, _transaction(req, "send", room_id, req.params["eventType"]))


async def _send(ctx: Context, req: Request, transaction: Transaction | None) -> Json:
    room_id, event_type = parse_room_id(req.params["roomId"]), req.params["eventType"]
    if event_type != "m.room.redaction":
        require_unsuspended(req)
    event_id = await send_message(
        ctx,
        req.user_id,
        room_id,
        event_type,
        req.json(),
        transaction=transaction,
        origin_server_ts=timestamp(req),
        own_only=is_suspended(req),
    )
    return {"event_id": event_id}


@routes.post(
    "/_matrix/client/v3/rooms/{roomId}/send/{eventType}", auth=Auth.USER, limit=Limit.MESSAGE, allow_guests=True
)
async def post_send(ctx: Context, req: Request) -> Json:
    """Send a message event without a transaction id, so that a request that is repeated sends another.

    The form from before the specification had transaction ids, which Synapse still serves and small scripts still use.
    """
    return await _send(ctx, req, None)


@routes.put("/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", auth=Auth.USER, limit=Limit.MESSAGE)
async def put_redact(ctx: Context, req: Request) -> Json:
    """Redact an event. <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>."""
    room_id = parse_room_id(req.params["roomId"])
    return await _redact(ctx, req, _transaction(req, "redact", room_id, req.params["eventId"]))


@routes.post("/_matrix/client/v3/rooms/{roomId}/redact/{eventId}", auth=Auth.USER, limit=Limit.MESSAGE)
async def post_redact(ctx: Context, req: Request) -> Json:
    """Redact an event without a transaction id, as `post_send` sends one."""
    return await _redact(ctx, req, None)


async def _redact(ctx: Context, req: Request, transaction: Transaction | None) -> Json:
    room_id, target = parse_room_id(req.params["roomId"]), event_of(req)
    event_id = await redact(
        ctx,
        req.user_id,
        room_id,
        target,
        reason=fields.text(req.json(optional=True), "reason", None),
        transaction=transaction,
        own_only=is_suspended(req),
    )
    return {"event_id": event_id}


def _transaction(req: Request, *path: str) -> Transaction:
    txn_id = parse_opaque(req.params["txnId"], "txnId")
    return Transaction(req.user_id, req.device_id, transactions.key("PUT", *path, txn_id), txn_id)


def timestamp(req: Request) -> int | None:
    """Return the time that an application service gives its event (`?ts=`); others cannot."""
    if req.requester is None or req.requester.appservice_id is None:
        return None
    return req.query.number("ts")
