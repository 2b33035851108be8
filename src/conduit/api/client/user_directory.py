"""Searching people. Source: client-server API, "User Directory"."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse import people
from conduit.service.context import Context

routes = Routes()


@routes.post("/_matrix/client/v3/user_directory/search", auth=Auth.USER, limit=Limit.SEARCH)
async def search_users(ctx: Context, req: Request) -> Json:
    """Find people. <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>."""
    body = req.json()
    term = fields.text(body, "search_term", max_length=500)
    limit = fields.number(body, "limit", people.DEFAULT_LIMIT)
    return await people.search(ctx, req.user_id, term, min(limit, people.MAX_LIMIT))
