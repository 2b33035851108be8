"""Accounts of this server: who exists, and in what state.

An account exists when it has a row in `userid_password`, as in Conduit; the row is empty where nobody can log in by password. Everything
else that is known of it stands in the `account` tree; an account that Conduit has made has no row there and is an ordinary one.
A deactivated account keeps its row for ever, so that nobody can take its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden, UserDeactivated, UserLocked
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import requester

Kind = Literal["user", "guest", "appservice", "server"]

FIRST_TOKEN_KEY = b"conduit_py.first_account_token"
"""Row in `global`: the token of the account that is to become the first administrator, until it is made."""


@dataclass(frozen=True, slots=True)
class Account:
    """The state of an account. `created_ts` is in ms, 0 where Conduit has made it."""

    kind: Kind = "user"
    created_ts: int = 0
    admin: bool = False
    deactivated: bool = False
    erased: bool = False
    locked: bool = False
    suspended: bool = False
    leaving: bool = False
    """Whether a deactivated user is still to leave rooms; a restart goes on with it."""


_FIELDS = frozenset(field.name for field in fields(Account))


def get(source: CacheSource, user_id: str) -> Account | None:
    """Return the account, or `None` if there is no such user here."""
    row: dict[str, Any] | None = trees.account.get(source, user_id)
    if row is not None:
        return Account(**{name: value for name, value in row.items() if name in _FIELDS})
    return Account() if trees.userid_password.has(source, user_id) else None


def exists(source: CacheSource, user_id: str) -> bool:
    """Tell whether there is, or has ever been, such an account here."""
    return trees.userid_password.has(source, user_id)


def is_active(source: CacheSource, user_id: str) -> bool:
    """Tell whether the account exists and was not deactivated."""
    account = get(source, user_id)
    return account is not None and not account.deactivated


def is_deactivated(source: CacheSource, user_id: str) -> bool:
    """Tell whether the account was deactivated."""
    account = get(source, user_id)
    return account is not None and account.deactivated


def is_erased(source: CacheSource, user_id: str) -> bool:
    """Tell whether the user, when deactivating, asked for their messages to be hidden from newcomers."""
    account = get(source, user_id)
    return account is not None and account.erased


def is_admin(source: CacheSource, user_id: str) -> bool:
    """Tell whether the user is an administrator of this server."""
    account = get(source, user_id)
    return account is not None and account.admin and not account.deactivated


def is_guest(source: CacheSource, user_id: str) -> bool:
    """Tell whether the account is a guest's."""
    account = get(source, user_id)
    return account is not None and account.kind == "guest"


def password_hash(source: CacheSource, user_id: str) -> str | None:
    """Return the Argon2id text of the password; `None` or empty means that nobody can log in by password."""
    return trees.userid_password.get(source, user_id)


def check_may_log_in(source: CacheSource, user_id: str) -> None:
    """Raise `UserDeactivated` or `UserLocked` if the user may not have a session, in whatever way they ask for one."""
    account = get(source, user_id)
    if account is None or account.deactivated:
        raise UserDeactivated("This account has been deactivated")
    if account.locked:
        raise UserLocked("This account has been locked", soft_logout=True)


def create(
    batch: Batch, user_id: UserId, password: str, *, kind: Kind = "user", now_ms: int = 0, admin: bool = False
) -> None:
    """Make an account. `password` is an Argon2id text, or empty; the caller has checked that the name is free."""
    trees.userid_password.put(batch, user_id, password)
    _put(batch, user_id, Account(kind=kind, created_ts=now_ms, admin=admin))


def set_password(batch: Batch, user_id: UserId, password: str) -> None:
    """Store a new Argon2id text; empty bars the login by password."""
    trees.userid_password.put(batch, user_id, password)


def upgrade_guest(batch: Batch, user_id: UserId, password: str) -> None:
    """Make a guest's account an ordinary one with that Argon2id text; raises `Forbidden` if it is no guest's (any more)."""
    account = get(batch, user_id)
    if account is None or account.kind != "guest" or account.deactivated:
        raise Forbidden("Only a guest's account can be upgraded")
    trees.userid_password.put(batch, user_id, password)
    _put(batch, user_id, replace(account, kind="user"))
    requester.forget_user(batch, user_id)


def update(batch: Batch, user_id: UserId, **changes: bool) -> None:
    """Change flags of an existing account, such as `locked=True`; its open sessions feel it at once."""
    account = get(batch, user_id)
    if account is None:
        raise KeyError(user_id)
    _put(batch, user_id, replace(account, **changes))  # type: ignore[arg-type]
    requester.forget_user(batch, user_id)
    if "erased" in changes:
        _ERASED.forget(batch, "")


def local_users(source: CacheSource, server_name: ServerName) -> Iterator[UserId]:
    """Return all accounts of this server in order, deactivated ones included."""
    # Conduit keeps rows of remote users and application services here too.
    for user_id in trees.userid_password.keys(source):
        if user_id.endswith(f":{server_name}"):
            yield UserId(user_id)


def admins(source: CacheSource) -> list[UserId]:
    """Return the administrators of this server."""
    return [
        UserId(user_id)
        for user_id, row in trees.account.scan(source)
        if row.get("admin") and not row.get("deactivated")
    ]


def with_flag(source: CacheSource, flag: str) -> list[UserId]:
    """Return the accounts whose state has `flag` set, reading all of them: for start-up and administrators."""
    return [UserId(user_id) for user_id, row in trees.account.scan(source) if row.get(flag)]


_ERASED: Cached[str, frozenset[UserId]] = Cached(
    "erased_users",
    load=lambda source, _: frozenset(with_flag(source, "erased")),
    weigh=lambda erased: 200 + 150 * len(erased),
)


def erased(source: CacheSource) -> frozenset[UserId]:
    """Return the users who asked for their messages to be hidden from newcomers; kept in memory."""
    return _ERASED.get(source, "")


# --- the first account -------------------------------------------------------------------------------------------------


def first_token(source: CacheSource) -> str | None:
    """Return the one-time token with which the first administrator registers; `None` once there is one."""
    data = trees.global_.get(source, FIRST_TOKEN_KEY)
    return data.decode() if data else None


def offer_first_token(batch: Batch, token: str) -> None:
    """Wait for the first administrator, who registers with `token` or from this machine."""
    trees.global_.put(batch, FIRST_TOKEN_KEY, token.encode())


def take_first_token(batch: Batch) -> None:
    """Stop waiting for the first administrator: the account was made."""
    trees.global_.delete(batch, FIRST_TOKEN_KEY)


def _put(batch: Batch, user_id: UserId, account: Account) -> None:
    trees.account.put(batch, user_id, asdict(account))
