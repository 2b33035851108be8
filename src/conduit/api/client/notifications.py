"""What the user was notified of. Source: client-server API, "Listing Notifications"."""

from __future__ import annotations

from typing import Final

from conduit.api.history import recipient
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.browse import notifications
from conduit.service.context import Context

routes = Routes()

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


@routes.get("/_matrix/client/v3/notifications", auth=Auth.USER, limit=Limit.READ)
async def get_notifications(ctx: Context, req: Request) -> Json:
    """Show a page of notifications. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>."""
    query = req.query
    return await notifications.notifications(
        ctx,
        recipient(ctx, req)._replace(with_room=False),
        notifications.parse_token(query.text("from") or None),
        max(query.number("limit", DEFAULT_LIMIT, high=MAX_LIMIT), 1),
        only_highlights=query.text("only") == "highlight",
    )
