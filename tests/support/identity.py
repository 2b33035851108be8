"""An identity server on loopback, over real HTTPS, as the identity service API has it.

async with identity_server(tmp_path) as ident, serve(**ident.settings) as hs:
    ident.bound[("email", "bob@mail.test")] = "@bob:localhost"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from conduit.protocol.signing import SigningKey
from conduit.utils import base64
from tests.service.outbound.loopback import site
from tests.support.certificates import Authority

Json = dict[str, Any]
TOKEN = "swordfish"
PEPPER = "matrixrocks"
API = "/_matrix/identity/v2"


class Identity:
    """The running server, and what it knows."""

    def __init__(self) -> None:
        self.name = ""
        self.settings: Json = {}
        """What a homeserver needs to be able to ask it."""
        self.key = SigningKey(b"i" * 32, "0")
        self.bound: dict[tuple[str, str], str] = {}
        self.invites: list[Json] = []
        self.sessions: dict[str, tuple[str, str]] = {}
        self.asked: list[tuple[str, Any, str]] = []
        """(path, body, Authorization) of every request."""
        self.answers: dict[str, Any] = {}
        """path -> (status, body) that is answered instead."""
        self.valid = True
        self.algorithms = ["none", "sha256"]

    def proof(self, mxid: str, token: str) -> Json:
        """Return what it signs for who has bound an invited identifier."""
        return self.key.sign_json({"mxid": mxid, "token": token}, self.name)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        path = request.path.removeprefix(API)
        body = json.loads(await request.read() or b"null")
        authorization = request.headers.get("Authorization", "")
        self.asked.append((path, body, authorization))
        if path in self.answers:
            status, text = self.answers[path]
            return web.Response(status=status, text=text if isinstance(text, str) else json.dumps(text))
        if path == "/pubkey/isvalid":
            return web.json_response({"valid": self.valid and request.query["public_key"] == self.key.public_key})
        if path == "/3pid/unbind":
            key = (body["threepid"]["medium"], body["threepid"]["address"])
            assert self.bound.pop(key) == body["mxid"]
            return web.json_response({})
        if authorization != f"Bearer {TOKEN}":
            return web.json_response({"errcode": "M_UNAUTHORIZED", "error": "who?"}, status=401)
        return web.json_response(self._known(path, body))

    def _known(self, path: str, body: Any) -> Json:
        if path == "/hash_details":
            return {"lookup_pepper": PEPPER, "algorithms": self.algorithms}
        if path == "/lookup":
            assert body["pepper"] == PEPPER
            known = {self._form(body["algorithm"], *key): mxid for key, mxid in self.bound.items()}
            return {"mappings": {sent: known[sent] for sent in body["addresses"] if sent in known}}
        if path == "/store-invite":
            self.invites.append(body)
            key = {"public_key": self.key.public_key, "key_validity_url": f"https://{self.name}{API}/pubkey/isvalid"}
            return {"token": f"token{len(self.invites)}", "display_name": "b...@m...", "public_keys": [key]}
        assert path == "/3pid/bind"
        medium, address = self.sessions[body["sid"]]
        self.bound[(medium, address)] = body["mxid"]
        return {"medium": medium, "address": address, "mxid": body["mxid"]}

    @staticmethod
    def _form(algorithm: str, medium: str, address: str) -> str:
        if algorithm == "none":
            return f"{address} {medium}"
        return base64.encode_urlsafe(hashlib.sha256(f"{address} {medium} {PEPPER}".encode()).digest())


@asynccontextmanager
async def identity_server(folder: Path) -> AsyncIterator[Identity]:
    """Run an identity server; `folder` is for its certificate."""
    identity = Identity()
    authority = Authority.in_folder(folder)
    async with site(identity.answer, authority=authority) as there:
        identity.name = there.host
        identity.settings = {"federation_ca_file": authority.file, "ip_range_denylist": ()}
        yield identity
