"""Several events of one room through one batch, each standing on those before: creating a room, upgrading one.

    with ctx.db.batch() as batch:
        view = RoomView.create(ctx, batch, sender, content, version)
        view.add(sender, "m.room.member", {"membership": "join"}, state_key=sender)

All of it becomes visible and durable together, or not at all. The caller holds the room's lock, unless the room is new.
"""

from __future__ import annotations

from typing import Any

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.room_versions import RoomVersion
from conduit.service.context import Context
from conduit.service.events import authorise
from conduit.service.events.accept import accept
from conduit.service.events.build import build, build_create, tips
from conduit.service.rooms import members, state, versions
from conduit.utils.tokens import random_text

_ROOM_ID_CHARACTERS = 18
"""Length of the room ids that versions before 12 let us choose."""


def new_room_id(server_name: ServerName) -> RoomId:
    """Return a fresh room id, for the versions in which it is not the hash of the create event."""
    return RoomId(f"!{random_text(_ROOM_ID_CHARACTERS)}:{server_name}")


class RoomView:
    """A room within one open batch. Made by `open` or `create`."""

    __slots__ = ("_batch", "_ctx", "room_id", "version")

    def __init__(self, ctx: Context, batch: Batch, room_id: RoomId, version: RoomVersion) -> None:
        self._ctx = ctx
        self._batch = batch
        self.room_id = room_id
        self.version = version

    @classmethod
    def open(cls, ctx: Context, batch: Batch, room_id: RoomId) -> RoomView:
        """Return the view of a room that this server knows; raises `NotFound` for another."""
        return cls(ctx, batch, room_id, versions.version_of(batch, room_id))

    @classmethod
    def create(
        cls,
        ctx: Context,
        batch: Batch,
        sender: UserId,
        content: dict[str, Any],
        version: RoomVersion,
        *,
        room_id: RoomId | None = None,
        origin_server_ts: int | None = None,
    ) -> RoomView:
        """Make a room of that version: write its `m.room.create` and return the view; the creator has yet to join.

        `content` is the create event's as the caller wants it; `room_version`, and `creator` where the version has it, are set here.
        `room_id` is a fresh one of `new_room_id` for a caller that had to know it before; version 12 takes none.
        """
        content = {**content, "room_version": version.id}
        if not version.creator_is_sender:
            content["creator"] = sender
        authorise.check_content(ctx, "m.room.create", "", content)
        if room_id is None and not version.room_id_is_create_hash:
            room_id = new_room_id(ctx.server_name)
        event = build_create(ctx, room_id, version, sender, content, origin_server_ts=origin_server_ts)
        while room_id is None and state.exists(batch, event.room_id):
            # The id is a hash of the event: equal wishes of one user within a millisecond would be one room.
            later = event.origin_server_ts + 1
            event = build_create(ctx, room_id, version, sender, content, origin_server_ts=later)
        authorise.authorise(batch, event)
        versions.remember(batch, event.room_id, version)
        accept(ctx, batch, event, state_before=0)
        return cls(ctx, batch, event.room_id, version)

    def add(
        self,
        sender: UserId,
        event_type: str,
        content: dict[str, Any],
        *,
        state_key: str | None = None,
        redacts: EventId | None = None,
        origin_server_ts: int | None = None,
        transaction: tuple[str, str] | None = None,
        check_membership: bool = True,
    ) -> Event:
        """Send an event into the room within the batch; see `events.send` for its arguments and errors."""
        event, is_new = self.prepare(
            sender,
            event_type,
            content,
            state_key=state_key,
            redacts=redacts,
            origin_server_ts=origin_server_ts,
            check_membership=check_membership,
        )
        if is_new:
            self.take(event, transaction=transaction)
        return event

    def prepare(
        self,
        sender: UserId,
        event_type: str,
        content: dict[str, Any],
        *,
        state_key: str | None = None,
        redacts: EventId | None = None,
        origin_server_ts: int | None = None,
        check_membership: bool = True,
    ) -> tuple[Event, bool]:
        """Return the event that `add` would send, and whether it is a new one; nothing is written yet."""
        ctx, batch, room_id = self._ctx, self._batch, self.room_id
        authorise.check_content(ctx, event_type, state_key, content)
        if check_membership and event_type != "m.room.member" and not members.is_joined(batch, room_id, sender):
            raise Forbidden("You are not in this room")
        if state_key is not None:
            known = authorise.is_current(batch, room_id, sender, event_type, state_key, content)
            if known is not None:
                return known, False
        else:
            authorise.check_relation(batch, event_type, sender, content)
        if event_type == "m.room.redaction" and state_key is None:
            redacts = authorise.redaction_target(content, redacts)
            authorise.check_redaction(batch, room_id, sender, redacts)
            if self.version.redacts_in_content:
                content = {**content, "redacts": redacts}
        event = build(
            ctx,
            batch,
            room_id,
            self.version,
            sender,
            event_type,
            content,
            state_key=state_key,
            redacts=redacts,
            origin_server_ts=origin_server_ts,
        )
        authorise.authorise(batch, event)
        return event, True

    def take(self, event: Event, *, transaction: tuple[str, str] | None = None) -> None:
        """Accept a prepared event. The room has not moved on since it was prepared (`is_next`)."""
        head = state.head(self._batch, self.room_id)
        state_before = head.state if head is not None else 0
        accept(self._ctx, self._batch, event, state_before=state_before, transaction=transaction)

    def is_next(self, event: Event) -> bool:
        """Tell whether a prepared event still follows all that is newest in the room, and is allowed."""
        if event.prev_events != tuple([leaf.event_id for leaf in tips(self._batch, self.room_id)]):
            return False
        authorise.authorise(self._batch, event)
        return True
