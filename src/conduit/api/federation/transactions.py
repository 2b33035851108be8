"""Transactions: events and ephemeral data that other servers send. Source: server-server API, "Transactions"."""

from __future__ import annotations

from typing import Any

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import BadJson
from conduit.service.actions import receive_transaction
from conduit.service.context import Context

routes = Routes()

MAX_PDUS = 50
MAX_EDUS = 100
EDUS_A_REQUEST = 10
"""So many EDUs count as one more request: what they tell takes effect at once, however many come."""


@routes.put("/_matrix/federation/v1/send/{txnId}", auth=Auth.SERVER, holds_events=True)
async def send_transaction(ctx: Context, req: Request) -> Json:
    """Take in events and ephemeral data. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>."""
    body = req.json()
    pdus = _list(body, "pdus", MAX_PDUS)
    edus = _list(body, "edus", MAX_EDUS)
    if len(edus) > EDUS_A_REQUEST:
        req.charge(Limit.FEDERATION, requests=len(edus) // EDUS_A_REQUEST)
    return {"pdus": await receive_transaction.receive(ctx, req.origin, req.params["txnId"], pdus, edus)}


def _list(body: Json, name: str, most: int) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise BadJson(f"'{name}' must be an array")
    if len(value) > most:
        raise BadJson(f"A transaction holds at most {most} {name.upper()}")
    return value
