"""Registration tokens: the one of the configuration, those that administrators issue, and the first administrator's.

Source: client-server API, "Token-authenticated registration".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden, InvalidParam
from conduit.service.users import accounts
from conduit.utils.tokens import random_text

NEW_LENGTH = 16
# Appendices, "Opaque Identifiers".
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)

RegistrationToken = dict[str, Any]
"""`uses_allowed` and `expires_at` (ms), where limited, and `completed`: how many accounts were made with it."""


def is_valid(source: CacheSource, token: str, *, configured: str | None, now_ms: int) -> bool:
    """Tell whether an account can be made with `token` now. `configured` is the configuration's."""
    for fixed in (configured, accounts.first_token(source)):
        if fixed and hmac.compare_digest(fixed.encode(), token.encode()):
            return True
    row = trees.registration_token.get(source, token) if _TOKEN.fullmatch(token) else None
    return row is not None and _is_usable(row, now_ms)


def any_issued(source: CacheSource, now_ms: int) -> bool:
    """Tell whether there is a token, besides the configuration's, with which an account could be made now."""
    if accounts.first_token(source) is not None:
        return True
    return any(_is_usable(row, now_ms) for _, row in trees.registration_token.scan(source))


def use(batch: Batch, token: str, *, configured: str | None, now_ms: int) -> None:
    """Count an account made with `token`. Raises `Forbidden` if it was used up while the client went through its stages."""
    if not is_valid(batch, token, configured=configured, now_ms=now_ms):
        raise Forbidden("The registration token is not valid any more")
    row = trees.registration_token.get(batch, token)
    if row is not None:
        trees.registration_token.put(batch, token, {**row, "completed": row.get("completed", 0) + 1})


def create(
    batch: Batch, token: str | None = None, *, uses_allowed: int | None = None, expires_at: int | None = None
) -> str:
    """Issue a token, drawn at random unless given, and return it. Raises `InvalidParam` for a malformed or existing one."""
    token = token if token is not None else random_text(NEW_LENGTH)
    if not _TOKEN.fullmatch(token):
        raise InvalidParam("A registration token has 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -")
    if trees.registration_token.has(batch, token):
        raise InvalidParam("That registration token exists already")
    row: RegistrationToken = {"completed": 0}
    if uses_allowed is not None:
        row["uses_allowed"] = uses_allowed
    if expires_at is not None:
        row["expires_at"] = expires_at
    trees.registration_token.put(batch, token, row)
    return token


def delete(batch: Batch, token: str) -> bool:
    """Withdraw a token; return whether there was one."""
    if not trees.registration_token.has(batch, token):
        return False
    trees.registration_token.delete(batch, token)
    return True


def issued(source: CacheSource) -> Iterator[tuple[str, RegistrationToken]]:
    """Return all tokens that administrators have issued, used up and expired ones too."""
    return trees.registration_token.scan(source)


def _is_usable(row: RegistrationToken, now_ms: int) -> bool:
    uses_allowed, expires_at = row.get("uses_allowed"), row.get("expires_at")
    if uses_allowed is not None and row.get("completed", 0) >= uses_allowed:
        return False
    return expires_at is None or now_ms < expires_at
