"""The rooms that two users share. Source: client-server API, "Mutual Rooms"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.ids import parse_compliant_user_id
from conduit.service.browse import people
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v1/mutual_rooms", auth=Auth.USER, limit=Limit.READ)
async def get_mutual_rooms(ctx: Context, req: Request) -> Json:
    """Show the rooms shared with somebody. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms>."""
    # The specification wants M_INVALID_PARAM for an absent one too.
    other = parse_compliant_user_id(req.query.text("user_id"))
    return people.mutual_rooms(ctx.db, req.user_id, other, req.query.text("from"))
