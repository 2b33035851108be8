"""Whose access token this is: the look-up that every authenticated request begins with.

The answer is kept in a cache of its own, so that the usual case costs a dictionary look-up; whatever changes it (a token, a device, the
state of an account) says so here with `forget` or `forget_user` in the batch that changes it. Unknown tokens are not kept: somebody who
guesses must not push real ones out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conduit.database import trees
from conduit.database.cache import Cached, CacheSink, CacheSource
from conduit.protocol.ids import UserId


@dataclass(slots=True)
class Requester:
    """The owner of an access token, and what the account may do.

    `expires_at` is in ms since the epoch; `None` means never. `replaces` tells that the token came from a refresh and was not used yet:
    see `tokens.settle`. `seen_until` is when the device's last-seen time is next worth writing.
    """

    user_id: UserId
    device_id: str
    token: str
    is_guest: bool = False
    appservice_id: str | None = None
    expires_at: int | None = None
    deactivated: bool = False
    locked: bool = False
    suspended: bool = False
    is_admin: bool = False
    replaces: bool = False
    seen_until: int = field(default=0, compare=False)

    def expired(self, now_ms: int) -> bool:
        """Tell whether the token's time is over: the client is softly logged out."""
        return self.expires_at is not None and now_ms >= self.expires_at


class _UnknownToken(Exception):
    pass


def _load(source: CacheSource, token: str) -> Requester:
    owner = trees.token_userdeviceid.get(source, token)
    if owner is None:
        raise _UnknownToken
    user_id, device_id = owner
    account: dict[str, Any] = trees.account.get(source, user_id) or {}
    extra: dict[str, Any] = trees.accesstoken.get(source, token) or {}
    return Requester(
        user_id=UserId(user_id),
        device_id=device_id,
        token=token,
        is_guest=account.get("kind") == "guest",
        expires_at=extra.get("expires_at"),
        deactivated=account.get("deactivated", False),
        locked=account.get("locked", False),
        suspended=account.get("suspended", False),
        is_admin=account.get("admin", False),
        replaces="replaces" in extra,
    )


_requesters: Cached[str, Requester] = Cached("requester", load=_load, weigh=lambda requester: 400)


def find(source: CacheSource, token: str) -> Requester | None:
    """Return whose access token this is, or `None`; expired tokens and barred accounts are found too, and say so."""
    try:
        return _requesters.get(source, token)
    except _UnknownToken:
        return None


def forget(batch: CacheSink, token: str) -> None:
    """Read `token` anew when it is next used."""
    _requesters.forget(batch, token)


def forget_user(batch: CacheSink, user_id: str) -> None:
    """Read all tokens of a user anew: the account has changed."""
    for _, token in trees.userdeviceid_token.scan(batch, (user_id,)):
        _requesters.forget(batch, token)
        extra = trees.accesstoken.get(batch, token)
        if extra and "replaces" in extra:
            _requesters.forget(batch, extra["replaces"]["access"])
