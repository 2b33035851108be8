"""Every request that leaves this server, of whatever kind: federation, push gateways, application services, previews.

Certificates are verified; addresses of private networks are refused (unless a request says that its URL is the operator's own); times and
sizes are bounded; redirects are followed only as far as asked, each checked anew. Answers are taken uncompressed, as a few compressed
bytes can stand for gigabytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from conduit import __version__
from conduit.service.outbound.address_filter import AddressFilter, is_address
from conduit.service.outbound.errors import BadCertificate, HttpDenied, HttpFailed, NotConnected, NoTls
from conduit.service.outbound.proxies import Proxies

if TYPE_CHECKING:
    import aiohttp

AGENT = f"Conduit-py/{__version__}"
CONNECT_SECONDS = 15.0
"""For one address; several are tried side by side."""
KEEP_SECONDS = 60.0
DNS_SECONDS = 60
RESOLVING = 16
"""Names that are resolved at a time."""
_PIECE = 64 * 1024
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": AGENT, "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer whose body is still to come; `pieces` raises `HttpFailed`."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class HttpClient:
    """Connections to others, made when first needed. `close` it in the end."""

    def __init__(self, *, addresses: AddressFilter, proxies: Proxies, ca_file: Path | None = None) -> None:
        self._addresses = addresses
        self._proxies = proxies
        self._ca_file = ca_file
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._tls: ssl.SSLContext | None = None
        self._names: ThreadPoolExecutor | None = None
        self._closed = False

    async def close(self) -> None:
        """Close all connections. Requests fail from now on."""
        self._closed = True
        if self._names is not None:
            self._names.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        seconds: float,
        max_bytes: int,
        redirects: int = 0,
        filtered: bool = True,
        tls_name: str | None = None,
    ) -> HttpAnswer:
        """Return the answer, whatever its status, within `seconds` and `max_bytes`. Raises `HttpFailed`.

        `filtered=False` is for URLs that the operator has configured. `tls_name` is whom the certificate must name, if not the URL's host.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self.stream(
                    method,
                    url,
                    headers=headers,
                    body=body,
                    seconds=seconds,
                    max_bytes=max_bytes,
                    redirects=redirects,
                    filtered=filtered,
                    tls_name=tls_name,
                ) as answer,
            ):
                pieces = [piece async for piece in answer.pieces]
                return HttpAnswer(answer.status, answer.headers, b"".join(pieces))
        except TimeoutError:
            raise HttpFailed(f"no answer within {seconds:g} seconds") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        seconds: float,
        max_bytes: int,
        redirects: int = 0,
        filtered: bool = True,
        tls_name: str | None = None,
    ) -> AsyncIterator[HttpStream]:
        """Return the beginning of the answer; `seconds` bounds the time until then and each pause after it. Raises `HttpFailed`."""
        for left in range(redirects, -1, -1):
            async with self._exchange(method, url, headers, body, seconds, filtered, tls_name) as got:
                target = got.headers.get("Location")
                if got.status not in _REDIRECTS or not left or target is None or method not in ("GET", "HEAD"):
                    length = got.content_length
                    if length is not None and length > max_bytes:
                        raise HttpFailed(f"the answer is too large ({length} bytes)")
                    yield HttpStream(got.status, got.headers, _pieces(got, seconds, max_bytes))
                    return
                url = _redirected(url, target)
                tls_name = None
                # What is meant for one host is not for another.
                headers = {
                    name: value
                    for name, value in (headers or {}).items()
                    if name.lower() not in ("authorization", "host")
                }

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        seconds: float,
        filtered: bool,
        tls_name: str | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp
        from yarl import URL

        try:
            parsed = URL(url, encoded=True)
            host = parsed.host
        except ValueError:
            host = None
        if not host or parsed.scheme not in ("http", "https"):
            raise HttpFailed("the URL is not valid")
        if filtered and is_address(host) and not self._addresses.allows(host):
            raise HttpDenied(f"the address {host} may not be reached (ip_range_denylist)")
        proxy = self._proxies.for_host(host)
        session = self._session(filtered, proxy)
        through = proxy if proxy is not None and not proxy.startswith("socks") else None
        opened = False
        try:
            async with asyncio.timeout(seconds):
                got = await session.request(
                    method,
                    parsed,
                    data=body,
                    headers={**_HEADERS, **(headers or {})},
                    allow_redirects=False,
                    proxy=through,
                    server_hostname=tls_name,
                    ssl=self._context(),
                )
            opened = True
            async with got:
                yield got
        except TimeoutError:
            if opened:
                raise
            raise HttpFailed(f"no answer within {seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:
            if opened and not isinstance(error, aiohttp.ClientError):
                raise
            raise _translated(error) from error

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
            if self._ca_file is not None:
                # Authorities of one's own making seldom have all that the strict mode of newer Pythons asks for.
                self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
                self._tls.load_verify_locations(self._ca_file)
        return self._tls

    def _session(self, filtered: bool, proxy: str | None) -> aiohttp.ClientSession:
        import aiohttp

        if self._closed:
            raise HttpFailed("the server is stopping")
        # A proxy is the operator's and may well be in the own network; what it connects to, it resolves itself.
        kind = "filtered" if filtered and proxy is None else "open"
        if proxy is not None and proxy.startswith("socks"):
            kind = proxy
        session = self._sessions.get(kind)
        if session is None:
            options: dict[str, Any] = {"limit": 0, "keepalive_timeout": KEEP_SECONDS, "ttl_dns_cache": DNS_SECONDS}
            if not kind.startswith("socks"):
                options["resolver"] = self._resolver()
            if kind == "filtered":
                options["socket_factory"] = self._open_socket
            connector = _socks_connector(kind, options) if kind.startswith("socks") else aiohttp.TCPConnector(**options)
            session = self._sessions[kind] = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                read_bufsize=_PIECE,
                max_line_size=16 * 1024,
                max_field_size=16 * 1024,
            )
        return session

    def _resolver(self) -> aiohttp.abc.AbstractResolver:
        """Return what resolves names, by the system's means and in threads of its own: name servers may be slow, and others need threads too."""
        from aiohttp.abc import AbstractResolver, ResolveResult

        if self._names is None:
            self._names = ThreadPoolExecutor(RESOLVING, thread_name_prefix="names")
        threads = self._names

        class Names(AbstractResolver):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
            ) -> list[ResolveResult]:
                look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
                found = await asyncio.get_running_loop().run_in_executor(threads, look_up)
                return [
                    ResolveResult(
                        hostname=host, host=str(where[0]), port=port, family=family, proto=protocol, flags=_NUMERIC
                    )
                    for family, _, protocol, _, where in found
                ]

            async def close(self) -> None:
                pass

        return Names()

    def _open_socket(self, address: Any) -> socket.socket:
        """Return a socket for one resolved address: the last moment at which it can be refused."""
        family, kind, protocol, _, where = address
        if not self._addresses.allows(str(where[0])):
            raise _AddressDenied(str(where[0]))
        return socket.socket(family, kind, protocol)


