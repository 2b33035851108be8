"""Take what another server tells beside events: who types, reads and is online, to-device messages, device lists.

A server speaks for its own users only, and of a room only if the room lets it in and somebody here is in it. Whatever does not hold to that, or cannot be
understood, is passed over: nobody would read an error.

Source: server-server API, "EDUs" and the sections named below; "Server Access Control Lists".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import structlog

from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId, ServerName, UserId, is_room_id, is_user_id, server_name_of
from conduit.service.actions import receive_presence, receive_receipts, receive_to_device
from conduit.service.context import Context
from conduit.service.keys import remote_devices
from conduit.service.rooms import members, partial, server_access

log = structlog.get_logger(__name__)

MAX_EDUS: Final = 100
MAX_ROOMS: Final = 200
"""In how many rooms one EDU may tell of receipts; most tell of one."""
MAX_TYPING: Final = 200
"""How many may type in a room at a time: in a room whose members are not known yet a server could name any number, and each client is told of all."""
TYPING_MS: Final = 60_000
"""How long somebody types of whom nothing more is heard; other servers renew a notice more often."""

Content = Mapping[str, Any]


async def receive(ctx: Context, origin: ServerName, edus: Sequence[Any]) -> None:
    """Take EDUs of a server in their order, at most `MAX_EDUS`. Raises nothing for what they hold."""
    for edu in edus[:MAX_EDUS]:
        kind, content = (edu.get("edu_type"), edu.get("content")) if isinstance(edu, dict) else (None, None)
        take = _TAKERS.get(kind) if isinstance(kind, str) else None
        if take is not None and isinstance(content, dict):
            try:
                take(ctx, origin, content)
            except MatrixError as error:
                log.info("edu_refused", origin=origin, edu_type=kind, reason=error.error)
        await asyncio.sleep(0)


def _take_typing(ctx: Context, origin: ServerName, content: Content) -> None:
    """Typing Notifications: a user of the server's begins or stops."""
    room_id, user_id, typing = content.get("room_id"), content.get("user_id"), content.get("typing")
    if not (is_room_id(room_id) and is_user_id(user_id) and isinstance(typing, bool)):
        return
    room, user = RoomId(str(room_id)), UserId(str(user_id))
    if server_name_of(user) != origin or not is_open_to(ctx, room, origin):
        return
    if not typing:
        ctx.typing.stop(room, user)
    elif len(ctx.typing.users(room)) < MAX_TYPING and (
        members.is_joined(ctx.db, room, user) or partial.is_partial(ctx.db, room)
    ):
        ctx.typing.start(room, user, TYPING_MS)


def is_open_to(ctx: Context, room_id: RoomId, origin: ServerName) -> bool:
    """Tell whether a server may tell something of a room: it is let in, and somebody here is in the room."""
    return (
        bool(members.joined_local(ctx.db, room_id, ctx.server_name))
        and not server_access.is_blocked(ctx.db, room_id)
        and server_access.is_allowed(ctx.db, room_id, origin)
    )


def _take_receipts(ctx: Context, origin: ServerName, content: Content) -> None:
    """Receipts: in rooms that are open to the server."""
    for room_id, kinds in islice(content.items(), MAX_ROOMS):
        if is_room_id(room_id) and isinstance(kinds, dict) and is_open_to(ctx, RoomId(room_id), origin):
            receive_receipts.receive(ctx, origin, RoomId(room_id), kinds)


_TAKERS: Final[dict[str, Callable[[Context, ServerName, Content], None]]] = {
    "m.typing": _take_typing,
    "m.presence": receive_presence.receive,
    "m.receipt": _take_receipts,
    "m.direct_to_device": receive_to_device.receive,
    "m.device_list_update": remote_devices.update,
    "m.signing_key_update": remote_devices.update_signing_keys,
}
