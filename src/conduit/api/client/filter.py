"""Stored filters. Source: client-server API, "Filtering"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Reply, Routes
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import parse_user_id
from conduit.service.context import Context
from conduit.service.users import filters

routes = Routes()


@routes.post("/_matrix/client/v3/user/{userId}/filter", auth=Auth.USER, limit=Limit.CHATTY, allow_guests=True)
async def define_filter(ctx: Context, req: Request) -> Json:
    """Store a filter. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter>."""
    _check_own(req)
    with ctx.db.batch() as batch:
        return {"filter_id": filters.store(batch, req.user_id, req.json())}


@routes.get("/_matrix/client/v3/user/{userId}/filter/{filterId}", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def get_filter(ctx: Context, req: Request) -> Reply:
    """Show a stored filter. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid>."""
    _check_own(req)
    definition = filters.get(ctx.db, req.user_id, req.params["filterId"])
    if definition is None:
        raise NotFound("There is no such filter")
    return Reply(definition)


def _check_own(req: Request) -> None:
    if parse_user_id(req.params["userId"]) != req.user_id:
        raise Forbidden("Filters of others are not yours to use")
