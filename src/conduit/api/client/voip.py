"""Credentials of the TURN server, which relays calls between clients that cannot reach each other.

Source: client-server API, "Voice over IP"; draft-uberti-behave-turn-rest-00 for the shared secret.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import NotFound
from conduit.service.context import Context

routes = Routes()


@routes.get("/_matrix/client/v3/voip/turnServer", auth=Auth.USER, limit=Limit.READ, allow_guests=True)
async def turn_server(ctx: Context, req: Request) -> Json:
    """Give the caller credentials. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>.

    With a shared secret they are the caller's own and end after `turn.ttl`; the TURN server can check them by itself.
    """
    turn = ctx.config.turn
    if not turn.uris:
        # An empty list is no way out: browsers refuse to start a call with it.
        raise NotFound("This server has no TURN server")
    if turn.secret is not None:
        username = f"{ctx.clock.now_ms() // 1000 + turn.ttl}:{req.user_id}"
        digest = hmac.new(turn.secret.encode(), username.encode(), hashlib.sha1).digest()
        password = b64encode(digest).decode()
    else:
        username, password = turn.username or "", turn.password or ""
    return {"username": username, "password": password, "uris": turn.uris, "ttl": turn.ttl}
