"""What `/.well-known/matrix/` tells about this server: where clients and other servers reach it, and who helps.

Source: client-server API, "Server Discovery"; server-server API, "Server discovery".
"""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.protocol.errors import NotFound
from conduit.service.context import Context

routes = Routes()

FEDERATION_PORT = 443


@routes.get("/.well-known/matrix/client", auth=Auth.NONE)
async def client(ctx: Context, req: Request) -> Json:
    """Tell clients the URL of the client-server API. <https://spec.matrix.org/v1.19/client-server-api/#well-known-uris>."""
    url = ctx.config.well_known.client or f"https://{ctx.server_name}"
    return {"m.homeserver": {"base_url": url.rstrip("/")}}


@routes.get("/.well-known/matrix/server", auth=Auth.NONE)
async def server(ctx: Context, req: Request) -> Json:
    """Tell other servers where to connect. <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>."""
    return {"m.server": ctx.config.well_known.server or _with_port(ctx.server_name)}


@routes.get("/.well-known/matrix/support", auth=Auth.NONE)
async def support(ctx: Context, req: Request) -> Json:
    """Tell users whom to ask for help. <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport>."""
    settings = ctx.config.well_known
    answer: Json = {}
    contact = {"matrix_id": settings.support_mxid, "email_address": settings.support_email}
    known = {name: value for name, value in contact.items() if value is not None}
    if known:
        answer["contacts"] = [{**known, "role": settings.support_role}]
    if settings.support_page is not None:
        answer["support_page"] = settings.support_page
    if not answer:
        raise NotFound("No support information is configured")
    return answer


def _with_port(server_name: str) -> str:
    host_end = server_name.rfind("]")
    return server_name if ":" in server_name[host_end + 1 :] else f"{server_name}:{FEDERATION_PORT}"
