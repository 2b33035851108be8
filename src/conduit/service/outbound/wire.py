"""The seam between what is said to another server and how it gets there.

`FederationClient` signs a request and reads the answer; a `Wire` only carries it. The real one resolves names and speaks HTTPS; tests
connect servers of one process with a wire that can be cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from conduit.service.outbound.errors import Unreachable


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """A whole answer. `headers` are case-insensitive, or have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class WireStream:
    """An answer whose body is still to come. `pieces` raises `Unreachable` when it breaks off or exceeds its bound."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Wire(Protocol):
    """A way to other servers. Both methods raise `Unreachable` and nothing else."""

    async def exchange(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float,
        max_bytes: int,
    ) -> WireAnswer:
        """Send one request to the server of that name and return its answer, which took at most `seconds` and `max_bytes`."""
        ...

    def stream(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        *,
        seconds: float,
        max_bytes: int,
    ) -> AbstractAsyncContextManager[WireStream]:
        """Send one request and return the beginning of its answer; `seconds` bounds the time until then and between pieces."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Unwired:
    """No way to anybody."""

    async def exchange(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float,
        max_bytes: int,
    ) -> WireAnswer:
        """Raise `Unreachable`."""
        raise Unreachable(server, "there is no network")

    @asynccontextmanager
    async def stream(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        *,
        seconds: float,
        max_bytes: int,
    ) -> AsyncIterator[WireStream]:
        """Raise `Unreachable`."""
        raise Unreachable(server, "there is no network")
        yield

    async def close(self) -> None:
        """Do nothing."""
