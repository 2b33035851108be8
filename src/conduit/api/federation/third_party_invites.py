"""Invites of people by what is not a Matrix ID. Source: server-server API, "Third-party invites"."""

from __future__ import annotations

import structlog

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import MatrixError, NotFound
from conduit.protocol.ids import parse_room_id, parse_user_id, server_name_of
from conduit.service.actions.exchange_invite import exchange_invite
from conduit.service.actions.redeem_invite import redeem
from conduit.service.context import Context
from conduit.service.users import accounts

log = structlog.get_logger(__name__)
routes = Routes()

MAX_INVITES = 20
"""How many invites an identity server may hand over at a time; nobody knows who it is."""


@routes.put("/_matrix/federation/v1/exchange_third_party_invite/{roomId}", auth=Auth.SERVER)
async def exchange_third_party_invite(ctx: Context, req: Request) -> Json:
    """Invite somebody who has proven to be meant. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>."""
    await exchange_invite(ctx, req.origin, parse_room_id(req.params["roomId"]), req.json())
    return {}


# Identity servers POST, as the description of the flow says; the reference says PUT.
@routes.post("/_matrix/federation/v1/3pid/onbind", auth=Auth.NONE, limit=Limit.INVITE)
@routes.put("/_matrix/federation/v1/3pid/onbind", auth=Auth.NONE, limit=Limit.INVITE)
async def on_bind(ctx: Context, req: Request) -> Json:
    """Hear from an identity server that a user is who was invited by mail. <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind>."""
    body = req.json()
    user_id = parse_user_id(fields.text(body, "mxid"))
    if not accounts.exists(ctx.db, user_id) or server_name_of(user_id) != ctx.server_name:
        raise NotFound("There is no such user on this server")
    failure: MatrixError | None = None
    # What is wrong with one invite does not touch the others; that there was something, the identity server is told in the end.
    for invite in fields.array(body, "invites", [], of=dict)[:MAX_INVITES]:
        room_id, sender = parse_room_id(fields.text(invite, "room_id")), parse_user_id(fields.text(invite, "sender"))
        try:
            await redeem(ctx, user_id, room_id, sender, fields.obj(invite, "signed"))
        except MatrixError as error:
            log.info("invite_not_redeemed", room_id=room_id, user_id=user_id, reason=error.error)
            failure = error
    if failure is not None:
        raise failure
    return {}
