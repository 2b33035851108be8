"""The real way to other servers: discovery, then HTTPS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from conduit.service.outbound.errors import HttpFailed, Unreachable
from conduit.service.outbound.http import HttpClient
from conduit.service.outbound.resolver import Destination, Resolver
from conduit.service.outbound.wire import WireAnswer, WireStream


class HttpsWire:
    """A `Wire` over the Internet."""

    def __init__(self, *, resolver: Resolver, http: HttpClient) -> None:
        self._resolver = resolver
        self._http = http

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
        """Send one request; an SRV record's next host is tried when there is no connection to the one before."""
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(server, method, target, headers, body, seconds, max_bytes)
        except TimeoutError:
            raise Unreachable(server, f"no answer within {seconds:g} seconds") from None

    async def _exchange(
        self,
        server: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: float,
        max_bytes: int,
    ) -> WireAnswer:
        destination = await self._resolver.resolve(server)
        failure = HttpFailed("it has no address")
        for url in _urls(destination, target):
            try:
                answer = await self._http.request(
                    method,
                    url,
                    headers={**headers, "Host": destination.host_header},
                    body=body,
                    seconds=seconds,
                    max_bytes=max_bytes,
                    tls_name=destination.tls_name,
                )
            except HttpFailed as error:
                failure = error
                if error.connected:
                    break
            else:
                return WireAnswer(answer.status, answer.headers, answer.body)
        self._resolver.forget_hosts(server)
        raise Unreachable(server, failure.reason)

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
        """Send one request and return the beginning of the answer."""
        try:
            async with asyncio.timeout(seconds):
                destination = await self._resolver.resolve(server)
        except TimeoutError:
            raise Unreachable(server, f"it was not found within {seconds:g} seconds") from None
        try:
            async with self._http.stream(
                method,
                _urls(destination, target)[0],
                headers={**headers, "Host": destination.host_header},
                seconds=seconds,
                max_bytes=max_bytes,
                tls_name=destination.tls_name,
            ) as answer:
                yield WireStream(answer.status, answer.headers, _pieces(server, answer.pieces))
        except HttpFailed as error:
            self._resolver.forget_hosts(server)
            raise Unreachable(server, error.reason) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()


def _urls(destination: Destination, target: str) -> list[str]:
    return [f"https://{f'[{host}]' if ':' in host else host}:{port}{target}" for host, port in destination.endpoints]


async def _pieces(server: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except HttpFailed as error:
        raise Unreachable(server, error.reason) from error
