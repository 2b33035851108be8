"""What is known of another server's signing keys: read from its key object, checked, merged with what was known, stored.

A key that a server once published stays known for what it signed while it was valid, whether or not the server still lists it.

Source: server-server API, "Publishing Keys"; definitions/keys.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.ids import is_server_name
from conduit.protocol.signing import ALGORITHM, PUBLIC_KEY_BYTES, signature_of, verify
from conduit.utils import base64

Json = dict[str, Any]

LONGEST_VALIDITY_MS = 7 * 24 * 3_600_000
"""However long a server says that its keys hold, they are asked for again after a week."""
MAX_KEYS = 50
"""Keys taken from one object; nobody has that many."""
MAX_OLDER = 5
"""Former objects that are kept."""
OURS = "conduit_py"
"""The part of a stored row that is not the server's own object."""
_KEY_ID = re.compile(ALGORITHM + r":[A-Za-z0-9_.=/+-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key, and until when signatures made with it count."""

    public_key: bytes
    valid_until: int
    """In ms. For a current key when it must be asked for again, for an old one when it stopped."""
    current: bool
    """Whether it may sign requests."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """All keys known of one server."""

    server: str
    keys: Mapping[str, KnownKey]
    """By key id."""
    document: Json
    """The newest object as the server signed it."""
    fetched_at: int
    """In ms."""
    valid_until: int
    """In ms, at most a week after it was fetched."""
    older: tuple[Json, ...] = ()
    """Former objects with keys that the newest no longer lists, newest first: what a notary shows of them."""

    def documents(self, key_ids: Iterable[str]) -> list[Json]:
        """Return the newest object, and before it those older ones with keys of these ids that it does not list."""
        found: list[Json] = []
        listed = _listed(self.document)
        for key_id in key_ids:
            if key_id in listed:
                continue
            document = next((document for document in self.older if key_id in _listed(document)), None)
            if document is not None and document not in found:
                found.append(document)
        return [*found, self.document]

    def find(self, key_id: str, valid_at: int | None) -> bytes | None:
        """Return the key if it is known and valid at that time (`None`: whatever the time)."""
        key = self.keys.get(key_id)
        if key is None or (valid_at is not None and valid_at > key.valid_until):
            return None
        return key.public_key

    def row(self) -> Json:
        """Return the row for the database: Conduit's form, with what it has no place for under a key of ours."""
        known = {
            key_id: {"key": base64.encode(key.public_key), "until": key.valid_until, "current": key.current}
            for key_id, key in self.keys.items()
        }
        ours = {"fetched_at": self.fetched_at, "known": known}
        if self.older:
            ours["older"] = list(self.older)
        return {**self.document, OURS: ours}


class BadKeys(Exception):
    """A key object that cannot be taken; the message says why."""


def read_document(document: Any, server: str, *, now_ms: int, ignored: Iterable[bytes]) -> ServerKeys:
    """Return the keys of a server's object that it signed itself. Raises `BadKeys`.

    Keys of other algorithms and those in `ignored` are passed over.
    """
    if not isinstance(document, dict):
        raise BadKeys("they are no object")
    named = document.get("server_name")
    if named != server:
        whose = f"those of {named}" if isinstance(named, str) and is_server_name(named) else "those of nobody"
        raise BadKeys(f"they are {whose}, not of {server}")
    valid_until = document.get("valid_until_ts")
    if type(valid_until) is not int or not 0 <= valid_until <= MAX_INTEGER:
        raise BadKeys("valid_until_ts is no time")
    valid_until = min(valid_until, now_ms + LONGEST_VALIDITY_MS)
    ignored = frozenset(ignored)
    keys: dict[str, KnownKey] = {}
    for key_id, entry in _entries(document, "old_verify_keys"):
        public_key, expired = _public_key(entry), entry.get("expired_ts")
        if (
            public_key is not None
            and public_key not in ignored
            and type(expired) is int
            and 0 <= expired <= MAX_INTEGER
        ):
            keys[key_id] = KnownKey(public_key, expired, False)
    signed = False
    for key_id, entry in _entries(document, "verify_keys"):
        public_key = _public_key(entry)
        if public_key is None or public_key in ignored:
            continue
        # Each current key that has signed must have signed well; one at least has.
        if signature_of(document, server, key_id) is not None:
            if not verify(document, server, key_id, base64.encode(public_key)):
                raise BadKeys(f"the signature by {key_id} is wrong")
            signed = True
        keys[key_id] = KnownKey(public_key, valid_until, True)
    if not signed:
        raise BadKeys("none of its current keys has signed it")
    return ServerKeys(server, keys, document, now_ms, valid_until)


def read_row(row: Json, server: str, *, ignored: Iterable[bytes]) -> ServerKeys | None:
    """Return the keys in a stored row, ours or Conduit's (which were checked before they were stored); `None` if it is damaged."""
    document = {key: value for key, value in row.items() if key != OURS}
    extra = row.get(OURS)
    ignored = frozenset(ignored)
    keys: dict[str, KnownKey] = {}
    valid_until = document.get("valid_until_ts")
    if type(valid_until) is not int:
        return None
    if not isinstance(extra, dict):
        # Conduit's: when it was fetched is not known, so it is asked for again at once where validity counts.
        for key_id, entry in _entries(document, "verify_keys"):
            public_key = _public_key(entry)
            if public_key is not None and public_key not in ignored:
                keys[key_id] = KnownKey(public_key, valid_until, True)
        for key_id, entry in _entries(document, "old_verify_keys"):
            public_key, expired = _public_key(entry), entry.get("expired_ts")
            if public_key is not None and public_key not in ignored and type(expired) is int:
                keys[key_id] = KnownKey(public_key, expired, False)
        return ServerKeys(server, keys, document, 0, valid_until)
    for key_id, entry in extra["known"].items():
        public_key = _public_key(entry)
        if public_key is not None and public_key not in ignored:
            keys[key_id] = KnownKey(public_key, entry["until"], entry["current"])
    fetched_at = extra["fetched_at"]
    until = min(valid_until, fetched_at + LONGEST_VALIDITY_MS)
    return ServerKeys(server, keys, document, fetched_at, until, tuple(extra.get("older", ())))


def merge(known: ServerKeys | None, fresh: ServerKeys, *, direct: bool) -> ServerKeys:
    """Return what is known after `fresh` was received: `direct` from the server, or from a notary, which may have an older object.

    What the newer object no longer lists stays as an old key, valid as long as it was said to be.
    """
    if known is None:
        return fresh
    is_older = not direct and fresh.valid_until < known.valid_until
    newest, other = (known, fresh) if is_older else (fresh, known)
    keys = dict(newest.keys)
    for key_id, key in other.keys.items():
        listed = keys.get(key_id)
        if listed is None and len(keys) < 2 * MAX_KEYS:
            keys[key_id] = KnownKey(key.public_key, key.valid_until, False)
        elif listed is not None and listed.current and listed.public_key == key.public_key:
            keys[key_id] = KnownKey(key.public_key, max(key.valid_until, listed.valid_until), True)
    older = _worth_keeping(newest.document, (other.document, *known.older))
    return ServerKeys(fresh.server, keys, newest.document, fresh.fetched_at, newest.valid_until, older)


def _worth_keeping(newest: Json, former: Iterable[Json]) -> tuple[Json, ...]:
    kept: list[Json] = []
    listed = _listed(newest)
    for document in former:
        ids = _listed(document)
        if not ids <= listed and len(kept) < MAX_OLDER:
            kept.append(document)
            listed |= ids
    return tuple(kept)


def _listed(document: Json) -> set[str]:
    """Return the ids of all keys, current and old, that an object lists."""
    return {key_id for field in ("verify_keys", "old_verify_keys") for key_id, _ in _entries(document, field)}


def _entries(document: Json, field: str) -> list[tuple[str, Json]]:
    entries = document.get(field)
    if not isinstance(entries, dict):
        return []
    return [
        (key_id, entry)
        for key_id, entry in list(entries.items())[:MAX_KEYS]
        if isinstance(entry, dict) and _KEY_ID.fullmatch(key_id)
    ]


def _public_key(entry: Json) -> bytes | None:
    text = entry.get("key")
    try:
        raw = base64.decode(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return raw if len(raw) == PUBLIC_KEY_BYTES else None
