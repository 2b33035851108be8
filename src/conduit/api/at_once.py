"""Answers that need no waiting, given as soon as the request is there: most of all to who polls /sync when nothing is new.

What a request costs is mostly its way through tasks and the HTTP library's objects. A route may therefore name a plain function (`Route.at_once`) that
is asked first. It has the answer, or `None`: then, and on any error, refusal or doubt here, the request goes the long way as if nothing had been. So
it may be asked about a request that is handled once more, and leaves nothing behind that would count twice.
"""

from __future__ import annotations

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from conduit.api import auth, replies
from conduit.api.app import App
from conduit.api.limits import Limit
from conduit.api.request import Request


def answer(app: App, message: RawRequestMessage, peer: str) -> replies.Whole | None:
    """Return the answer to a request without a body, or `None` if it has to go the long way."""
    path, _, raw_query = message.path.partition("?")
    match = app.table.static(message.method, path)
    if match is None or match.endpoint is None:
        return None
    route = match.endpoint.route
    headers = message.headers
    if route.at_once is None or app.stopping or message.version != HttpVersion11:
        return None
    ctx = app.ctx
    try:
        forwarded = headers.getall("X-Forwarded-For", ())
        remote = app.proxies.client(peer, forwarded) if forwarded else peer
        requester = auth.authenticate(ctx, route, headers, raw_query, remote)
        request = Request(
            method=message.method,
            path=path,
            raw_query=raw_query,
            headers=headers,
            remote=remote,
            peer=peer,
            requester=requester,
        )
        found = route.at_once(ctx, request)
        # What it tells of may have been written a moment ago.
        if found is None or requester is None or not ctx.db.is_durable:
            return None
        if route.limit is not Limit.NONE and requester.appservice_id is None:
            app.limits.charge(route.limit, requester.user_id)
    except Exception:
        # The long way meets the same, and says what it is.
        return None
    return replies.whole(found)
