"""A request as handlers see it: percent-decoded path parameters, typed query, parsed body, and who asks.

No type of the HTTP library comes through here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar, overload
from urllib.parse import unquote

import orjson

from conduit.api.limits import Limit, Limits, address_key
from conduit.api.remote import is_local
from conduit.protocol.canonical_json import MAX_DEPTH, MAX_INTEGER, require_bearable
from conduit.protocol.errors import BadJson, InvalidParam, MissingParam, NotJson
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users.requester import Requester

__all__ = ["Json", "Query", "Request", "Requester", "parse_object"]

T = TypeVar("T")
Json = dict[str, Any]

_DIGITS = re.compile(r"[0-9]{1,400}", re.ASCII)
_ANY_INTEGER = 1 << 64
"""What JSON is read with at the most: one event with such a number must not spoil the others beside it."""
# An integer of 16 digits or more may exceed 2^53. (Beyond 2^64 the parser makes a float of it.)
_LONG_NUMBER = b"0" * 16
_DIGITS_ALIKE = bytes(ord("0") if chr(byte) in "0123456789" else ord(" ") for byte in range(256))
"""Makes every digit the same: to look for a run of them like this is many times faster than a regular expression."""
_MAX_PARAMETERS = 200


def _decoded(text: str) -> str:
    return unquote(text.replace("+", " "), errors="strict")


class Query:
    """The query string. Each reader takes the last value of a repeated parameter, `all` gives every one."""

    __slots__ = ("_values",)

    def __init__(self, raw: str) -> None:
        values: dict[str, list[str]] = {}
        if raw:
            # What `parse_qsl` does, which is slow.
            if raw.count("&") >= _MAX_PARAMETERS:
                raise InvalidParam("The query has too many parameters")
            try:
                for pair in raw.split("&"):
                    if pair:
                        name, _, value = pair.partition("=")
                        if "%" in pair or "+" in pair:
                            name, value = _decoded(name), _decoded(value)
                        values.setdefault(name, []).append(value)
            except UnicodeDecodeError as error:
                raise InvalidParam("The query is not valid UTF-8") from error
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @overload
    def text(self, name: str) -> str | None: ...
    @overload
    def text(self, name: str, default: T) -> str | T: ...
    def text(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`, or `default` if it is absent."""
        values = self._values.get(name)
        return values[-1] if values else default

    def required(self, name: str) -> str:
        """Return the value of `name`, or raise `MissingParam`."""
        values = self._values.get(name)
        if not values:
            raise MissingParam(f"Missing query parameter '{name}'")
        return values[-1]

    @overload
    def number(self, name: str, *, low: int = 0, high: int = MAX_INTEGER) -> int | None: ...
    @overload
    def number(self, name: str, default: T, *, low: int = 0, high: int = MAX_INTEGER) -> int | T: ...
    def number(self, name: str, default: Any = None, *, low: int = 0, high: int = MAX_INTEGER) -> Any:
        """Return an integer of ASCII digits. Above `high` it is clamped; below `low` it raises `InvalidParam`."""
        values = self._values.get(name)
        if not values:
            return default
        raw = values[-1]
        if not _DIGITS.fullmatch(raw):
            raise InvalidParam(f"Query parameter '{name}' must be a non-negative integer")
        value = int(raw)
        if value < low:
            raise InvalidParam(f"Query parameter '{name}' must be at least {low}")
        return min(value, high)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean, which is written `true` or `false` and in no other way."""
        values = self._values.get(name)
        if not values:
            return default
        value = values[-1]
        if value == "true":
            return True
        if value == "false":
            return False
        raise InvalidParam(f"Query parameter '{name}' must be 'true' or 'false'")

    def all(self, name: str) -> list[str]:
        """Return all values of `name`, in their order."""
        return list(self._values.get(name, ()))


async def _no_stream() -> AsyncIterator[bytes]:
    return
    yield b""


class Request:
    """One request. Its body has been read within the limit before the handler runs, unless the route streams it."""

    __slots__ = (
        "_json",
        "_limits",
        "_peer",
        "_query",
        "_raw_query",
        "_stream",
        "body",
        "content_length",
        "headers",
        "holds_events",
        "id",
        "method",
        "origin",
        "params",
        "path",
        "remote",
        "requester",
    )

    def __init__(
        self,
        *,
        method: str,
        path: str,
        raw_query: str = "",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        remote: str = "",
        request_id: str = "",
        peer: str = "",
        requester: Requester | None = None,
        body: bytes = b"",
        limits: Limits | None = None,
    ) -> None:
        self.method = method
        self.path = path
        """The path as it was sent, still percent-encoded, without the query."""
        self.params: Mapping[str, str] = params or {}
        self.headers: Mapping[str, str] = headers or {}
        """Case-insensitive."""
        self.remote = remote
        """The client's address: that of the connection, or what a reverse proxy on this machine says it is."""
        self.id = request_id
        self.requester = requester
        self.origin = ServerName("")
        """The server that asks, on a route for servers."""
        self.holds_events = False
        """Whether the body may hold events, each of which is checked by the rules of its room's version."""
        self.body = body
        self.content_length: int | None = None
        """What the client announced for a streamed body, if it did."""
        self._limits = limits
        self._stream: AsyncIterator[bytes] | None = None
        self._raw_query = raw_query
        self._peer = peer
        self._query: Query | None = None
        self._json: Any = None

    @property
    def query(self) -> Query:
        """The typed query parameters."""
        query = self._query
        if query is None:
            query = self._query = Query(self._raw_query)
        return query

    @property
    def is_local(self) -> bool:
        """Whether the client certainly runs on this machine: a loopback connection for a loopback host, no proxy between."""
        return is_local(self._peer, self.headers)

    def charge(self, limit: Limit, key: str | None = None, requests: int = 1) -> None:
        """Take so many requests from a bucket: the caller's own, unless `key` names another. Raises `LimitExceeded`, and takes none, if it holds fewer."""
        if self._limits is None:
            return
        if key is None:
            requester = self.requester
            key = self.origin or (address_key(self.remote) if requester is None else requester.user_id)
        self._limits.charge(limit, key, requests)

    @property
    def user_id(self) -> UserId:
        """The caller, on a route that requires one."""
        assert self.requester is not None
        return self.requester.user_id

    @property
    def device_id(self) -> str:
        """The caller's device; empty for an application service without one."""
        assert self.requester is not None
        return self.requester.device_id

    def json(self, optional: bool = False) -> Json:
        """Return the body, a JSON object. With `optional` no body at all is an empty object.

        Raises `NotJson`, or `BadJson` for what is not an object, nests deeper than 200 levels, or holds an integer beyond 2^53 or too many values.
        Floats are let through: only events forbid them. Where there may be events of old room versions, so are all integers.
        """
        value = self._json
        if value is None:
            bound = _ANY_INTEGER if self.holds_events else MAX_INTEGER
            value = self._json = parse_object(self.body, optional=optional, bound=bound)
        return value  # type: ignore[no-any-return]

    def attach(self, stream: AsyncIterator[bytes]) -> None:
        """Give the request the stream of its body; what the web layer does for a route with `stream_body`."""
        self._stream = stream

    def stream(self) -> AsyncIterator[bytes]:
        """Return the body of a route with `stream_body`, piece by piece; raises `TooLarge` beyond the route's limit."""
        return self._stream if self._stream is not None else _no_stream()


def parse_object(body: bytes, *, optional: bool = False, bound: int = MAX_INTEGER) -> Json:
    """Return the JSON object that `body` holds, guarded as `Request.json` says."""
    if not body:
        if optional:
            return {}
        raise NotJson("The request has no body; a JSON object is expected")
    require_bearable(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson("The body is not valid JSON") from error
    if not isinstance(value, dict):
        raise BadJson("The body must be a JSON object")
    # Almost no body needs the walk: neither deep nesting nor a huge number fits into few brackets or short digits.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH or _LONG_NUMBER in body.translate(_DIGITS_ALIKE):
        _check(value, bound)
    return value


def _check(value: Any, bound: int) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item
            for child in children:
                if isinstance(child, dict | list):
                    below.append(child)
                elif isinstance(child, int) and not -bound <= child <= bound:
                    raise BadJson("The body holds an integer outside of the range that Matrix allows")
        if not below:
            return
        level = below
    raise BadJson("The body nests too deeply")
