"""The server's own secret, drawn at random on first use: what is signed or sealed with it cannot be made up, or read, by anybody else."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from conduit.database import trees
from conduit.database.database import Database
from conduit.utils import base64

_KEY = b"conduit_py.secret"
_BYTES = 32


def mac(db: Database, purpose: str, data: bytes) -> str:
    """Return 40 hex digits that only this server can make of `data`; different purposes never give the same."""
    return _derive(db, b"mac\0" + purpose.encode() + b"\0" + data).hex()[:40]


def seal(db: Database, purpose: str, data: bytes) -> str:
    """Return `data` encrypted, as URL-safe text that only this server can read."""
    return base64.encode_urlsafe(_box(db, purpose).encrypt(data))


def unseal(db: Database, purpose: str, text: str) -> bytes:
    """Return what `seal` was given. Raises `ValueError` for anything else."""
    try:
        return bytes(_box(db, purpose).decrypt(base64.decode_urlsafe(text)))
    except CryptoError as error:
        raise ValueError("this was not sealed here") from error


def _box(db: Database, purpose: str) -> SecretBox:
    return SecretBox(_derive(db, b"seal\0" + purpose.encode()))


def _derive(db: Database, data: bytes) -> bytes:
    key = trees.global_.get(db, _KEY)
    if key is None:
        key = secrets.token_bytes(_BYTES)
        with db.batch() as batch:
            trees.global_.put(batch, _KEY, key)
    return hmac.new(key, data, hashlib.sha256).digest()
