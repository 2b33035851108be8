"""Turning a third-party invite into one of a local user, who has the proof that it was meant for them.

The identity server has signed that the user is who was invited. Whoever made the invite must be asked to put it into the room, unless that is a user of this server.

Source: server-server API, "Third-party invites"; client-server API, `third_party_signed` of /join.
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadJson, Forbidden
from conduit.protocol.ids import RoomId, UserId, server_name_of
from conduit.service import events
from conduit.service.actions import membership, offers
from conduit.service.context import Context
from conduit.service.events import handshake
from conduit.service.outbound.errors import RemoteError

Json = dict[str, Any]

EXCHANGE_SECONDS = 60.0


async def redeem(ctx: Context, user_id: UserId, room_id: RoomId, sender: UserId, signed: Json) -> None:
    """Have `user_id` invited to the room in the name of `sender`, who has invited somebody by mail address; `signed` proves who that is.

    It is passed on as it is, since the identity server decides what its signature covers.

    Raises `BadJson` for what is no proof, `Forbidden` for one of somebody else or that the room does not accept, and what the other server says.
    """
    token, signatures = signed.get("token"), signed.get("signatures")
    if not isinstance(token, str) or not isinstance(signatures, dict):
        raise BadJson("The proof of a third-party invite has a token and signatures")
    if signed.get("mxid") != user_id:
        raise Forbidden("The third-party invite was signed for another user")
    server = server_name_of(sender)
    if server == ctx.server_name:
        if not membership.is_here(ctx, room_id):
            raise Forbidden("Nobody of this server is in the room any more")
        content = {"membership": "invite", "third_party_invite": await offers.take_up(ctx, room_id, signed)}
        # Who made the invite may have left since: it holds all the same.
        await events.send(ctx, room_id, sender, "m.room.member", content, state_key=user_id, check_membership=False)
        return
    # What the invited are called in the room only the room knows; the other server puts that in.
    invite = {"display_name": "", "signed": signed}
    partial = {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": user_id,
        "content": {"membership": "invite", "third_party_invite": invite},
    }
    federation = ctx.outbound.federation
    target = federation.path("/_matrix/federation/v1/exchange_third_party_invite", room_id)
    try:
        await federation.put(server, target, partial, seconds=EXCHANGE_SECONDS, now=True)
    except RemoteError as error:
        raise handshake.verdict([error]) from error
