"""Asking an identity server, which knows who has which mail address or phone number. Users choose it; none is trusted more than another.

Source: identity service API, version 2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import is_server_name
from conduit.protocol.threepids import ThreePid
from conduit.service.outbound.errors import HttpFailed, Refused, Unreachable
from conduit.service.outbound.federation import FederationClient, parse
from conduit.service.outbound.http import HttpAnswer, HttpClient
from conduit.utils import base64

Json = dict[str, Any]

SECONDS = 20.0
MAX_ANSWER = 256 * 1024
MAX_TOKEN = 255
MAX_KEYS = 16
_API = "/_matrix/identity/v2"


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """An invite that waits at an identity server. `public_keys` have `public_key` and mostly `key_validity_url`; there is at least one."""

    token: str
    display_name: str
    public_keys: tuple[Json, ...]


class IdentityServer:
    """One identity server. Every method raises a `RemoteError`: `Refused` with what the server says, `Unreachable` if it says nothing of use."""

    def __init__(self, http: HttpClient, name: str, token: str = "") -> None:
        """Name it by its host and perhaps port; `token` is the user's access token there. Raises `InvalidParam` for what is no such name."""
        if not is_server_name(name):
            raise InvalidParam("'id_server' is the host name of an identity server, perhaps with a port")
        self.name = name
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if any(ord(character) < 0x21 or ord(character) > 0x7E for character in token):
            raise InvalidParam("'id_access_token' is no access token")

    async def look_up(self, threepid: ThreePid) -> str | None:
        """Return the Matrix ID that is bound to an identifier, unchecked; the identifier is sent as a hash, if the server knows those."""
        details = await self._ask("GET", "/hash_details")
        pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
        if not isinstance(pepper, str) or not isinstance(algorithms, list):
            raise Unreachable(self.name, "it does not say how to look up")
        if "sha256" in algorithms:
            algorithm, address = "sha256", hashed(threepid, pepper)
        elif "none" in algorithms:
            algorithm, address = "none", f"{threepid.address} {threepid.medium}"
        else:
            raise Unreachable(self.name, "it knows no way of looking up that is known here")
        wanted = {"algorithm": algorithm, "pepper": pepper, "addresses": [address]}
        mappings = (await self._ask("POST", "/lookup", wanted)).get("mappings")
        found = mappings.get(address) if isinstance(mappings, dict) else None
        return found if isinstance(found, str) else None

    async def store_invite(self, threepid: ThreePid, details: Json) -> StoredInvite:
        """Have an invite kept for whoever binds the identifier, and a mail sent; `details` say who invites where."""
        answer = await self._ask("POST", "/store-invite", {**details, **threepid._asdict()})
        token, name, listed = answer.get("token"), answer.get("display_name"), answer.get("public_keys")
        keys = tuple(key for entry in (listed if isinstance(listed, list) else []) if (key := _public_key(entry)))
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN or not keys:
            raise Unreachable(self.name, "it gives no token and no keys for the invite")
        return StoredInvite(token, name if isinstance(name, str) else "", keys[:MAX_KEYS])

    async def bind(self, user_id: str, sid: str, client_secret: str) -> ThreePid:
        """Publish that the user has the identifier which the session has validated, and return it."""
        answer = await self._ask("POST", "/3pid/bind", {"sid": sid, "client_secret": client_secret, "mxid": user_id})
        medium, address = answer.get("medium"), answer.get("address")
        if not isinstance(medium, str) or not isinstance(address, str):
            raise Unreachable(self.name, "it does not say what it has bound")
        return ThreePid(medium, address)

    async def unbind(self, federation: FederationClient, user_id: str, threepid: ThreePid) -> bool:
        """Have a binding forgotten, on this server's word, which is signed. `False` stands for a server that does not do that."""
        body = {"mxid": user_id, "threepid": threepid._asdict()}
        target = f"{_API}/3pid/unbind"
        authorization = federation.authorization("POST", self.name, target, dump(body))
        try:
            await self._ask("POST", "/3pid/unbind", body, {"Authorization": authorization})
        except Refused as refused:
            if "errcode" not in refused.body:
                return False
            raise
        return True

    async def _ask(self, method: str, path: str, body: Json | None = None, headers: Json | None = None) -> Json:
        wanted = {"Accept": "application/json", **(self._headers if headers is None else headers)}
        if body is not None:
            wanted["Content-Type"] = "application/json"
        content = dump(body) if body is not None else None
        url = f"https://{self.name}{_API}{path}"
        answer = await _request(self._http, method, self.name, url, wanted, content)
        if 200 <= answer.status < 300:
            return parse(self.name, answer.body)
        try:
            said = parse(self.name, answer.body)
        except Unreachable:
            said = {}
        # 501 is how a server says that it does not unbind.
        if 400 <= answer.status < 500 or answer.status == 501:
            raise Refused(self.name, answer.status, said)
        raise Unreachable(self.name, f"it answered {answer.status}")


def hashed(threepid: ThreePid, pepper: str) -> str:
    """Return what stands for an identifier in a look-up with `sha256`."""
    text = f"{threepid.address} {threepid.medium} {pepper}"
    return base64.encode_urlsafe(hashlib.sha256(text.encode()).digest())


async def is_key_valid(http: HttpClient, url: str, public_key: str) -> bool:
    """Tell whether a key still counts, by what its `key_validity_url` says. Raises `Unreachable`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme != "https":
        raise Unreachable(host or "", "the URL for the validity of a key is none, or not of https")
    query = "&".join(part for part in (parts.query, urlencode({"public_key": public_key})) if part)
    asked = parts._replace(query=query, fragment="").geturl()
    answer = await _request(http, "GET", host, asked, {"Accept": "application/json"}, None)
    if answer.status != 200:
        raise Unreachable(host, f"it answered {answer.status}")
    return parse(host, answer.body).get("valid") is True


async def _request(
    http: HttpClient, method: str, name: str, url: str, headers: dict[str, str], content: bytes | None
) -> HttpAnswer:
    try:
        return await http.request(method, url, headers=headers, body=content, seconds=SECONDS, max_bytes=MAX_ANSWER)
    except HttpFailed as error:
        raise Unreachable(name, error.reason) from error


def _public_key(entry: object) -> Json | None:
    """Return an entry of `public_keys` with nothing but what the event may have; `None` for a malformed one."""
    if not isinstance(entry, dict) or not isinstance(entry.get("public_key"), str):
        return None
    url = entry.get("key_validity_url")
    key = {"public_key": entry["public_key"]}
    return {**key, "key_validity_url": url} if isinstance(url, str) else key
