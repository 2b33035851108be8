"""The server's own secret, drawn at random on first use: what is signed with it cannot be made up by anybody else."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from conduit.database import trees
from conduit.database.database import Database

_KEY = b"conduit_py.secret"
_BYTES = 32


def mac(db: Database, purpose: str, data: bytes) -> str:
    """Return 40 hex digits that only this server can make of `data`; different purposes never give the same."""
    key = trees.global_.get(db, _KEY)
    if key is None:
        key = secrets.token_bytes(_BYTES)
        with db.batch() as batch:
            trees.global_.put(batch, _KEY, key)
    return hmac.new(key, purpose.encode() + b"\0" + data, hashlib.sha256).hexdigest()[:40]
