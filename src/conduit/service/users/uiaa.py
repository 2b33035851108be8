"""User-interactive authentication: a request is repeated with proofs until a flow is complete.

Asking costs the server nothing, and a proof counts only for the request it was given for: see `uia_sessions`. What the client sends
to prove itself, passwords above all, is checked and dropped.

Source: client-server API, "User-Interactive Authentication API".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from conduit.config.schema import Config
from conduit.database.database import Database
from conduit.protocol.errors import BadJson, Forbidden, InvalidParam, LimitExceeded, MatrixError
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import accounts, identifiers, registration_tokens, uia_sessions
from conduit.service.users.passwords import Hasher
from conduit.service.users.uia_sessions import Proof, Session, keep_result, sweep
from conduit.utils.clock import Clock

__all__ = [
    "DUMMY",
    "PASSWORD",
    "REGISTRATION_TOKEN",
    "AuthenticationRequired",
    "Flows",
    "Proof",
    "check_open",
    "check_password",
    "complete_beside",
    "keep_result",
    "require",
    "sweep",
]

PASSWORD = "m.login.password"
DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"

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


class WrongUser(Forbidden):
    """Somebody has proved to be another than who asks: there is no use in trying again."""


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


Check = Callable[[Owners, Mapping[str, Any], Proof], Awaitable[None]]
"""Checks one stage's `auth` object; raises a `MatrixError` if it proves nothing."""


async def require(
    ctx: Owners,
    req: InteractiveRequest,
    *,
    flows: Flows = PASSWORD_FLOWS,
    checks: Mapping[str, Check] | None = None,
    remember: bool = False,
) -> Proof:
    """Return once the request has proved itself by one of `flows`; raise `AuthenticationRequired` until then.

    By default the caller must give their password, and the client is held to the parameters for which the session was opened. With `remember` it may change them (clients ask for
    the flows of a registration first), and need not repeat those it has sent: `Proof.params` has them all. Raises `Forbidden` for a session of another request.
    """
    body = req.json(optional=True)
    params = {name: value for name, value in body.items() if name != "auth"}
    auth = body.get("auth")
    if auth is not None and not isinstance(auth, dict):
        raise InvalidParam("'auth' must be an object")
    session = _session_of(ctx, req, {} if remember else params)
    given = None if auth is None else auth.get("session")
    if given is None or not session.resume(given):
        session.open(params if remember else {})
        if auth is None or given is not None:
            raise _challenge(session, flows, None)
        proof = Proof(session.user_id, params=params)
    else:
        proof = session.load()
        proof.completed = [stage for stage in proof.completed if any(stage in flow for flow in flows)]
        proof.params = {**session.remembered(), **params}
        if proof.result is not None:
            return proof
    assert auth is not None
    if await _pass_stage(ctx, session, flows, checks or {}, auth, proof) and not _is_complete(flows, proof):
        session.store(proof)
    if not _is_complete(flows, proof):
        raise _challenge(session, flows, proof)
    session.end()
    return proof


def _session_of(ctx: Owners, req: InteractiveRequest, params: dict[str, Any]) -> Session:
    caller = req.requester
    # Conduit keeps sessions of callers without an account under this name.
    user_id = caller.user_id if caller else UserId(f"@:{ctx.server_name}")
    device_id = caller.device_id if caller else ""
    subject = orjson.dumps([user_id, device_id, req.method, req.path, params], option=orjson.OPT_SORT_KEYS)
    return Session(ctx.db, user_id, device_id, subject, ctx.clock.now_ms())


async def _pass_stage(
    ctx: Owners, session: Session, flows: Flows, checks: Mapping[str, Check], auth: Mapping[str, Any], proof: Proof
) -> bool:
    """Check the stage that `auth` is about; tell whether one was completed that had not been before."""
    kind = auth.get("type")
    if kind is None or kind in proof.completed:
        return False
    check = (checks.get(kind) or _CHECKS.get(kind)) if isinstance(kind, str) else None
    if check is None or not _is_next(flows, proof.completed, kind):
        raise _challenge(session, flows, proof, Forbidden("That stage is not asked for now"))
    try:
        await check(ctx, auth, proof)
    except (LimitExceeded, WrongUser):
        raise
    except MatrixError as failure:
        raise _challenge(session, flows, proof, failure) from failure
    proof.completed.append(kind)
    return True


def _challenge(
    session: Session, flows: Flows, proof: Proof | None, failure: MatrixError | None = None
) -> AuthenticationRequired:
    answer: dict[str, Any] = {
        "flows": [{"stages": list(flow)} for flow in flows],
        "params": {},
        "session": session.text,
    }
    if proof is not None:
        answer["completed"] = proof.completed
    return AuthenticationRequired(answer, failure)


def _is_complete(flows: Flows, proof: Proof) -> bool:
    return any(all(stage in proof.completed for stage in flow) for flow in flows)


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


def check_open(ctx: Owners, session: str) -> None:
    """Raise `InvalidParam` unless `session` looks like one that is open."""
    uia_sessions.check_open(session, ctx.clock.now_ms())


async def complete_beside(ctx: Owners, session: str, kind: str, auth: Mapping[str, Any]) -> None:
    """Complete a stage, which is one of those known here, for the request that `session` is of, as the user does on a fallback page.

    Raises `InvalidParam` if the session is over, and what the stage's check raises.
    """
    session_id = uia_sessions.check_open(session, ctx.clock.now_ms())
    proof = Proof(UserId(""))
    if kind == PASSWORD:
        proof.notes["user"] = await _prove_password(ctx, auth)
    else:
        await _CHECKS[kind](ctx, auth, proof)
    with ctx.db.batch() as batch:
        uia_sessions.complete_beside(batch, session_id, kind, proof.notes)


async def _prove_password(ctx: Owners, auth: Mapping[str, Any], default: UserId | None = None) -> UserId | None:
    """Return whose password stands in `auth`: that of the user named there, or of `default` if there is none."""
    password = auth.get("password")
    if not isinstance(password, str):
        raise InvalidParam("'password' must be a string")
    names_somebody = any(name in auth for name in ("identifier", "user", "address"))
    named = identifiers.resolve(ctx.db, ctx.server_name, auth) if names_somebody else default
    await check_password(ctx, named, password)
    return named


async def _password(ctx: Owners, auth: Mapping[str, Any], proof: Proof) -> None:
    if await _prove_password(ctx, auth, proof.caller) != proof.caller:
        raise WrongUser("The password must be that of the user who asks")


async def _dummy(ctx: Owners, auth: Mapping[str, Any], proof: Proof) -> None:
    return


async def _registration_token(ctx: Owners, auth: Mapping[str, Any], proof: Proof) -> None:
    token = auth.get("token")
    if not isinstance(token, str):
        raise BadJson("'token' must be a string")
    configured = ctx.config.registration_token
    if not registration_tokens.is_valid(ctx.db, token, configured=configured, now_ms=ctx.clock.now_ms()):
        raise Forbidden("The registration token is not valid")
    proof.notes["registration_token"] = token


_CHECKS: dict[str, Check] = {PASSWORD: _password, DUMMY: _dummy, REGISTRATION_TOKEN: _registration_token}
