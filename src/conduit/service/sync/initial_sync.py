"""The older way of learning what there is: `/initialSync` for all rooms or one. `event_stream` goes on from there.

Deprecated by the specification, kept for previews of rooms and for old clients; built from the same parts as /sync.

Source: client-server API, GET /initialSync, GET /rooms/{roomId}/initialSync.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from conduit.protocol.filters import RoomEventFilter
from conduit.protocol.ids import RoomId
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.rooms import client_events, cuts, directory, members, state, visibility
from conduit.service.rooms.client_events import Recipient
from conduit.service.rooms.cuts import SyncToken
from conduit.service.rooms.reading import Reader, filtered_state
from conduit.service.sync import old_forms
from conduit.service.sync.streams import invites
from conduit.service.users import accounts

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100

_EVERYTHING: Final = RoomEventFilter()


def _reader(ctx: Context, to: Recipient, room_id: RoomId) -> Reader:
    ignored = account_data.ignored_users(ctx.db, to.user_id)
    return Reader(ctx.db, room_id, to, ignored=ignored, erased=accounts.erased(ctx.db))


async def room_initial_sync(ctx: Context, to: Recipient, room_id: RoomId, limit: int) -> Json:
    """Return one room as the user may see it: its state, the newest events. Raises `Forbidden` for who may not look at it."""
    reader = _reader(ctx, to, room_id)
    reader.check_access()
    room = await _room(ctx, reader, limit)
    # Who has left learns nothing of what goes on there now.
    membership = reader.viewer.membership
    is_open = membership == "join" or (
        membership not in ("leave", "ban") and visibility.is_world_readable(ctx.db, room_id)
    )
    room["presence"] = old_forms.presence_of(ctx, members.joined(ctx.db, room_id)) if is_open else []
    room["receipts"] = old_forms.receipts_in(ctx, room_id, to.user_id) if is_open else []
    return room


async def _room(ctx: Context, reader: Reader, limit: int) -> Json:
    newest = min(reader.newest(), cuts.at_count(ctx.db.current_count()))
    page = reader.page(newest, cuts.START, limit, _EVERYTHING, backwards=True)
    number = state.at_count(ctx.db, reader.room_id, newest.live) or 0
    room: Json = {
        "room_id": reader.room_id,
        "messages": {
            "start": page.end.token(),
            "end": newest.token(),
            "chunk": reader.render_all(reversed(page.events), bundled=False),
        },
        "state": await filtered_state(reader, number, _EVERYTHING, ()),
        "visibility": "public" if directory.is_public(ctx.db, reader.room_id) else "private",
        "account_data": old_forms.items(account_data.all_of(ctx.db, reader.user_id, reader.room_id)),
    }
    if reader.viewer.membership in ("invite", "join", "leave", "ban"):
        room["membership"] = reader.viewer.membership
    return room


async def initial_sync(ctx: Context, to: Recipient, limit: int, *, archived: bool) -> Json:
    """Return all rooms of the user, invites among them, with presence, receipts and account data."""
    # Who asks is there: their own presence is part of the answer.
    ctx.presence.sync_begins(to.user_id, "online")
    ctx.presence.sync_ends(to.user_id, "online")
    token = SyncToken(ctx.db.current_count(), ctx.db.start_count, ctx.db.current_count()).token()
    rooms: list[Json] = []
    wanted = ("join", "leave", "ban") if archived else ("join",)
    for membership in wanted:
        for room_id in list(members.rooms(ctx.db, to.user_id, membership)):
            reader = _reader(ctx, to, room_id)
            if membership == "join" or reader.viewer.was_joined():
                rooms.append(await _room(ctx, reader, limit))
            await asyncio.sleep(0)
    ignored = account_data.ignored_users(ctx.db, to.user_id)
    invited = members.rooms(ctx.db, to.user_id, "invite")
    rooms += [_invite(ctx, to, room) for room in invited if invites.is_shown(ctx.db, room, to.user_id, ignored)]
    seen = ctx.presence.changes(0, ctx.db.current_count())
    presence = [
        old_forms.presence(user_id, content)
        for user_id, content in seen.items()
        if user_id == to.user_id or members.share_room(ctx.db, to.user_id, user_id)
    ]
    joined = list(members.rooms(ctx.db, to.user_id))
    receipts = [event for room_id in joined for event in old_forms.receipts_in(ctx, room_id, to.user_id)]
    own = old_forms.items(account_data.all_of(ctx.db, to.user_id, ""))
    return {"end": token, "rooms": rooms, "presence": presence, "receipts": receipts, "account_data": own}


def _invite(ctx: Context, to: Recipient, room_id: RoomId) -> Json:
    room: Json = {"room_id": room_id, "membership": "invite"}
    event_id = state.current_id(ctx.db, room_id, "m.room.member", to.user_id)
    event = None if event_id is None else client_events.get(ctx.db, event_id)
    if event is not None:
        room["invite"] = orjson.Fragment(client_events.with_room(event))
    return room
