"""What is sent to identity servers; the rest is tested with one in tests/service/actions."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import InvalidParam
from conduit.protocol.threepids import ThreePid
from conduit.service.outbound.errors import Unreachable
from conduit.service.outbound.identity_server import IdentityServer, hashed, is_key_valid
from tests.service.outbound.loopback import client


@pytest.mark.parametrize(
    ("threepid", "form"),
    [
        (ThreePid("email", "alice@example.com"), "4kenr7N9drpCJ4AfalmlGQVsOn3o2RHjkADUpXJWZUc"),
        (ThreePid("email", "bob@example.com"), "LJwSazmv46n0hlMlsb_iYxI0_HXEqy_yj6Jm636cdT8"),
        (ThreePid("msisdn", "18005552067"), "nlo35_T5fzSGZzJApqu8lgIudJvmOQtDaHtr-I4rU7I"),
    ],
)
def test_look_up_hashes_as_the_specification_shows(threepid: ThreePid, form: str) -> None:
    """Its three examples."""
    assert hashed(threepid, "matrixrocks") == form


async def test_only_host_names_are_identity_servers() -> None:
    """What a user names goes into a URL, and the token into a header."""
    async with client() as http:
        for name in ("", "a/b", "https://a.b", "user@a.b", "a.b?c", "a b"):
            with pytest.raises(InvalidParam):
                IdentityServer(http, name)
        with pytest.raises(InvalidParam):
            IdentityServer(http, "a.b", "x\r\nEvil: 1")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "//127.0.0.1/x", "https://", "https://[", "https://10.0.0.1/x"]
)
async def test_validity_of_keys_is_asked_by_https_of_public_addresses_only(url: str) -> None:
    """The URL was written by whoever made the invite."""
    async with client(denied=("127.0.0.0/8", "10.0.0.0/8")) as http:
        with pytest.raises(Unreachable):
            await is_key_valid(http, url, "key")
