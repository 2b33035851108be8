"""All endpoint files. A handler is reached only if its module stands here, and a test looks for those forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from conduit.api.web import Routes

MODULES = (
    "wellknown",
    "client.capabilities",
    "client.deactivate",
    "client.devices",
    "client.keys",
    "client.login",
    "client.logout",
    "client.openid",
    "client.password",
    "client.profile",
    "client.refresh",
    "client.register",
    "client.room_keys",
    "client.threepid",
    "client.to_device",
    "client.versions",
    "client.voip",
    "client.whoami",
)


def tables() -> Iterator[Routes]:
    """Return the table of every endpoint file."""
    for name in MODULES:
        module = import_module(f"conduit.api.{name}")
        table = module.routes
        assert isinstance(table, Routes)
        yield table
