"""Waiting for news: what a /sync request does from its arrival to its answer.

A waiter registers first and reads afterwards, so nothing falls between. Whether there can be news at all is known from memory, so
that somebody who polls a quiet account costs no look into the database. Woken by something that turns out to be nothing for this client (a filter, a
device of somebody else), the request goes on waiting until its time is over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import UserId
from conduit.service.context import Context
from conduit.service.rooms import members
from conduit.service.rooms.cuts import SyncToken
from conduit.service.sync.response import respond
from conduit.service.sync.streams import one_time_keys, to_device
from conduit.service.sync.window import Json, SyncRequest, Window

MAX_TIMEOUT_MS: Final = 120_000
"""However long a client wants to wait; proxies give up before."""


async def sync(ctx: Context, request: SyncRequest) -> Json:
    """Return the answer to a /sync request, as soon as there is something to tell or the request's time is over.

    Raises `InvalidParam` for a token from the future.
    """
    since = request.since
    if since is not None:
        if since.at > ctx.db.current_count():
            raise InvalidParam("Unknown /sync position")
        to_device.acknowledge(ctx.db, request.user_id, request.device_id, since)
    ctx.presence.sync_begins(request.user_id, request.set_presence)
    try:
        if since is None or request.full_state:
            return await respond(Window(ctx, request)) or {}
        return await _news(ctx, request, since)
    finally:
        ctx.presence.sync_ends(request.user_id, request.set_presence)


def nothing_new(ctx: Context, request: SyncRequest) -> Json | None:
    """Return the answer to an incremental request if nothing has happened since, as is known without looking into the database; else `None`."""
    since = request.since
    if since is None or request.full_state or since.at > ctx.db.current_count():
        return None
    to_device.acknowledge(ctx.db, request.user_id, request.device_id, since)
    ctx.presence.sync_begins(request.user_id, request.set_presence)
    may_have_news = _may_have_news(ctx, request.user_id, since)
    ctx.presence.sync_ends(request.user_id, request.set_presence)
    return None if may_have_news else _nothing(ctx, request, since)


async def _news(ctx: Context, request: SyncRequest, since: SyncToken) -> Json:
    if request.timeout_ms <= 0 and not _may_have_news(ctx, request.user_id, since):
        return _nothing(ctx, request, since)
    timeout = min(request.timeout_ms, MAX_TIMEOUT_MS) / 1000
    deadline = ctx.clock.monotonic() + timeout
    with ctx.db.watch.register((("user", request.user_id),)) as waiter:
        while True:
            if _may_have_news(ctx, request.user_id, since):
                window = Window(ctx, replace(request, since=since))
                answer = await respond(window)
                if answer is not None:
                    return answer
                # Nothing of what happened concerns this client: it need not be looked at again.
                since = SyncToken(window.upto, ctx.db.start_count, window.upto)
            left = deadline - ctx.clock.monotonic()
            if timeout <= 0 or left <= 0 or not await waiter.wait(left):
                return _nothing(ctx, request, since)


def _may_have_news(ctx: Context, user_id: UserId, since: SyncToken) -> bool:
    watch = ctx.db.watch
    if since.start != ctx.db.start_count or since.devices < since.at:
        return True
    return watch.newest > since.at and watch.latest(members.news_keys(ctx.db, user_id)) > since.at


def _nothing(ctx: Context, request: SyncRequest, since: SyncToken) -> Json:
    return {"next_batch": since.token(), **one_time_keys.everything(ctx.db, request.user_id, request.device_id)}
