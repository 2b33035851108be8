"""Open a session, and end one. Source: client-server API, "Legacy API: Login", "Soft logout"."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import DeviceId, UserId, parse_opaque
from conduit.service.context import Context
from conduit.service.keys import device_lists, one_time_keys
from conduit.service.users import accounts, devices, identifiers, short_lived, tokens, uiaa
from conduit.service.users.tokens import Issued


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a client says of itself when it opens a session, and what is seen of it. Without `device_id` it gets one."""

    device_id: str | None = None
    device_name: str | None = None
    can_refresh: bool = False
    ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A device with its tokens."""

    user_id: UserId
    device_id: str
    tokens: Issued


async def check_login_password(ctx: Context, user_id: UserId | None, password: str) -> UserId:
    """Return `user_id` if the password is theirs and they may log in.

    Raises `Forbidden` for a wrong password and an unknown user alike (`None` stands for one), `UserDeactivated` or `UserLocked` for those who know
    the password but may not enter, `LimitExceeded` for an account tried too often.
    """
    if user_id is not None and user_id == server_user(ctx):
        return await _check_emergency(ctx, user_id, password)
    await uiaa.check_password(ctx, user_id, password)
    assert user_id is not None, "nobody has no password"
    accounts.check_may_log_in(ctx.db, user_id)
    await _renew_hash(ctx, user_id, password)
    return user_id


def server_user(ctx: Context) -> UserId:
    """Return the id of the account in whose name the server itself speaks, as in Conduit."""
    return UserId(f"@conduit:{ctx.server_name}")


def redeem_login_token(ctx: Context, token: str) -> UserId:
    """Return the user whom a `m.login.token` lets in: one of ours, or a JSON Web Token if `jwt_secret` is set."""
    secret = ctx.config.jwt_secret
    if secret and token.count(".") == 2:
        subject = short_lived.jwt_subject(token, secret, ctx.clock.now_ms())
        user_id = identifiers.local_user(ctx.db, ctx.server_name, subject)
        if user_id is None or not accounts.exists(ctx.db, user_id):
            raise Forbidden("The login token names no user of this server")
    else:
        with ctx.db.batch() as batch:
            user_id = short_lived.redeem_login(batch, token, ctx.clock.now_ms())
    accounts.check_may_log_in(ctx.db, user_id)
    return user_id


def log_in(ctx: Context, user_id: UserId, client: Client) -> Session:
    """Return a session of a user who has proved who they are: see `open_session`."""
    with ctx.db.batch() as batch:
        return open_session(ctx, batch, user_id, client)


def log_out(ctx: Context, user_id: UserId, device_id: str) -> None:
    """End the session on one device and delete the device."""
    with ctx.db.batch() as batch:
        end_sessions(batch, user_id, [device_id])


def log_out_everywhere(ctx: Context, user_id: UserId) -> None:
    """End all sessions of the user and delete the devices."""
    with ctx.db.batch() as batch:
        end_sessions(batch, user_id, devices.ids(batch, user_id))
        short_lived.forget_user(batch, user_id)


def refresh(ctx: Context, refresh_token: str) -> Issued:
    """Return a new pair of tokens; see `tokens.refresh` for what becomes of the old one."""
    lifetime_ms = ctx.config.access_token_ttl * 1000
    with ctx.db.batch() as batch:
        return tokens.refresh(batch, refresh_token, now_ms=ctx.clock.now_ms(), lifetime_ms=lifetime_ms)


def issue_login_token(ctx: Context, user_id: UserId) -> str:
    """Return a token with which one more client can log in as the user, once and within two minutes."""
    with ctx.db.batch() as batch:
        return short_lived.issue_login(batch, user_id, ctx.clock.now_ms())


def issue_openid_token(ctx: Context, user_id: UserId) -> str:
    """Return a token that proves to a third party who the user is, for `openid_token_ttl` seconds."""
    with ctx.db.batch() as batch:
        expires_at = ctx.clock.now_ms() + ctx.config.openid_token_ttl * 1000
        return short_lived.issue_openid(batch, user_id, expires_at)


def open_session(ctx: Context, batch: Batch, user_id: UserId, client: Client) -> Session:
    """Return a session on the client's device, which is made if there is none; earlier tokens of the device end.

    Whatever way the user has come, barred accounts stay out: raises `UserDeactivated` or `UserLocked`.
    """
    accounts.check_may_log_in(batch, user_id)
    device_id = devices.new_device_id() if client.device_id is None else parse_opaque(client.device_id, "device_id")
    now_ms = ctx.clock.now_ms()
    is_new = devices.create(
        batch,
        user_id,
        device_id,
        display_name=client.device_name,
        ip=client.ip,
        now_ms=now_ms,
        user_agent=client.user_agent,
    )
    if is_new:
        device_lists.record_change(batch, user_id, [device_id])
    lifetime_ms = ctx.config.access_token_ttl * 1000 if client.can_refresh else None
    return Session(user_id, device_id, tokens.issue(batch, user_id, device_id, now_ms=now_ms, lifetime_ms=lifetime_ms))


def end_sessions(batch: Batch, user_id: UserId, device_ids: Iterable[str]) -> None:
    """Delete the devices with all that belongs to them, and tell those who know their keys."""
    device_ids = list(device_ids)
    for device_id in device_ids:
        one_time_keys.delete(batch, user_id, DeviceId(device_id))
    known = [device_id for device_id in device_ids if devices.exists(batch, user_id, device_id)]
    if devices.delete_many(batch, user_id, device_ids):
        device_lists.record_change(batch, user_id, known)


async def _check_emergency(ctx: Context, user_id: UserId, password: str) -> UserId:
    expected = ctx.config.emergency_password
    # The pool is asked for nothing but the time it takes, and for its count of failures.
    try:
        await uiaa.check_password(ctx, user_id, password)
    except Forbidden:
        if not expected or not hmac.compare_digest(expected.encode(), password.encode()):
            raise
    return user_id


async def _renew_hash(ctx: Context, user_id: UserId, password: str) -> None:
    stored = accounts.password_hash(ctx.db, user_id)
    if not stored or not ctx.hasher.is_outdated(stored):
        return
    renewed = await ctx.hasher.hash(password)
    with ctx.db.batch() as batch:
        if accounts.password_hash(batch, user_id) == stored:
            accounts.set_password(batch, user_id, renewed)
