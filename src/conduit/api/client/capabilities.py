"""What this server lets the caller do. Source: client-server API, "Capabilities negotiation"."""

from __future__ import annotations

from conduit.api.request import Json, Request, Requester
from conduit.api.web import Auth, Limit, Routes
from conduit.config.schema import Config
from conduit.protocol.room_versions import ROOM_VERSIONS
from conduit.service.context import Context
from conduit.service.users import profiles

routes = Routes()

UNSTABLE = frozenset({"3", "4", "5"})
"""What Conduit calls unstable, and `allow_unstable_room_versions` switches off for new rooms."""


@routes.get("/_matrix/client/v3/capabilities", auth=Auth.USER, allow_guests=True, limit=Limit.READ)
async def get_capabilities(ctx: Context, req: Request) -> Json:
    """Tell the capabilities. <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities>."""
    assert req.requester is not None
    is_user = not req.requester.is_guest
    capabilities: Json = {
        "m.change_password": {"enabled": is_user},
        "m.room_versions": _room_versions(ctx.config),
        **_profile(req.requester),
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": is_user},
        "m.forget_forced_upon_leave": {"enabled": False},
    }
    if req.requester.is_admin:
        capabilities["m.account_moderation"] = {"suspend": True, "lock": True}
    return {"capabilities": capabilities}


def _profile(requester: Requester) -> Json:
    """Return what the caller may change of the profile, as `client.profile` has it, and the two older ways to say so."""
    fields: Json = {"enabled": not requester.suspended}
    if requester.is_guest:
        fields["allowed"] = [profiles.DISPLAYNAME]
    return {
        "m.profile_fields": fields,
        "m.set_displayname": {"enabled": not requester.suspended},
        "m.set_avatar_url": {"enabled": not (requester.suspended or requester.is_guest)},
    }


def _room_versions(config: Config) -> Json:
    offered = [name for name in ROOM_VERSIONS if name not in UNSTABLE or config.allow_unstable_room_versions]
    available = {name: "unstable" if name in UNSTABLE else "stable" for name in offered}
    return {"default": config.default_room_version, "available": available}
