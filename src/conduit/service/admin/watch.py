"""Listens in the admin room and answers what administrators write to @conduit."""

from __future__ import annotations

import structlog

from conduit.database import trees
from conduit.database.layouts import PduId
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import RoomId
from conduit.protocol.pdu import Event
from conduit.service.actions.log_in import server_user
from conduit.service.admin import commands, room
from conduit.service.context import Context
from conduit.service.rooms import short_ids, timeline
from conduit.service.users import accounts

log = structlog.get_logger(__name__)

_HEARD_KEY = b"conduit_py.admin_heard"
"""Row in `global`: count of the last event of the admin room that was looked at."""


async def run(ctx: Context) -> None:
    """Answer until cancelled. `room.set_up` has been called."""
    known = room.room_id(ctx.db, ctx.server_name)
    if known is None:
        return
    # Registered before it reads: what is written in between wakes it.
    with ctx.db.watch.register([("room", known)]) as waiter:
        while True:
            await answer_all(ctx, known)
            await waiter.wait()


async def answer_all(ctx: Context, room_id: RoomId) -> None:
    """Answer everything written since the last call, each line once: it counts as heard before it is obeyed."""
    for position, event in list(timeline.scan(ctx.db, room_id, after=_heard(ctx, room_id))):
        with ctx.db.batch() as batch:
            trees.global_.put(batch, _HEARD_KEY, position.live.to_bytes(8, "big"))
        line = _command_in(ctx, event)
        if line is not None:
            await _obey(ctx, event, line)


def _heard(ctx: Context, room_id: RoomId) -> PduId:
    short = short_ids.short_room(ctx.db, room_id)
    assert short is not None, "the room is known"
    stored = trees.global_.get(ctx.db, _HEARD_KEY)
    if stored is not None:
        return PduId(short, int.from_bytes(stored, "big"))
    # First start in this directory: what was written before is not for us.
    heard = ctx.db.current_count()
    with ctx.db.batch() as batch:
        trees.global_.put(batch, _HEARD_KEY, heard.to_bytes(8, "big"))
    return PduId(short, heard)


def _command_in(ctx: Context, event: Event) -> str | None:
    body = event.content.get("body")
    conduit = server_user(ctx)
    if event.type != "m.room.message" or event.content.get("msgtype") != "m.text" or not isinstance(body, str):
        return None
    if event.sender == conduit or not accounts.is_admin(ctx.db, event.sender):
        return None
    for address in (conduit, "@conduit", "conduit", "!admin", "!conduit"):
        rest = body.removeprefix(address)
        if rest != body and (not rest or rest[0] in ": \t\n,"):
            return rest.lstrip(": \t\n,")
    return None


async def _obey(ctx: Context, event: Event, line: str) -> None:
    try:
        answer = await commands.execute(ctx, event.sender, line)
    except MatrixError as error:
        answer = f"That did not work: {error.error}"
    except Exception as error:
        # A fault in one command must not end the server for everybody; it is logged and told.
        log.error("admin_command_failed", command=line.split(" ")[0], exc_info=error)
        answer = "That did not work: an internal error, the log has the details."
    try:
        await room.say(ctx, answer, reply_to=event.event_id)
    except MatrixError as error:
        log.warning("admin_answer_not_sent", error=error.error)
