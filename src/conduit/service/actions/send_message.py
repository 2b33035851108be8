"""Send a message event. Source: client-server API, `PUT /rooms/{roomId}/send/{eventType}/{txnId}`."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadRequest
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.relations import THREAD, relation_of
from conduit.service.actions import content_checks, once
from conduit.service.actions.once import Transaction
from conduit.service.actions.redact import require_own
from conduit.service.context import Context
from conduit.service.rooms import members, timeline


async def send_message(
    ctx: Context,
    sender: UserId,
    room_id: RoomId,
    event_type: str,
    content: dict[str, Any],
    *,
    transaction: Transaction | None = None,
    origin_server_ts: int | None = None,
    own_only: bool = False,
) -> EventId:
    """Send a message event and return its id; the same transaction sends it once only. `own_only` is that of `redact`.

    Raises what `events.send` does, and `BadRequest` for a thread that would start inside of another.
    """
    if event_type == "m.room.redaction":
        if own_only:
            require_own(ctx, sender, content.get("redacts"))
        return await _send_redaction(ctx, sender, room_id, content, transaction)
    if "m.relates_to" in content and members.is_joined(ctx.db, room_id, sender):
        _check_thread(ctx, room_id, content)
    if event_type == "m.room.tombstone":
        content_checks.check_tombstone(room_id, content)
    event_id = await once.send(
        ctx, room_id, sender, event_type, content, transaction=transaction, origin_server_ts=origin_server_ts
    )
    ctx.presence.active(sender)
    return event_id


async def _send_redaction(
    ctx: Context, sender: UserId, room_id: RoomId, content: dict[str, Any], transaction: Transaction | None
) -> EventId:
    # The target stands in the content, whatever the room version; it is put where the version has it.
    redacts = content.get("redacts")
    rest = {name: value for name, value in content.items() if name != "redacts"}
    return await once.send(ctx, room_id, sender, "m.room.redaction", rest, transaction=transaction, redacts=redacts)


def _check_thread(ctx: Context, room_id: RoomId, content: dict[str, Any]) -> None:
    relation = relation_of(content)
    if relation is None or relation.rel_type != THREAD:
        return
    root = timeline.event(ctx.db, relation.event_id)
    if root is not None and root.room_id == room_id and relation_of(root.content) is not None:
        raise BadRequest("A thread cannot start from an event that itself relates to another")
