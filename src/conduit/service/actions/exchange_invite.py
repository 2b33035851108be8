"""Turning a third-party invite into one of the user who has proven to be meant, for that user's server.

Source: server-server API, "Third-party invites".
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadJson, Forbidden, InvalidParam
from conduit.protocol.ids import RoomId, ServerName, parse_user_id, server_name_of
from conduit.service.actions import offers
from conduit.service.actions.resident import require_resident
from conduit.service.context import Context
from conduit.service.events import remote_invite

Json = dict[str, Any]


async def exchange_invite(ctx: Context, origin: ServerName, room_id: RoomId, partial: Json) -> None:
    """Invite the user whom the partial member event names, in the name of who made the third-party invite; both servers sign it.

    Raises `InvalidParam` or `BadJson` for what is no such event or belongs to another room than the request (CVE-2020-26257), `Forbidden` for a proof that does not hold, a user who is not
    of the asking server, or an invite that nobody here has made.
    """
    require_resident(ctx, origin, room_id)
    content = partial.get("content")
    if partial.get("type") != "m.room.member" or partial.get("room_id") != room_id:
        raise InvalidParam("The event is no membership of this room")
    if not isinstance(content, dict) or content.get("membership") != "invite":
        raise InvalidParam("The event is no invite")
    proof = content.get("third_party_invite")
    signed = proof.get("signed") if isinstance(proof, dict) else None
    if not isinstance(signed, dict):
        raise BadJson("The invite holds no signed proof")
    sender, target = parse_user_id(partial.get("sender")), parse_user_id(partial.get("state_key"))
    if server_name_of(target) != origin:
        raise Forbidden("The invited user is not one of your server")
    if server_name_of(sender) != ctx.server_name:
        raise Forbidden("Nobody of this server has made that invite")
    if signed.get("mxid") != target:
        raise Forbidden("The third-party invite was signed for another user")
    wanted = {"membership": "invite", "third_party_invite": await offers.take_up(ctx, room_id, signed)}
    await remote_invite.send(ctx, room_id, sender, target, wanted)
