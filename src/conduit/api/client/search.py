"""Searching messages. Source: client-server API, "Server Side Search"."""

from __future__ import annotations

from conduit.api.history import recipient
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse import search
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/search", auth=Auth.USER, limit=Limit.SEARCH)
async def search_events(ctx: Context, req: Request) -> Json:
    """Find messages. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>."""
    criteria = search.parse(req.json())
    batch = search.parse_batch(req.query.text("next_batch"))
    if criteria is None:
        return {"search_categories": {}}
    found = await search.search(ctx, recipient(ctx, req), criteria, batch)
    return {"search_categories": {"room_events": found}}
