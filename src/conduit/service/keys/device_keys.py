"""Device identity keys of local devices, and what a user may see of anybody's keys.

Source: client-server API, "Device keys", POST /keys/upload, POST /keys/query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import DeviceId, UserId
from conduit.service.keys import device_lists
from conduit.service.users import accounts, devices


def upload(batch: Batch, user_id: UserId, device_id: DeviceId, keys: dict[str, Any]) -> None:
    """Publish the identity keys of a device (checked by `shapes.device_keys`). The same keys again change nothing.

    Raises `Forbidden` if the device's id is the public key of one of the user's cross-signing keys: the two share a name space.
    """
    if cross_signing_usage(batch, user_id, device_id) is not None:
        raise Forbidden("Key ID in use")
    present = trees.keyid_key.get(batch, (user_id, device_id))
    if present is not None and _unsigned(present) == _unsigned(keys):
        # Cross-signing signatures were added to the stored object; those that come with the upload join them.
        merged = merge_signatures(present, keys)
        if merged == present:
            return
        keys = merged
    trees.keyid_key.put(batch, (user_id, device_id), keys)
    device_lists.record_change(batch, user_id, [device_id])


def merge_signatures(stored: dict[str, Any], signed: Mapping[str, Any]) -> dict[str, Any]:
    """Return `stored` with the signatures of `signed` added."""
    merged: dict[str, dict[str, str]] = {user: dict(own) for user, own in stored.get("signatures", {}).items()}
    for user, signatures in signed.get("signatures", {}).items():
        merged.setdefault(user, {}).update(signatures)
    return {**stored, "signatures": merged} if merged else dict(stored)


def _unsigned(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if name not in ("signatures", "unsigned")}


_KEY_TREES = {
    "master": trees.userid_masterkeyid,
    "self_signing": trees.userid_selfsigningkeyid,
    "user_signing": trees.userid_usersigningkeyid,
}


def cross_signing_key(source: CacheSource, user_id: UserId, usage: str) -> dict[str, Any] | None:
    """Return the user's current key for `usage` (master, self_signing or user_signing), or `None`."""
    row = _KEY_TREES[usage].get(source, user_id)
    key: dict[str, Any] | None = None if row is None else trees.keyid_key.get(source, row)
    return key


def set_cross_signing_key(batch: Batch, user_id: UserId, usage: str, public_key: str, key: dict[str, Any]) -> None:
    """Make `key` the user's current key for `usage`."""
    tree = _KEY_TREES[usage]
    former = tree.get(batch, user_id)
    if former is not None and former[1] != public_key:
        trees.keyid_key.delete(batch, former)
    trees.keyid_key.put(batch, (user_id, public_key), key)
    tree.put(batch, user_id, (user_id, public_key))


def delete_cross_signing_key(batch: Batch, user_id: UserId, usage: str) -> None:
    """Let the user have no key for `usage`."""
    row = _KEY_TREES[usage].get(batch, user_id)
    if row is not None:
        trees.keyid_key.delete(batch, row)
        _KEY_TREES[usage].delete(batch, user_id)


def cross_signing_usage(source: CacheSource, user_id: UserId, public_key: str) -> str | None:
    """Return the usage under which `public_key` is a current cross-signing key of the user, or `None`."""
    for usage, tree in _KEY_TREES.items():
        row = tree.get(source, user_id)
        if row is not None and row[1] == public_key:
            return usage
    return None


def query(
    source: CacheSource,
    requester: UserId | None,
    wanted: Mapping[UserId, Sequence[str]],
    answer: dict[str, dict[str, Any]],
) -> None:
    """Add to `answer` the device and cross-signing keys of the local users in `wanted`, as `requester` may see them; `None` is another server.

    An empty list of devices stands for all of them; unknown users and devices are left out.
    """
    for user_id, device_ids in wanted.items():
        found: dict[str, Any] = {}
        shown = frozenset((user_id,) if requester is None else (requester, user_id))
        for device in devices.list_all(source, user_id):
            device_id = device["device_id"]
            if device_ids and device_id not in device_ids:
                continue
            keys = trees.keyid_key.get(source, (user_id, device_id))
            if keys is None:
                continue
            keys = visible(keys, shown)
            name = device.get("display_name")
            keys["unsigned"] = {"device_display_name": name} if name else {}
            found[device_id] = keys
        if accounts.exists(source, user_id):
            answer["device_keys"][user_id] = found
        for usage in ("master", "self_signing", "user_signing"):
            if usage == "user_signing" and user_id != requester:
                continue
            key = cross_signing_key(source, user_id, usage)
            if key is not None:
                answer[f"{usage}_keys"][user_id] = visible(key, shown)


def visible(key: Mapping[str, Any], shown: frozenset[UserId]) -> dict[str, Any]:
    """Return a copy with the signatures of the users in `shown` only: others' would tell who knows whom."""
    copy = dict(key)
    if "signatures" in copy:
        copy["signatures"] = {user: own for user, own in copy["signatures"].items() if user in shown}
    return copy
