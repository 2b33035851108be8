"""Make an account. Source: client-server API, "Account registration"."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace

from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import UserInUse
from conduit.protocol.ids import ServerName, UserId, localpart_of, new_user_id
from conduit.service.actions.log_in import Client, Session, check_login_password, open_session
from conduit.service.context import Context
from conduit.service.users import accounts, profiles, registration_tokens, uiaa
from conduit.utils.tokens import random_text

LIGHTNING_BOLT = " ⚡️"
_RANDOM_LENGTH = 12
_RANDOM_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Wish:
    """What the new account is to be."""

    user_id: UserId
    password: str = ""
    kind: accounts.Kind = "user"
    upgrades: bool = False
    """Whether `user_id` is a guest's, who has shown that by their access token, and becomes an ordinary user."""
    token: str | None = None
    """The registration token that was proved, if one was."""
    is_local: bool = False
    """Whether the request comes from this machine: then the first account becomes the administrator's."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A new account. `is_first` tells that it has become the first administrator."""

    user_id: UserId
    session: Session | None
    is_first: bool


def free_user_id(source: CacheSource, server_name: ServerName, username: str) -> UserId:
    """Return the id that `username`, in lower case, would have. Raises `InvalidUsername` or `UserInUse`."""
    user_id = new_user_id(username.lower(), server_name)
    if accounts.exists(source, user_id):
        raise UserInUse("That user name is taken")
    return user_id


def random_user_id(source: CacheSource, server_name: ServerName) -> UserId:
    """Return a free id for somebody who named none."""
    while True:
        user_id = new_user_id(random_text(_RANDOM_LENGTH, _RANDOM_ALPHABET), server_name)
        if not accounts.exists(source, user_id):
            return user_id


async def register(
    ctx: Context,
    wish: Wish,
    *,
    client: Client | None = None,
    proof: uiaa.Proof | None = None,
) -> Registered:
    """Make the account and, for a `client`, a session of it, all at once.

    The caller has checked the request's right to it. With `proof` who repeats the request is known again by `register_again`. Raises `UserInUse` if the name was taken meanwhile, `Forbidden` if
    the registration token was used up, or the guest is none any more.
    """
    hashed = await ctx.hasher.hash(wish.password) if wish.password else ""
    now_ms = ctx.clock.now_ms()
    with ctx.db.batch() as batch:
        if accounts.exists(batch, wish.user_id) and not wish.upgrades:
            raise UserInUse("That user name is taken")
        is_first = _is_first(batch, wish)
        if wish.token is not None:
            registration_tokens.use(batch, wish.token, configured=ctx.config.registration_token, now_ms=now_ms)
        if wish.upgrades:
            accounts.upgrade_guest(batch, wish.user_id, hashed)
        else:
            accounts.create(batch, wish.user_id, hashed, kind=wish.kind, now_ms=now_ms, admin=is_first)
        if is_first:
            accounts.take_first_token(batch)
        if not wish.upgrades and wish.kind in ("user", "guest"):
            bolt = LIGHTNING_BOLT if ctx.config.enable_lightning_bolt else ""
            profiles.set_displayname(batch, wish.user_id, localpart_of(wish.user_id) + bolt)
        session = open_session(ctx, batch, wish.user_id, client) if client is not None else None
        if proof is not None:
            device = session.device_id if session is not None else None
            uiaa.keep_result(batch, proof, {"user_id": wish.user_id, "device_id": device})
    return Registered(wish.user_id, session, is_first)


async def register_again(ctx: Context, proof: uiaa.Proof, password: str, client: Client) -> Registered:
    """Return the account that the same request has made before, with a fresh session on the same device.

    Raises `Forbidden` unless it is the account's password.
    """
    assert proof.result is not None
    user_id, device_id = UserId(proof.result["user_id"]), proof.result["device_id"]
    await check_login_password(ctx, user_id, password)
    if device_id is None:
        return Registered(user_id, None, False)
    with ctx.db.batch() as batch:
        return Registered(user_id, open_session(ctx, batch, user_id, replace(client, device_id=device_id)), False)


def _is_first(batch: Batch, wish: Wish) -> bool:
    first_token = accounts.first_token(batch)
    if first_token is None or wish.kind != "user" or wish.upgrades:
        return False
    return wish.is_local or wish.token == first_token
