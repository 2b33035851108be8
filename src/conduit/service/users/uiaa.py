"""User-interactive authentication: a request is repeated with proofs until a flow is complete.

A session is not stored: its id carries the time at which it was opened and a MAC over who asked for what, so asking costs the server
nothing and a proof counts only for the request it was given for. What the client sends to prove itself, passwords above all, is
checked and dropped. Only a session of which some but not all stages are complete has a row, until it ends.

Source: client-server API, "User-Interactive Authentication API".
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from conduit.config.schema import Config
from conduit.database import trees
from conduit.database.database import Batch, Database
from conduit.protocol.errors import Forbidden, InvalidParam, LimitExceeded, MatrixError
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import accounts, identifiers, secret
from conduit.service.users.passwords import Hasher
from conduit.utils.clock import Clock
from conduit.utils.tokens import random_text

PASSWORD = "m.login.password"
DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"

SESSION_LIFETIME_MS = 30 * 60_000

Flows = Sequence[Sequence[str]]
PASSWORD_FLOWS: Flows = ((PASSWORD,),)


class Owners(Protocol):
    """What is needed of the context, which stands above this floor."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...

    @property
    def server_name(self) -> ServerName:
        """The name of this server."""
        ...

    @property
    def db(self) -> Database:
        """The database."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def hasher(self) -> Hasher:
        """The pool that verifies passwords."""
        ...


class _Caller(Protocol):
    @property
    def user_id(self) -> UserId: ...
    @property
    def device_id(self) -> str: ...


class InteractiveRequest(Protocol):
    """What is needed of a request: the API's `Request` fits."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        ...

    @property
    def path(self) -> str:
        """The path as it was sent."""
        ...

    @property
    def requester(self) -> _Caller | None:
        """Who asks; `None` where no access token is needed."""
        ...

    def json(self, optional: bool = False) -> dict[str, Any]:
        """Return the body."""
        ...


class AuthenticationRequired(MatrixError):
    """The 401 that says what is to be proved; with an `error` if a proof was not accepted."""

    errcode = "M_UNAUTHORIZED"
    default_status = 401

    def __init__(self, answer: dict[str, Any], failure: MatrixError | None = None) -> None:
        super().__init__(failure.error if failure else "Further authentication is required")
        self.answer = answer
        if failure is not None:
            answer["errcode"] = failure.errcode
            answer["error"] = failure.error

    def body(self) -> dict[str, Any]:
        """Return the JSON object that the client receives."""
        return self.answer


@dataclass(slots=True)
class Proof:
    """What a session has proved so far. `notes` is what a stage wants to hand to the endpoint, such as the registration token."""

    caller: UserId
    completed: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


Check = Callable[[Owners, Mapping[str, Any], Proof], Awaitable[None]]
"""Checks one stage's `auth` object; raises a `MatrixError` if it proves nothing."""


async def require(
    ctx: Owners,
    req: InteractiveRequest,
    *,
    flows: Flows = PASSWORD_FLOWS,
    checks: Mapping[str, Check] | None = None,
    same_body: bool = True,
) -> Proof:
    """Return once the request has proved itself by one of `flows`; raise `AuthenticationRequired` until then.

    By default the caller must give their password. `same_body` holds the client to the parameters for which the session was opened; without it only method, path and
    caller are held (registration, where clients ask for the flows first). Raises `Forbidden` for a session of another request.
    """
    body = req.json(optional=True)
    auth = body.get("auth")
    session = _Session.of(ctx, req, flows, {k: v for k, v in body.items() if k != "auth"} if same_body else {})
    if auth is None:
        raise session.challenge(Proof(session.user_id))
    if not isinstance(auth, dict):
        raise InvalidParam("'auth' must be an object")
    given = auth.get("session")
    if given is not None and not session.resume(given):
        raise session.challenge(Proof(session.user_id))
    proof = session.load()
    kind = auth.get("type")
    if kind is not None and kind not in proof.completed:
        check = (checks or {}).get(kind) or _CHECKS.get(kind)
        if check is None or not _is_next(flows, proof.completed, kind):
            raise session.challenge(proof, Forbidden("That stage is not asked for now"))
        try:
            await check(ctx, auth, proof)
        except LimitExceeded:
            raise
        except MatrixError as failure:
            raise session.challenge(proof, failure) from failure
        proof.completed.append(kind)
    if not any(all(stage in proof.completed for stage in flow) for flow in flows):
        if kind is not None:
            session.store(proof)
        raise session.challenge(proof)
    session.end()
    return proof


def sweep(batch: Batch, now_ms: int) -> None:
    """Delete the rows of sessions whose time is over, and of those that Conduit has left."""
    for key, _ in list(trees.userdevicesessionid_uiaainfo.scan(batch)):
        opened = _opened_at(key[2])
        if opened is None or now_ms - opened > SESSION_LIFETIME_MS:
            trees.userdevicesessionid_uiaainfo.delete(batch, key)


