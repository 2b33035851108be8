"""The content repository: upload, download, thumbnails. Source: client-server API, "Content repository"."""

from __future__ import annotations

from conduit.api import thumbnail_query
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes, StreamReply
from conduit.protocol.ids import ServerName, parse_mxc
from conduit.service.context import Context
from conduit.service.media import downloads, uploads

routes = Routes()


def _item(req: Request) -> tuple[ServerName, str]:
    return parse_mxc(f"mxc://{req.params['serverName']}/{req.params['mediaId']}")


def _content_type(req: Request) -> str:
    return req.headers.get("Content-Type", "application/octet-stream").strip()


@routes.post("/_matrix/media/v3/upload", "/_matrix/media/v1/upload", limit=Limit.UPLOAD, stream_body=True)
async def upload(ctx: Context, req: Request) -> Json:
    """Store a file. POST /_matrix/media/v3/upload."""
    uri = await uploads.upload(
        ctx, req.user_id, req.stream(), filename=req.query.text("filename", ""), content_type=_content_type(req)
    )
    return {"content_uri": uri}


@routes.post("/_matrix/media/v1/create", limit=Limit.UPLOAD)
async def create(ctx: Context, req: Request) -> Json:
    """Reserve a URI for a later upload. POST /_matrix/media/v1/create."""
    uri, expires_at = await uploads.reserve(ctx, req.user_id)
    return {"content_uri": uri, "unused_expires_at": expires_at}


@routes.put("/_matrix/media/v3/upload/{serverName}/{mediaId}", limit=Limit.UPLOAD, stream_body=True)
async def fill(ctx: Context, req: Request) -> Json:
    """Store the file of a reserved URI. PUT /_matrix/media/v3/upload/{serverName}/{mediaId}."""
    await uploads.fill(
        ctx,
        req.user_id,
        *_item(req),
        req.stream(),
        filename=req.query.text("filename", ""),
        content_type=_content_type(req),
    )
    return {}


@routes.get("/_matrix/client/v1/media/config", allow_guests=True)
async def get_config(ctx: Context, req: Request) -> Json:
    """Return the size limit of uploads. GET /media/config."""
    return {"m.upload.size": ctx.config.max_request_size}


@routes.get("/_matrix/media/v3/config", allow_guests=True)
async def get_old_config(ctx: Context, req: Request) -> Json:
    """Return the size limit of uploads. GET /_matrix/media/v3/config."""
    return {"m.upload.size": ctx.config.max_request_size}


def _reply(found: downloads.Found) -> StreamReply:
    return StreamReply(found.path, found.content_type, found.headers, etag=found.etag)


def _charge(ctx: Context, req: Request, server: ServerName, media_id: str, *, fetch: bool) -> None:
    """Count what has other servers asked and our disk filled; media that is here costs nothing."""
    if fetch and req.requester is not None and downloads.must_be_fetched(ctx, server, media_id):
        req.charge(Limit.READ)


async def _download(ctx: Context, req: Request, *, fetch: bool = True) -> StreamReply:
    server, media_id = _item(req)
    _charge(ctx, req, server, media_id, fetch=fetch)
    found = await downloads.download(
        ctx,
        server,
        media_id,
        filename=req.params.get("fileName"),
        wait_ms=thumbnail_query.wait_ms(req),
        authenticated=req.requester is not None,
        fetch=fetch,
    )
    return _reply(found)


async def _thumbnail(ctx: Context, req: Request, *, fetch: bool = True) -> StreamReply:
    server, media_id = _item(req)
    asked = thumbnail_query.read(req)
    _charge(ctx, req, server, media_id, fetch=fetch)
    found = await downloads.thumbnail(
        ctx,
        server,
        media_id,
        width=asked.width,
        height=asked.height,
        method=asked.method,
        animated=asked.animated,
        wait_ms=thumbnail_query.wait_ms(req),
        authenticated=req.requester is not None,
        fetch=fetch,
    )
    return _reply(found)


@routes.get(
    "/_matrix/client/v1/media/download/{serverName}/{mediaId}",
    "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
    allow_guests=True,
    long_poll=True,
)
async def download(ctx: Context, req: Request) -> StreamReply:
    """Serve a file, whole or in ranges. GET /media/download/{serverName}/{mediaId}[/{fileName}]."""
    return await _download(ctx, req)


@routes.get("/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", allow_guests=True, long_poll=True)
async def thumbnail(ctx: Context, req: Request) -> StreamReply:
    """Serve a thumbnail. GET /media/thumbnail/{serverName}/{mediaId}."""
    return await _thumbnail(ctx, req)


@routes.get(
    "/_matrix/media/v3/download/{serverName}/{mediaId}",
    "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
    auth=Auth.OPTIONAL,
    long_poll=True,
)
async def download_by_old_path(ctx: Context, req: Request) -> StreamReply:
    """Serve a file from before downloads needed a token; to older clients that send theirs all the same, any file.

    Nothing is fetched without a token, whatever `allow_remote` says. GET /_matrix/media/v3/download/{serverName}/{mediaId}[/{fileName}].
    """
    return await _download(ctx, req, fetch=req.query.flag("allow_remote", True))


@routes.get("/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", auth=Auth.OPTIONAL, long_poll=True)
async def thumbnail_by_old_path(ctx: Context, req: Request) -> StreamReply:
    """Serve a thumbnail of such a file. GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}."""
    return await _thumbnail(ctx, req, fetch=req.query.flag("allow_remote", True))
