"""/.well-known/matrix/."""

from __future__ import annotations

import pytest

from conduit.config.schema import WellKnown
from tests.support.homeserver import Homeserver, serve


async def test_without_settings_the_server_name_is_the_address() -> None:
    """Clients use HTTPS, servers port 443."""
    async with serve(server_name="example.org") as hs:
        client = hs.client()
        assert await client.get("/.well-known/matrix/client") == {"m.homeserver": {"base_url": "https://example.org"}}
        assert await client.get("/.well-known/matrix/server") == {"m.server": "example.org:443"}


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("example.org:8448", "example.org:8448"),
        ("[2001:db8::1]", "[2001:db8::1]:443"),
        ("[2001:db8::1]:8448", "[2001:db8::1]:8448"),
        ("192.0.2.7", "192.0.2.7:443"),
    ],
)
async def test_a_port_in_the_server_name_is_kept(name: str, address: str) -> None:
    """An IPv6 address has colons that are no port."""
    async with serve(server_name=name) as hs:
        assert (await hs.client().get("/.well-known/matrix/server"))["m.server"] == address


async def test_settings_go_first() -> None:
    """The configured addresses are told as they are, the URL without a slash at its end."""
    settings = WellKnown(client="https://matrix.example.org/", server="matrix.example.org:8443")
    async with serve(well_known=settings) as hs:
        client = hs.client()
        told = await client.get("/.well-known/matrix/client")
        assert told["m.homeserver"]["base_url"] == "https://matrix.example.org"
        assert (await client.get("/.well-known/matrix/server"))["m.server"] == "matrix.example.org:8443"


async def test_support_is_told_if_there_is_any() -> None:
    """Who has configured nothing has nothing to tell: 404."""
    contact = WellKnown(support_mxid="@help:example.org", support_email="help@example.org")
    async with serve(well_known=contact) as hs:
        assert await hs.client().get("/.well-known/matrix/support") == {
            "contacts": [
                {"matrix_id": "@help:example.org", "email_address": "help@example.org", "role": "m.role.admin"}
            ]
        }
    async with serve(well_known=WellKnown(support_page="https://example.org/help")) as hs:
        assert await hs.client().get("/.well-known/matrix/support") == {"support_page": "https://example.org/help"}


async def test_no_support_is_not_found(hs: Homeserver) -> None:
    """The default tells nothing."""
    await hs.client().get("/.well-known/matrix/support", "M_NOT_FOUND")
