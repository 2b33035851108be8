"""Pushers: where a user's clients want to be told of events while they are not running.

A pusher is what the client posted, and the device that posted it: it ends with its device. A user has one for each application and push key. Conduit
keeps them by user and push key; the rare second application with a push key that is in use follows it, after a NUL.

Source: client-server API, "Push Notifications", GET /pushers, POST /pushers/set.
"""

from __future__ import annotations

from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import UserId

Pusher = dict[str, Any]
"""`kind`, `app_id`, `pushkey`, `app_display_name`, `device_display_name`, `lang`, `data`, perhaps `profile_tag`: the specification's form."""

MAX_PUSHERS: Final = 100
"""How many a user may have; every event that notifies goes to all of them."""

_SHOWN: Final = (
    "pushkey",
    "kind",
    "app_id",
    "app_display_name",
    "device_display_name",
    "profile_tag",
    "lang",
    "data",
)


def list_all(source: CacheSource, user_id: UserId) -> list[Pusher]:
    """Return the user's pushers, by push key."""
    return [
        {name: row[name] for name in _SHOWN if row.get(name) is not None}
        for _, row in trees.senderkey_pusher.scan(source, (user_id,))
    ]


def put(batch: Batch, user_id: UserId, device_id: str, pusher: Pusher) -> None:
    """Add the pusher, or replace the one with its application and push key. Raises `InvalidParam` for one too many."""
    app_id, pushkey = pusher["app_id"], pusher["pushkey"]
    key = _key(batch, user_id, app_id, pushkey)
    if key is None:
        known = sum(1 for _ in trees.senderkey_pusher.keys(batch, (user_id,)))
        if known >= MAX_PUSHERS:
            raise InvalidParam(f"You may have at most {MAX_PUSHERS} pushers")
        key = pushkey if not trees.senderkey_pusher.has(batch, (user_id, pushkey)) else f"{pushkey}\0{app_id}"
    row = {name: value for name, value in pusher.items() if name in _SHOWN}
    if device_id:
        row["device_id"] = device_id
    trees.senderkey_pusher.put(batch, (user_id, key), row)


def remove(batch: Batch, user_id: UserId, app_id: str, pushkey: str) -> None:
    """Remove the user's pusher with this application and push key, if there is one."""
    key = _key(batch, user_id, app_id, pushkey)
    if key is not None:
        trees.senderkey_pusher.delete(batch, (user_id, key))


def remove_others(batch: Batch, user_id: UserId, app_id: str, pushkey: str) -> None:
    """Remove the pushers that users other than `user_id` have with this application and push key.

    The installation belongs to `user_id` now, and must not be told what concerns whoever used it before.
    """
    keys = (pushkey, f"{pushkey}\0{app_id}")
    others = {other for other, key in trees.senderkey_pusher.keys(batch) if key in keys and other != user_id}
    for other in others:
        remove(batch, UserId(other), app_id, pushkey)


def _key(source: CacheSource, user_id: UserId, app_id: str, pushkey: str) -> str | None:
    for key in (pushkey, f"{pushkey}\0{app_id}"):
        row = trees.senderkey_pusher.get(source, (user_id, key))
        if row is not None and row.get("app_id") == app_id:
            return key
    return None
