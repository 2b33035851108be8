"""Tables of routes."""

from __future__ import annotations

import pytest

from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.service.context import Context


async def handler(ctx: Context, req: Request) -> Json:
    """Answer nothing."""
    return {}


def test_a_route_asks_for_a_user_unless_told_otherwise() -> None:
    """Forgetting `auth` does not open an endpoint."""
    routes = Routes()
    routes.get("/a")(handler)
    (route,) = routes
    assert (route.auth, route.limit, route.allow_guests) == (Auth.USER, Limit.NONE, False)


def test_current_paths_have_their_old_twins() -> None:
    """v3 is also r0, for clients and for media; nothing else is doubled."""
    routes = Routes()
    routes.put("/_matrix/client/v3/a/{b}", "/_matrix/media/v3/c", "/_matrix/client/v1/d", auth=Auth.NONE)(handler)
    assert [(route.method, route.path, route.auth) for route in routes] == [
        ("PUT", "/_matrix/client/v3/a/{b}", Auth.NONE),
        ("PUT", "/_matrix/client/r0/a/{b}", Auth.NONE),
        ("PUT", "/_matrix/media/v3/c", Auth.NONE),
        ("PUT", "/_matrix/media/r0/c", Auth.NONE),
        ("PUT", "/_matrix/client/v1/d", Auth.NONE),
    ]


def test_each_method_has_its_decorator() -> None:
    """And the handler stays what it was."""
    routes = Routes()
    assert routes.get("/a")(handler) is handler
    routes.put("/a")(handler)
    routes.post("/a")(handler)
    routes.delete("/a")(handler)
    routes.options("/a")(handler)
    assert [route.method for route in routes] == ["GET", "PUT", "POST", "DELETE", "OPTIONS"]


def test_a_route_needs_a_path() -> None:
    """An empty decorator is a slip."""
    with pytest.raises(TypeError):
        Routes().get()
