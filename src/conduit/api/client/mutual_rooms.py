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


@routes.get("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms", auth=Auth.USER, limit=Limit.READ)
async def get_mutual_rooms_as_proposed(ctx: Context, req: Request) -> Json:
    """Show the same under the names from before they were specified, which clients still call and read."""
    other = parse_compliant_user_id(req.query.text("user_id"))
    answer = people.mutual_rooms(ctx.db, req.user_id, other, req.query.text("batch_token"))
    if "next_batch" in answer:
        answer["next_batch_token"] = answer.pop("next_batch")
    return answer
