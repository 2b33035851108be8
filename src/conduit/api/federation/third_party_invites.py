"""Invites of people by what is not a Matrix ID. Source: server-server API, "Third-party invites"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.ids import parse_room_id
from conduit.service.actions.exchange_invite import exchange_invite
from conduit.service.context import Context

routes = Routes()


@routes.put("/_matrix/federation/v1/exchange_third_party_invite/{roomId}", auth=Auth.SERVER)
async def exchange_third_party_invite(ctx: Context, req: Request) -> Json:
    """Invite somebody who has proven to be meant. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>."""
    await exchange_invite(ctx, req.origin, parse_room_id(req.params["roomId"]), req.json())
    return {}
