"""Which versions of the specification this server speaks.

Source: client-server API, "API Versions".
"""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Routes
from conduit.service.context import Context

routes = Routes()

VERSIONS = (
    "r0.0.1",
    *(f"r0.{minor}.0" for minor in range(1, 6)),
    "r0.6.0",
    "r0.6.1",
    *(f"v1.{minor}" for minor in range(1, 20)),
)

UNSTABLE_FEATURES = {
    # Long since in the specification; clients still look for these names.
    "org.matrix.e2e_cross_signing": True,
    "org.matrix.msc2285.stable": True,
    "org.matrix.msc3440.stable": True,
    "org.matrix.msc3827.stable": True,
    "uk.half-shot.msc2666.query_mutual_rooms": True,
}


@routes.get("/_matrix/client/versions", auth=Auth.NONE)
async def get_versions(ctx: Context, req: Request) -> Json:
    """Tell the versions and features. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>."""
    return {"versions": VERSIONS, "unstable_features": UNSTABLE_FEATURES}
