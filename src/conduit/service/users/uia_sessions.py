"""The sessions of user-interactive authentication, which the client keeps for us.

A session's id is `time.nonce.mac`, and `time.nonce.mac.sealed` where parameters are remembered. `time` is when it was opened (ms, hexadecimal); the MAC is over
all the rest and over who asked for what, so that it is worth nothing for another request; `sealed` are the parameters of the first request, encrypted, so that a password
among them is never stored here. A row is written only for a session of which some but not all stages are complete, and for one that has had its
result: who repeats the request is given it again. A stage that was completed on a fallback page has a row of its own, under no user: that page knows nothing of
the request. It counts once the session has shown to be one for the request at hand.
"""

from __future__ import annotations

import hmac
import re
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

_ID = re.compile(r"[0-9a-f]{1,12}\.[A-Za-z0-9]{12}\.[0-9a-f]{40}", re.ASCII)

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
        """Return what has been proved, on fallback pages too."""
        row = trees.userdevicesessionid_uiaainfo.get(self.db, self.key) or {"completed": [], "notes": {}}
        proof = Proof(self.user_id, row["completed"], row["notes"], result=row.get("result"), key=self.key)
        beside = trees.userdevicesessionid_uiaainfo.get(self.db, _beside(self.id)) or {}
        for stage, notes in beside.items():
            # Who has proved there to be somebody else has proved nothing here.
            if stage not in proof.completed and notes.get("user", self.user_id) == self.user_id:
                proof.completed.append(stage)
                proof.notes.update(notes)
        return proof

    def store(self, proof: Proof) -> None:
        """Keep what has been proved until the next stage."""
        with self.db.batch() as batch:
            row = {"completed": proof.completed, "notes": proof.notes}
            trees.userdevicesessionid_uiaainfo.put(batch, self.key, row)

    def end(self) -> None:
        """Forget what has been proved: it has been used."""
        keys = (self.key, _beside(self.id))
        if any(trees.userdevicesessionid_uiaainfo.has(self.db, key) for key in keys):
            with self.db.batch() as batch:
                for key in keys:
                    trees.userdevicesessionid_uiaainfo.delete(batch, key)

    def _mac(self, head: str) -> str:
        return secret.mac(self.db, "uia", b"\0".join((head.encode(), self.sealed.encode(), self.subject)))


def keep_result(batch: Batch, proof: Proof, result: dict[str, Any]) -> None:
    """Let whoever repeats the request with the same session have `result` in `Proof.result`. It must hold no secret."""
    if proof.key is not None:
        row = {"completed": proof.completed, "notes": {}, "result": result}
        trees.userdevicesessionid_uiaainfo.put(batch, proof.key, row)


def check_open(text: str, now_ms: int) -> str:
    """Return the id of the session that `text` names, going by its looks. Raises `InvalidParam` if it cannot be one, or its time is over."""
    parts = text.split(".")
    session_id, opened = ".".join(parts[:3]), _opened_at(parts)
    if opened is None or not _ID.fullmatch(session_id) or not 0 <= now_ms - opened <= LIFETIME_MS:
        raise InvalidParam("There is no such session any more; please start again")
    return session_id


def complete_beside(batch: Batch, session_id: str, stage: str, notes: dict[str, Any]) -> None:
    """Complete a stage without the request that it is for. `notes` are as those of `Proof`; where they have a `user`, it counts for that one only."""
    completed = trees.userdevicesessionid_uiaainfo.get(batch, _beside(session_id)) or {}
    trees.userdevicesessionid_uiaainfo.put(batch, _beside(session_id), {**completed, stage: notes})


def _beside(session_id: str) -> Key:
    return "", "", session_id


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
