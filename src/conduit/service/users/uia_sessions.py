"""The sessions of user-interactive authentication, which the client keeps for us.

A session's id is `time.nonce.mac`, and `time.nonce.mac.sealed` where parameters are remembered. `time` is when it was opened (ms, hexadecimal); the MAC is over
all the rest and over who asked for what, so that it is worth nothing for another request; `sealed` are the parameters of the first request, encrypted, so that a password
among them is never stored here. A row is written only for a session of which some but not all stages are complete, and for one that has had its
result: who repeats the request is given it again.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

import orjson

from conduit.database import trees
from conduit.database.database import Batch, Database
from conduit.protocol.errors import Forbidden, InvalidParam
from conduit.protocol.ids import UserId
from conduit.service.users import secret
from conduit.utils.tokens import random_text

LIFETIME_MS = 30 * 60_000
MAX_REMEMBERED = 2048
"""Bytes of parameters that are remembered; a longer request must be repeated in full."""

Key = tuple[str, str, str]
"""Of the row: user, device, session id without what is sealed."""


@dataclass(slots=True)
class Proof:
    """What a session has proved so far.

    `notes` is what a stage wants to hand to the endpoint, such as the registration token. `params` are the parameters of the request, with
    those of the first one where the session remembers them. `result` is what `keep_result` has kept.
    """

    caller: UserId
    completed: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    key: Key | None = None


@dataclass(slots=True)
class Session:
    """A session of the request that is being answered. `subject` says whose request it is and what it asks for."""

    db: Database
    user_id: UserId
    device_id: str
    subject: bytes
    now_ms: int
    id: str = ""
    sealed: str = ""

    def open(self, remember: dict[str, Any]) -> None:
        """Begin a session, which remembers the parameters `remember`."""
        data = orjson.dumps(remember) if remember else b""
        if data and len(data) <= MAX_REMEMBERED:
            self.sealed = secret.seal(self.db, "uia", data)
        head = f"{self.now_ms:x}.{random_text(12)}"
        self.id = f"{head}.{self._mac(head)}"

    def resume(self, text: Any) -> bool:
        """Take over the session that the client names. `False` if its time is over; `Forbidden` if it is not for this request."""
        if not isinstance(text, str):
            raise InvalidParam("'session' must be a string")
        parts = text.split(".")
        opened = _opened_at(parts)
        if opened is None:
            raise Forbidden("No such session")
        self.id = ".".join(parts[:3])
        self.sealed = parts[3] if len(parts) == 4 else ""
        if not hmac.compare_digest(parts[2].encode(), self._mac(f"{parts[0]}.{parts[1]}").encode()):
            raise Forbidden("This session was not opened for this request")
        return 0 <= self.now_ms - opened <= LIFETIME_MS

    @property
    def text(self) -> str:
        """The id as the client has it."""
        return f"{self.id}.{self.sealed}" if self.sealed else self.id

    @property
    def key(self) -> Key:
        """The key of its row."""
        return self.user_id, self.device_id, self.id

    def remembered(self) -> dict[str, Any]:
        """Return the parameters that the session was opened with."""
        if not self.sealed:
            return {}
        params: dict[str, Any] = orjson.loads(secret.unseal(self.db, "uia", self.sealed))
        return params

    def load(self) -> Proof:
        """Return what has been proved."""
        row = trees.userdevicesessionid_uiaainfo.get(self.db, self.key)
        if row is None:
            return Proof(self.user_id, key=self.key)
        return Proof(self.user_id, row["completed"], row["notes"], result=row.get("result"), key=self.key)

    def store(self, proof: Proof) -> None:
        """Keep what has been proved until the next stage."""
        with self.db.batch() as batch:
            row = {"completed": proof.completed, "notes": proof.notes}
            trees.userdevicesessionid_uiaainfo.put(batch, self.key, row)

    def end(self) -> None:
        """Forget what has been proved: it has been used."""
        if trees.userdevicesessionid_uiaainfo.has(self.db, self.key):
            with self.db.batch() as batch:
                trees.userdevicesessionid_uiaainfo.delete(batch, self.key)

    def _mac(self, head: str) -> str:
        return secret.mac(self.db, "uia", b"\0".join((head.encode(), self.sealed.encode(), self.subject)))


def keep_result(batch: Batch, proof: Proof, result: dict[str, Any]) -> None:
    """Let whoever repeats the request with the same session have `result` in `Proof.result`. It must hold no secret."""
    if proof.key is not None:
        row = {"completed": proof.completed, "notes": {}, "result": result}
        trees.userdevicesessionid_uiaainfo.put(batch, proof.key, row)


def sweep(batch: Batch, now_ms: int) -> None:
    """Delete the rows of sessions whose time is over, and of those that Conduit has left."""
    for key, _ in list(trees.userdevicesessionid_uiaainfo.scan(batch)):
        opened = _opened_at(key[2].split("."))
        if opened is None or now_ms - opened > LIFETIME_MS:
            trees.userdevicesessionid_uiaainfo.delete(batch, key)


def _opened_at(parts: list[str]) -> int | None:
    if len(parts) not in (3, 4) or not all(part.isascii() for part in parts) or not 1 <= len(parts[0]) <= 12:
        return None
    try:
        return int(parts[0], 16)
    except ValueError:
        return None
