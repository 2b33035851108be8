"""All endpoint files. A handler is reached only if its module stands here, and a test looks for those forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from conduit.api.web import Routes

MODULES = (
    "client.account_data",
    "client.admin",
    "client.capabilities",
    "client.context",
    "client.create_room",
    "client.deactivate",
    "client.devices",
    "client.directory",
    "client.event",
    "client.events",
    "client.fallback",
    "client.filter",
    "client.hierarchy",
    "client.initial_sync",
    "client.joining",
    "client.keys",
    "client.leaving",
    "client.login",
    "client.logout",
    "client.media",
    "client.messages",
    "client.moderation",
    "client.mutual_rooms",
    "client.notifications",
    "client.openid",
    "client.password",
    "client.presence",
    "client.profile",
    "client.public_rooms",
    "client.pushers",
    "client.pushrules",
    "client.receipts",
    "client.refresh",
    "client.register",
    "client.relations",
    "client.report_content",
    "client.room_keys",
    "client.room_send",
    "client.room_state",
    "client.room_summary",
    "client.room_upgrades",
    "client.rooms",
    "client.search",
    "client.sync",
    "client.threads",
    "client.threepid",
    "client.timestamp_to_event",
    "client.to_device",
    "client.typing",
    "client.user_directory",
    "client.versions",
    "client.voip",
    "client.whoami",
    "federation.backfill",
    "federation.event_auth",
    "federation.events",
    "federation.hierarchy",
    "federation.inviting",
    "federation.joining",
    "federation.keys",
    "federation.knocking",
    "federation.leaving",
    "federation.media",
    "federation.openid",
    "federation.public_rooms",
    "federation.query",
    "federation.third_party_invites",
    "federation.transactions",
    "federation.user_devices",
    "federation.user_keys",
    "federation.version",
    "wellknown",
)


def tables() -> Iterator[Routes]:
    """Return the table of every endpoint file."""
    for name in MODULES:
        module = import_module(f"conduit.api.{name}")
        table = module.routes
        assert isinstance(table, Routes)
        yield table
