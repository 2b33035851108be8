"""What is asked of a thumbnail: the same parameters for clients and servers.

Source: client-server API, GET /media/thumbnail/{serverName}/{mediaId}.
"""

from __future__ import annotations

from typing import NamedTuple

from conduit.api.request import Request
from conduit.protocol.errors import InvalidParam
from conduit.service.media import downloads

MAX_SIDE = 100_000
DEFAULT_WAIT_MS = 20_000


class Asked(NamedTuple):
    """The wanted size, how to get there, and whether it may move."""

    width: int
    height: int
    method: str
    animated: bool


def read(req: Request) -> Asked:
    """Return the parameters; raises `MissingParam` or `InvalidParam`."""
    req.query.required("width"), req.query.required("height")
    method = req.query.text("method", "scale")
    if method not in ("crop", "scale"):
        raise InvalidParam("method must be crop or scale")
    return Asked(
        req.query.number("width", 0, low=1, high=MAX_SIDE),
        req.query.number("height", 0, low=1, high=MAX_SIDE),
        method,
        req.query.flag("animated"),
    )


def wait_ms(req: Request) -> int:
    """Return how long to wait for an upload that is announced."""
    return req.query.number("timeout_ms", DEFAULT_WAIT_MS, high=downloads.MAX_WAIT_MS)
