"""Who this server is: its name, which never changes, and the key with which it signs. Both are kept in the database."""

from __future__ import annotations

import secrets

import orjson

from conduit.database import trees
from conduit.database.database import Batch, Database
from conduit.database.errors import Corrupt, Foreign
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import SEED_BYTES, OldKey, SigningKey
from conduit.utils.tokens import random_text

KEYPAIR = b"keypair"
"""Conduit's key: the version, 0xff, the key as PKCS#8."""
OLD_KEYS = b"conduit_py.old_keys"
"""Keys that no longer sign, as JSON: key id -> {key, expired_ts}."""
SERVER_NAME = b"conduit_py.server_name"
_SEPARATOR = b"\xff"
_VERSION_LENGTH = 8


def settle_server_name(db: Database, server_name: ServerName) -> None:
    """Remember the server's name in a new database. Raises `Foreign` if the database belongs to another server.

    What Conduit has written does not hold the name; there its own account tells, `@conduit:<name>`, or any account at all.
    """
    stored = trees.global_.get(db, SERVER_NAME)
    known = stored.decode() if stored is not None else _name_in_accounts(db, server_name)
    if known is not None and known != server_name:
        raise Foreign(
            f"it belongs to the server {known}, and server_name is {server_name}: a server's name can never change, "
            "as it is part of every user, room and event"
        )
    if stored is None:
        with db.batch() as batch:
            trees.global_.put(batch, SERVER_NAME, server_name.encode())


def _name_in_accounts(db: Database, server_name: ServerName) -> str | None:
    if trees.userid_password.has(db, f"@conduit:{server_name}"):
        return server_name
    first = trees.userid_password.first(db)
    if first is None:
        return None
    name: str = first[0].partition(":")[2]
    return name or None


def signing_key(db: Database) -> SigningKey:
    """Return the server's signing key, made now if there is none."""
    stored = trees.global_.get(db, KEYPAIR)
    if stored is not None:
        version, _, der = stored.partition(_SEPARATOR)
        try:
            return SigningKey.from_pkcs8(der, version.decode("ascii"))
        except ValueError as error:
            raise Corrupt("global", KEYPAIR, str(error)) from None
    key = _new_key()
    with db.batch() as batch:
        _store(batch, key)
    return key


def old_keys(db: Database) -> dict[str, OldKey]:
    """Return the keys that this server signed with before, by key id."""
    stored = trees.global_.get(db, OLD_KEYS)
    if stored is None:
        return {}
    try:
        return {key_id: OldKey(row["key"], row["expired_ts"]) for key_id, row in orjson.loads(stored).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt("global", OLD_KEYS, str(error)) from None


def rotate_signing_key(db: Database, now_ms: int) -> SigningKey:
    """Return a new signing key, which replaces the present one; that is listed among the old ones from `now_ms` on.

    A server that runs must be told (`OwnKeys.change`) before it signs again.
    """
    former = signing_key(db)
    listed = {**old_keys(db), former.key_id: OldKey(former.public_key, now_ms)}
    key = _new_key()
    with db.batch() as batch:
        _store(batch, key)
        rows = {key_id: {"key": old.public_key, "expired_ts": old.expired_ts} for key_id, old in listed.items()}
        trees.global_.put(batch, OLD_KEYS, orjson.dumps(rows))
    return key


def _new_key() -> SigningKey:
    return SigningKey(secrets.token_bytes(SEED_BYTES), random_text(_VERSION_LENGTH))


def _store(batch: Batch, key: SigningKey) -> None:
    trees.global_.put(batch, KEYPAIR, key.version.encode() + _SEPARATOR + key.to_pkcs8())
