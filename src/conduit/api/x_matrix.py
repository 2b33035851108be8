"""The `Authorization: X-Matrix` header of requests between servers.

Source: server-server API, "Request Authentication"; RFC 9110, sections 5.6 and 11.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from conduit.protocol.errors import InvalidParam, Unauthorized
from conduit.protocol.ids import ServerName, is_server_name
from conduit.service.outbound.federation import signed_bytes

MAX_HEADERS = 4
"""Requests carry one for each key that signed; nobody has many."""
_SCHEME = re.compile(r"x-matrix(?: +|$)", re.ASCII | re.IGNORECASE)
# name = token; value = token (colons, slashes and the like allowed, as older servers send them) or quoted text.
_PARAMETER = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))[ \t]*(?:,|$)""", re.ASCII
)
_EMPTY = re.compile(r"[ \t]*,")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to have sent a request, for whom, and the signature that is to prove it."""

    origin: ServerName
    destination: str | None
    key_id: str
    signature: str

    def messages(self, method: str, target: str, body: bytes, canonical: Callable[[], bytes] | None) -> Iterator[bytes]:
        """Return what the signature may cover, likeliest first: the body as it was sent, then its canonical form.

        Most servers send canonical JSON; it need not be parsed and written anew to be verified. Without a body `canonical` is `None`.
        """
        if canonical is None:
            yield signed_bytes(method, target, self.origin, self.destination, None)
            return
        yield signed_bytes(method, target, self.origin, self.destination, body)
        yield signed_bytes(method, target, self.origin, self.destination, canonical())


def read_claims(headers: Sequence[str], server_name: str) -> list[Claim]:
    """Return what the request's headers claim, all of one origin.

    Raises `Unauthorized` if it is not for this server, or not well-formed; `InvalidParam` for an origin that cannot be a server's name.
    """
    claims = [_read(header) for header in headers[:MAX_HEADERS] if _SCHEME.match(header)]
    if not claims:
        raise Unauthorized("The request is not signed: it has no X-Matrix authorization")
    if any(claim.origin != claims[0].origin for claim in claims):
        raise Unauthorized("The request is signed by several servers")
    for claim in claims:
        if claim.destination is not None and claim.destination != server_name:
            raise Unauthorized("The request is meant for another server")
    return claims


def _read(header: str) -> Claim:
    values: dict[str, str] = {}
    scheme = _SCHEME.match(header)
    assert scheme is not None
    at = scheme.end()
    while at < len(header):
        empty = _EMPTY.match(header, at)
        if empty is not None:
            at = empty.end()
            continue
        parameter = _PARAMETER.match(header, at)
        if parameter is None:
            raise Unauthorized("The X-Matrix authorization is malformed")
        name, quoted, plain = parameter.groups()
        if name.lower() in values:
            raise Unauthorized("The X-Matrix authorization repeats a parameter")
        values[name.lower()] = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
        at = parameter.end()
    origin = values.get("origin", "")
    if not origin:
        raise Unauthorized("The X-Matrix authorization names no origin")
    if not is_server_name(origin):
        raise InvalidParam("The origin in the X-Matrix authorization is no server name")
    key_id, signature = values.get("key"), values.get("sig") or values.get("signature")
    if not key_id or not signature:
        raise Unauthorized("The X-Matrix authorization has no key or no signature")
    return Claim(ServerName(origin), values.get("destination"), key_id, signature)