@dataclass(slots=True)
class _Session:
    ctx: Owners
    flows: Flows
    user_id: UserId
    device_id: str
    subject: bytes
    id: str = ""

    @classmethod
    def of(cls, ctx: Owners, req: InteractiveRequest, flows: Flows, params: dict[str, Any]) -> _Session:
        caller = req.requester
        # Conduit keeps sessions of callers without an account under this name.
        user_id = caller.user_id if caller else UserId(f"@:{ctx.server_name}")
        device_id = caller.device_id if caller else ""
        asked = [user_id, device_id, req.method, req.path, params]
        return cls(ctx, flows, user_id, device_id, orjson.dumps(asked, option=orjson.OPT_SORT_KEYS))

    def resume(self, session_id: Any) -> bool:
        """Take `session_id` over. `False` if its time is over; `Forbidden` if it is not for this request."""
        if not isinstance(session_id, str):
            raise InvalidParam("'session' must be a string")
        opened = _opened_at(session_id)
        head, _, mac = session_id.rpartition(".")
        if opened is None or not hmac.compare_digest(mac.encode(), self._mac(head).encode()):
            raise Forbidden("This session was not opened for this request")
        if not 0 <= self.ctx.clock.now_ms() - opened <= SESSION_LIFETIME_MS:
            return False
        self.id = session_id
        return True

    def load(self) -> Proof:
        row = trees.userdevicesessionid_uiaainfo.get(self.ctx.db, self._key()) if self.id else None
        if row is None:
            return Proof(self.user_id)
        return Proof(self.user_id, row["completed"], row["notes"])

    def store(self, proof: Proof) -> None:
        with self.ctx.db.batch() as batch:
            row = {"completed": proof.completed, "notes": proof.notes}
            trees.userdevicesessionid_uiaainfo.put(batch, self._key(), row)

    def end(self) -> None:
        if self.id and trees.userdevicesessionid_uiaainfo.has(self.ctx.db, self._key()):
            with self.ctx.db.batch() as batch:
                trees.userdevicesessionid_uiaainfo.delete(batch, self._key())

    def challenge(self, proof: Proof, failure: MatrixError | None = None) -> AuthenticationRequired:
        answer: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in self.flows],
            "params": {},
            "session": self._key()[2],
        }
        if proof.completed:
            answer["completed"] = proof.completed
        return AuthenticationRequired(answer, failure)

    def _key(self) -> tuple[str, str, str]:
        if not self.id:
            head = f"{self.ctx.clock.now_ms():x}.{random_text(12)}"
            self.id = f"{head}.{self._mac(head)}"
        return self.user_id, self.device_id, self.id

    def _mac(self, head: str) -> str:
        return secret.mac(self.ctx.db, "uia", head.encode() + b"\0" + self.subject)


def _opened_at(session_id: str) -> int | None:
    parts = session_id.split(".")
    if len(parts) != 3 or not session_id.isascii() or not 1 <= len(parts[0]) <= 12:
        return None
    try:
        return int(parts[0], 16)
    except ValueError:
        return None


def _is_next(flows: Flows, completed: Iterable[str], kind: str) -> bool:
    done = list(completed)
    return any(
        list(flow[: len(done)]) == done and flow[len(done) : len(done) + 1] == (kind,) for flow in map(tuple, flows)
    )


async def check_password(ctx: Owners, user_id: UserId | None, password: str) -> None:
    """Return if `password` is that of `user_id`; else raise `Forbidden`, after the same time whether or not there is such a user.

    Failures count against the account (`rate_limits.login`): beyond, `LimitExceeded` is raised without a look.
    """
    rates = ctx.config.rate_limits
    attempts = ctx.hasher.attempts
    name = user_id or ""
    if rates.enabled:
        attempts.check(name, rates.login, ctx.clock.monotonic())
    stored = accounts.password_hash(ctx.db, user_id) if user_id else None
    good = await ctx.hasher.verify(stored, password)
    # While that thread ran the password may have been changed.
    if not good or stored != accounts.password_hash(ctx.db, name):
        if rates.enabled:
            attempts.failed(name, rates.login, ctx.clock.monotonic())
        raise Forbidden("Invalid user name or password")


async def _password(ctx: Owners, auth: Mapping[str, Any], proof: Proof) -> None:
    password = auth.get("password")
    if not isinstance(password, str):
        raise InvalidParam("'password' must be a string")
    names_somebody = any(name in auth for name in ("identifier", "user", "address"))
    if names_somebody and identifiers.resolve(ctx.db, ctx.server_name, auth) != proof.caller:
        raise Forbidden("The password must be that of the user who asks")
    await check_password(ctx, proof.caller, password)


async def _dummy(ctx: Owners, auth: Mapping[str, Any], proof: Proof) -> None:
    return


_CHECKS: dict[str, Check] = {PASSWORD: _password, DUMMY: _dummy}