class _AddressDenied(OSError):
    def __init__(self, address: str) -> None:
        super().__init__(f"the address {address} may not be reached (ip_range_denylist)")


def _socks_connector(proxy: str, options: dict[str, Any]) -> aiohttp.BaseConnector:
    from aiohttp_socks import ProxyConnector

    # With "h" the proxy resolves names, which is the only way to reach .onion.
    scheme, _, rest = proxy.partition("://")
    connector: aiohttp.BaseConnector = ProxyConnector.from_url(
        f"{scheme.removesuffix('h')}://{rest}", rdns=scheme.endswith("h"), **options
    )
    return connector


def _redirected(url: str, target: str) -> str:
    after = urljoin(url, target)
    try:
        scheme = urlsplit(after).scheme
    except ValueError:
        raise HttpFailed("it redirects to what is no URL") from None
    if scheme != "https" and url.startswith("https:"):
        raise HttpFailed("it redirects to an insecure URL")
    return after


async def _pieces(got: aiohttp.ClientResponse, seconds: float, max_bytes: int) -> AsyncIterator[bytes]:
    import aiohttp

    size = 0
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await got.content.readany()
        except TimeoutError:
            raise HttpFailed("the answer broke off") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from error
        if not piece:
            return
        size += len(piece)
        if size > max_bytes:
            raise HttpFailed(f"the answer is larger than {max_bytes} bytes")
        yield piece


def _translated(error: Exception) -> HttpFailed:
    """Return what a failure of the HTTP library means, in words."""
    import aiohttp

    denied = _denied_within(error)
    if denied is not None:
        return HttpDenied(str(denied))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return HttpFailed("its name cannot be resolved", connected=False)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _bad_certificate(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return NoTls(f"no TLS connection: {getattr(error.os_error, 'reason', error)}")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return HttpFailed("the proxy cannot be reached, or refuses", connected=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        # The library's own words for a refused connection name the address once more, and hide why.
        why = os.strerror(cause.errno) if cause.errno is not None and cause.errno > 0 else cause.strerror or str(cause)
        return NotConnected(f"no connection: {why[:1].lower()}{why[1:]}", cause.errno)
    if isinstance(error, aiohttp.ServerTimeoutError):
        return NotConnected("no connection in time", errno.ETIMEDOUT)
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return HttpFailed("it closed the connection")
    return HttpFailed(f"its answer is not understood: {type(error).__name__}")


def _bad_certificate(cause: Exception) -> BadCertificate:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return BadCertificate(f"its certificate is not valid: {cause.verify_message}", cause.verify_code)
    return BadCertificate(f"its certificate is not valid: {cause}")


def _denied_within(error: BaseException | None) -> _AddressDenied | None:
    for _ in range(10):
        if error is None or isinstance(error, _AddressDenied):
            return error
        if isinstance(error, BaseExceptionGroup):
            return next((found for part in error.exceptions if (found := _denied_within(part)) is not None), None)
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return None
