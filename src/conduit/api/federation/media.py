"""Local media for other servers. Source: server-server API, "Content Repository"."""

from __future__ import annotations

from collections.abc import AsyncIterator

from conduit.api import thumbnail_query
from conduit.api.request import Request
from conduit.api.web import Auth, Limit, Routes, StreamReply
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import parse_mxc
from conduit.service.context import Context
from conduit.service.media import downloads, multipart
from conduit.utils.tokens import random_text

routes = Routes()

_BOUNDARY_LENGTH = 40


@routes.get("/_matrix/federation/v1/media/download/{mediaId}", auth=Auth.SERVER, limit=Limit.FEDERATION, long_poll=True)
async def download(ctx: Context, req: Request) -> StreamReply:
    """Hand over a file. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>."""
    server, media_id = parse_mxc(f"mxc://{ctx.server_name}/{req.params['mediaId']}")
    found = await downloads.download(ctx, server, media_id, wait_ms=thumbnail_query.wait_ms(req))
    return await _in_parts(ctx, found)


@routes.get(
    "/_matrix/federation/v1/media/thumbnail/{mediaId}", auth=Auth.SERVER, limit=Limit.FEDERATION, long_poll=True
)
async def thumbnail(ctx: Context, req: Request) -> StreamReply:
    """Hand over a thumbnail. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid>."""
    server, media_id = parse_mxc(f"mxc://{ctx.server_name}/{req.params['mediaId']}")
    asked = thumbnail_query.read(req)
    found = await downloads.thumbnail(
        ctx,
        server,
        media_id,
        width=asked.width,
        height=asked.height,
        method=asked.method,
        animated=asked.animated,
        wait_ms=thumbnail_query.wait_ms(req),
    )
    return await _in_parts(ctx, found)


async def _in_parts(ctx: Context, found: downloads.Found) -> StreamReply:
    boundary = random_text(_BOUNDARY_LENGTH)
    described = {"Content-Type": found.content_type, "Content-Disposition": found.headers["Content-Disposition"]}
    before, after = multipart.frame(boundary, described)
    try:
        size, pieces = await ctx.media_files.stream(found.path)
    except FileNotFoundError as error:
        raise NotFound("There is no such media") from error

    async def whole() -> AsyncIterator[bytes]:
        yield before
        async for piece in pieces:
            yield piece
        yield after

    content_type = f"multipart/mixed; boundary={boundary}"
    return StreamReply(whole(), content_type, size=len(before) + size + len(after))
