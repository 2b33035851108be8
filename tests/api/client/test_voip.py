"""TURN credentials."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

from conduit.config.schema import Turn
from tests.support.homeserver import Homeserver, serve

URIS = ("turn:turn.example.org?transport=udp", "turns:turn.example.org")


async def test_credentials_are_made_from_the_shared_secret() -> None:
    """They name the caller and their end, and the TURN server can check them with the secret alone."""
    async with serve(turn=Turn(uris=URIS, ttl=3600, secret="s3cret")) as hs:
        alice = await hs.register("alice")
        body = await alice.get("/voip/turnServer")
        expiry = hs.clock.now_ms() // 1000 + 3600
        assert body["username"] == f"{expiry}:{alice.user_id}"
        digest = hmac.new(b"s3cret", body["username"].encode(), hashlib.sha1).digest()
        assert body["password"] == b64encode(digest).decode()
        assert (body["uris"], body["ttl"]) == (list(URIS), 3600)


async def test_fixed_credentials_are_told_as_they_are() -> None:
    """Without a secret everybody has the same."""
    async with serve(turn=Turn(uris=URIS, ttl=60, username="u", password="p")) as hs:
        alice = await hs.register("alice")
        assert await alice.get("/voip/turnServer") == {
            "username": "u",
            "password": "p",
            "uris": list(URIS),
            "ttl": 60,
        }


async def test_without_a_turn_server_there_is_nothing(hs: Homeserver) -> None:
    """404; and strangers are not told at all."""
    alice = await hs.register("alice")
    await alice.get("/voip/turnServer", "M_NOT_FOUND")
    await hs.client().get("/voip/turnServer", "M_MISSING_TOKEN")
