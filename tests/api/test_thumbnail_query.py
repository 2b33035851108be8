"""What is asked of a thumbnail."""

from __future__ import annotations

import pytest

from conduit.api import thumbnail_query
from conduit.api.request import Request
from conduit.protocol.errors import InvalidParam, MatrixError, MissingParam
from conduit.service.media.downloads import MAX_WAIT_MS


def request(query: str) -> Request:
    """Return a GET with a query."""
    return Request(method="GET", path="/", raw_query=query)


def test_parameters_have_defaults_and_bounds() -> None:
    """Scaled, standing still, no larger than sense, and waiting for no more than a minute."""
    assert thumbnail_query.read(request("width=5&height=6")) == (5, 6, "scale", False)
    asked = thumbnail_query.read(request("width=99999999&height=1&method=crop&animated=true"))
    assert asked == (thumbnail_query.MAX_SIDE, 1, "crop", True)
    assert thumbnail_query.wait_ms(request("")) == thumbnail_query.DEFAULT_WAIT_MS
    assert thumbnail_query.wait_ms(request("timeout_ms=99999999")) == MAX_WAIT_MS


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", MissingParam),
        ("width=1", MissingParam),
        ("width=0&height=1", InvalidParam),
        ("width=x&height=1", InvalidParam),
        ("width=1&height=1&method=x", InvalidParam),
        ("width=1&height=1&animated=x", InvalidParam),
    ],
)
def test_nonsense_is_refused(query: str, error: type[MatrixError]) -> None:
    """With the fitting code."""
    with pytest.raises(error):
        thumbnail_query.read(request(query))
