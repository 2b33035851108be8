"""What runs here.

Source: server-server API, "Server implementation".
"""

from __future__ import annotations

from conduit import __version__
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.service.context import Context

routes = Routes()

NAME = "Conduit-py"


@routes.get("/_matrix/federation/v1/version", auth=Auth.NONE)
async def get_version(ctx: Context, req: Request) -> Json:
    """Tell name and version. <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version>."""
    return {"server": {"name": NAME, "version": __version__}}
