"""What runs here."""

from __future__ import annotations

from conduit import __version__
from tests.support.homeserver import Homeserver


async def test_name_and_version_are_told(hs: Homeserver) -> None:
    """To anybody, as the specification has it."""
    answer = await hs.client().get("/_matrix/federation/v1/version")
    assert answer == {"server": {"name": "Conduit-py", "version": __version__}}
