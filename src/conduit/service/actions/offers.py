"""Offers: the third-party invites of a room, which somebody may take up who proves to be meant.

Source: client-server API, "Third-party invites"; server-server API, "Third-party invites".
"""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import Forbidden
from conduit.protocol.event_auth.member import keys_of_offer
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.outbound.errors import RemoteError, as_client_error
from conduit.service.outbound.identity_server import is_key_valid
from conduit.service.rooms import state

Json = dict[str, Any]

TYPE = "m.room.third_party_invite"


async def take_up(ctx: Context, room_id: RoomId, signed: Json) -> Json:
    """Return the `third_party_invite` of the member event that takes up the room's offer for which `signed` is the proof.

    The identity server is asked whether the key that signed still counts; only who puts the invite into the room does that. Raises `Forbidden` where the room has no
    such offer, the proof does not hold or its key has been revoked, and `ConnectionFailed` if nobody can tell.
    """
    offer = _find(ctx, room_id, signed)
    failure: RemoteError | None = None
    for key, url in keys_of_offer(offer.content, signed):
        try:
            if url is None or await is_key_valid(ctx.outbound.http, url, key):
                name = offer.content.get("display_name")
                return {"display_name": name if isinstance(name, str) else "", "signed": signed}
        except RemoteError as error:
            failure = error
    if failure is not None:
        raise as_client_error(failure) from failure
    raise Forbidden("The third-party invite is signed with none of its keys, or with one that has been revoked")


def _find(ctx: Context, room_id: RoomId, signed: Json) -> Event:
    token = signed.get("token")
    offer = state.current(ctx.db, room_id, TYPE, token) if isinstance(token, str) else None
    if offer is None:
        raise Forbidden("The room has no such third-party invite")
    return offer
