"""The vocabulary of endpoint files: a table of routes made by decorators, and the forms that an answer can have.

    routes = Routes()

    @routes.put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", limit=Limit.CHATTY)
    async def set_typing(ctx: Context, req: Request) -> Json: ...

A path under `/_matrix/client/v3/` or `/_matrix/media/v3/` is served under `r0` as well. `{name}` stands for one
percent-decoded segment, which may be empty only at the end (an empty state key); `{name:path}` for all the rest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from conduit.api.limits import Limit
from conduit.api.request import Json, Request
from conduit.service.context import Context

__all__ = [
    "Answer",
    "Auth",
    "Handler",
    "Json",
    "Limit",
    "RawReply",
    "Reply",
    "Request",
    "Route",
    "Routes",
    "StreamReply",
    "json_reply",
]


class Auth(Enum):
    """Who may call an endpoint."""

    NONE = "none"
    OPTIONAL = "optional"
    """A token that is given must be good; `req.requester` is `None` without one."""
    USER = "user"
    APPSERVICE = "appservice"
    SERVER = "server"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer with a status or headers of its own. `body` may hold `orjson.Fragment`, or be one."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawReply:
    """An answer of bytes, which are sent as they are."""

    body: bytes
    content_type: str = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A file, of which the client may ask for a range, or pieces as they come (then no ranges).

    `size` is the length of the pieces if it is known; a file's is looked up. With `etag` (the bare text) a client that
    has that version already gets 304.
    """

    source: Path | AsyncIterator[bytes]
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    etag: str | None = None
    status: int = 200


def json_reply(body: bytes | AsyncIterator[bytes]) -> RawReply | StreamReply:
    """Return an answer of JSON that is written already, whole or in pieces."""
    return RawReply(body, _JSON) if isinstance(body, bytes) else StreamReply(body, _JSON)


Answer = Json | Reply | RawReply | StreamReply
Handler = Callable[[Context, Request], Awaitable[Answer]]
AtOnce = Callable[[Context, Request], Json | None]
H = TypeVar("H", bound=Handler)

_JSON = "application/json"
_TWINS = (("/_matrix/client/v3/", "/_matrix/client/r0/"), ("/_matrix/media/v3/", "/_matrix/media/r0/"))


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: how it is reached, by whom, and what runs."""

    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.USER
    limit: Limit = Limit.NONE
    allow_guests: bool = False
    stream_body: bool = False
    max_body: int | None = None
    """Bytes; `None` means what the server takes by default for this kind of caller."""
    allow_locked: bool = False
    """Whether a locked account may still call this: logging out."""
    holds_events: bool = False
    """Whether the body holds events of all room versions, so that any number in it is a matter of theirs."""
    long_poll: bool = False
    """Whether the handler waits for news: it is ended at once when the server stops."""
    at_once: AtOnce | None = None
    """Asked first; see `conduit.api.at_once`."""


class Options(TypedDict, total=False):
    """The keywords of a route's decorator: the fields of `Route` that have a default."""

    auth: Auth
    limit: Limit
    allow_guests: bool
    stream_body: bool
    max_body: int | None
    allow_locked: bool
    holds_events: bool
    long_poll: bool
    at_once: AtOnce | None


class Routes:
    """A table of endpoints, filled by decorators, read by `conduit.api.dispatch`."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self.table)

    def get(self, *paths: str, **options: Unpack[Options]) -> Callable[[H], H]:
        """Declare a GET endpoint; it answers HEAD too. The options are the fields of `Route`."""
        return self._declare("GET", paths, options)

    def put(self, *paths: str, **options: Unpack[Options]) -> Callable[[H], H]:
        """Declare a PUT endpoint."""
        return self._declare("PUT", paths, options)

    def post(self, *paths: str, **options: Unpack[Options]) -> Callable[[H], H]:
        """Declare a POST endpoint."""
        return self._declare("POST", paths, options)

    def delete(self, *paths: str, **options: Unpack[Options]) -> Callable[[H], H]:
        """Declare a DELETE endpoint."""
        return self._declare("DELETE", paths, options)

    def options(self, *paths: str, **options: Unpack[Options]) -> Callable[[H], H]:
        """Declare an OPTIONS endpoint, where the general CORS answer does not do."""
        return self._declare("OPTIONS", paths, options)

    def _declare(self, method: str, paths: tuple[str, ...], options: Options) -> Callable[[H], H]:
        if not paths:
            raise TypeError("a route needs a path")

        def declare(handler: H) -> H:
            for path in paths:
                self.table.append(Route(method, path, handler, **options))
                for current, old in _TWINS:
                    if path.startswith(current):
                        self.table.append(Route(method, old + path[len(current) :], handler, **options))
            return handler

        return declare
