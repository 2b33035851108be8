"""What may be known of a room before joining. Source: client-server API, "Room Summaries"."""

from __future__ import annotations

from typing import Final

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import InvalidParam, NotFound
from conduit.protocol.ids import RoomAlias, RoomId, ServerName, is_room_alias, is_room_id
from conduit.service.actions.aliases import look_up
from conduit.service.browse import remote_summaries as summaries_of
from conduit.service.context import Context
from conduit.service.rooms import aliases, members

routes = Routes()

_UNSTABLE: Final = "/_matrix/client/unstable/im.nheko.summary"
"""From before summaries were specified, in its two forms; clients still call both."""


@routes.get(
    "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
    _UNSTABLE + "/summary/{roomIdOrAlias}",
    _UNSTABLE + "/rooms/{roomIdOrAlias}/summary",
    auth=Auth.OPTIONAL,
    limit=Limit.READ,
    allow_guests=True,
)
async def get_summary(ctx: Context, req: Request) -> Json:
    """Show a room's summary. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>."""
    user_id = None if req.requester is None else req.requester.user_id
    room_id, servers = await _room(ctx, req.params["roomIdOrAlias"], asks_others=user_id is not None)
    found = None
    if room_id is not None:
        # Nobody is asked on behalf of somebody unknown.
        asked = [*req.query.all("via"), *servers] if user_id is not None else []
        found = await summaries_of.find(ctx, room_id, user_id, asked)
    if room_id is None or found is None:
        raise NotFound("There is no such room, or you may not know of it")
    membership = None if user_id is None else members.membership(ctx.db, room_id, user_id)
    if membership is not None:
        found["membership"] = membership
    return found


async def _room(ctx: Context, text: str, *, asks_others: bool) -> tuple[RoomId | None, list[ServerName]]:
    """Return the room that is meant, and servers that know it."""
    if is_room_id(text):
        return RoomId(text), []
    if not is_room_alias(text):
        raise InvalidParam("Neither a room ID nor an alias")
    alias = RoomAlias(text)
    if aliases.is_local(alias, ctx.server_name):
        return aliases.room_of(ctx.db, alias), []
    return await look_up(ctx, alias) if asks_others else (None, [])
