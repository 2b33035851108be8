"""Filters that clients have stored for later use.

Source: client-server API, "Filtering".
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import TooLarge
from conduit.protocol.filters import Filter, parse_filter
from conduit.protocol.ids import UserId

MAX_BYTES: Final = 65_536
MAX_ID: Final = 64


def store(batch: Batch, user_id: UserId, definition: dict[str, Any]) -> str:
    """Keep a filter and return its id; the same filter has the same id. Raises `BadJson` for one that is none, `TooLarge` beyond 64 KiB."""
    parse_filter(definition)
    data = orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)
    if len(data) > MAX_BYTES:
        raise TooLarge("The filter is too large")
    filter_id = urlsafe_b64encode(sha256(data).digest()[:12]).decode()
    slot = (user_id, filter_id)
    if not trees.userfilterid_filter.has(batch, slot):
        trees.userfilterid_filter.put(batch, slot, definition)
        _PARSED.forget(batch, slot)
    return filter_id


def get(source: CacheSource, user_id: UserId, filter_id: str) -> dict[str, Any] | None:
    """Return a filter as the client has sent it, or `None`."""
    if len(filter_id) > MAX_ID:
        return None
    definition: dict[str, Any] | None = trees.userfilterid_filter.get(source, (user_id, filter_id))
    return definition


class _Parsed(NamedTuple):
    """A filter, and about how many bytes it takes: what it names is the client's choice."""

    filter: Filter | None
    weight: int


def _load(source: CacheSource, slot: tuple[UserId, str]) -> _Parsed:
    definition = trees.userfilterid_filter.get(source, slot)
    if definition is None:
        return _Parsed(None, 200)
    return _Parsed(parse_filter(definition), 2000 + 8 * len(orjson.dumps(definition)))


_PARSED: Cached[tuple[UserId, str], _Parsed] = Cached("filter", load=_load, weigh=lambda parsed: parsed.weight)


def parsed(source: CacheSource, user_id: UserId, filter_id: str) -> Filter | None:
    """Return a stored filter ready for use, or `None`."""
    return None if len(filter_id) > MAX_ID else _PARSED.get(source, (user_id, filter_id)).filter
