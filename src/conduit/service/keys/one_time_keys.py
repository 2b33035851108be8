"""One-time and fallback keys of local devices.

Every one-time key is handed out at most once, in the order of upload; after the last one the fallback key serves, again and again.

Source: client-server API, "One-time and fallback keys"; POST /keys/upload, POST /keys/claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import DeviceId, UserId

MAX_KEYS = 5000
"""How many one-time keys a device may have here; clients keep fifty to a hundred of an algorithm."""
MAX_FALLBACK_KEYS = 100
_USUAL = "signed_curve25519"
_SEPARATOR = "\0"
_ROW_IDS = 100
"""How many keys of an upload share a row of the order: one row for all is cheap to write, and dear to shorten with each claim."""


def _load_counts(source: CacheSource, device: tuple[UserId, DeviceId]) -> Mapping[str, int]:
    counts = {_USUAL: 0}
    for _, _, quoted in trees.onetimekeyid_onetimekeys.keys(source, device):
        algorithm = quoted[1:].partition(":")[0]
        counts[algorithm] = counts.get(algorithm, 0) + 1
    return counts


def _load_unused(source: CacheSource, device: tuple[UserId, DeviceId]) -> list[str]:
    return [key[2] for key, row in trees.fallbackkey.scan(source, device) if not row["used"]]


_counts: Cached[tuple[UserId, DeviceId], Mapping[str, int]] = Cached(
    "one_time_key_counts", load=_load_counts, weigh=lambda counts: 100 * len(counts)
)
_unused: Cached[tuple[UserId, DeviceId], list[str]] = Cached(
    "unused_fallback_keys", load=_load_unused, weigh=lambda names: 80 * len(names)
)


def counts(source: CacheSource, user_id: UserId, device_id: DeviceId) -> Mapping[str, int]:
    """Return how many unclaimed one-time keys the device has, by algorithm; `signed_curve25519` is always among them."""
    return _counts.get(source, (user_id, device_id))


def unused_fallback_types(source: CacheSource, user_id: UserId, device_id: DeviceId) -> list[str]:
    """Return the algorithms of the device's fallback keys that have not been handed out yet."""
    return _unused.get(source, (user_id, device_id))


def upload(batch: Batch, user_id: UserId, device_id: DeviceId, keys: Mapping[str, Any]) -> None:
    """Add one-time keys. A key that is there already is passed over if it is the same, else `InvalidParam` is raised, as for too many keys."""
    if not keys:
        return
    held = counts(batch, user_id, device_id)
    if sum(held.values()) + len(keys) > MAX_KEYS:
        raise InvalidParam(f"A device may have at most {MAX_KEYS} one-time keys")
    # Conduit writes the key id as a JSON string, with its quotes.
    quoted = {orjson.dumps(key_id).decode(): key for key_id, key in keys.items()}
    new_ids: Iterable[str] = keys
    if any(held.values()):
        rows = [(user_id, device_id, name) for name in quoted]
        present = trees.onetimekeyid_onetimekeys.get_many(batch, rows)
        known = {row[2]: key for row, key in zip(rows, present, strict=True) if key is not None}
        for name, key in known.items():
            if quoted.pop(name) != key:
                raise InvalidParam(f"A different one-time key {orjson.loads(name)} was uploaded before")
        new_ids = map(orjson.loads, quoted)
    trees.onetimekeyid_onetimekeys.put_under(batch, (user_id, device_id), quoted)
    new: dict[str, list[str]] = {}
    for key_id in new_ids:
        new.setdefault(key_id.partition(":")[0], []).append(key_id)
    for algorithm, key_ids in new.items():
        for first in range(0, len(key_ids), _ROW_IDS):
            pack = _SEPARATOR.join(key_ids[first : first + _ROW_IDS])
            trees.onetimekey_order.put(batch, (user_id, device_id, algorithm, batch.next_count()), pack)
    added = {algorithm: held.get(algorithm, 0) + len(key_ids) for algorithm, key_ids in new.items()}
    _touched(batch, user_id, device_id, {**held, **added})


def upload_fallback(batch: Batch, user_id: UserId, device_id: DeviceId, keys: Mapping[str, Any]) -> None:
    """Set fallback keys, one an algorithm; a former one of the same algorithm is replaced."""
    if not keys:
        return
    algorithms = [key_id.partition(":")[0] for key_id in keys]
    if len(set(algorithms)) != len(algorithms):
        raise InvalidParam("There can be only one fallback key per algorithm")
    known = {key[2] for key in trees.fallbackkey.keys(batch, (user_id, device_id))}
    if len(known.union(algorithms)) > MAX_FALLBACK_KEYS:
        raise InvalidParam(f"A device may have at most {MAX_FALLBACK_KEYS} fallback keys")
    for (key_id, key), algorithm in zip(keys.items(), algorithms, strict=True):
        row = (user_id, device_id, algorithm)
        present = trees.fallbackkey.get(batch, row)
        # Uploading the same key again does not make it unused.
        used = present is not None and present["key_id"] == key_id and present["key"] == key and present["used"]
        trees.fallbackkey.put(batch, row, {"key_id": key_id, "key": key, "used": used})
    _unused.forget(batch, (user_id, device_id))
    batch.wake(("user", user_id))


def claim(batch: Batch, user_id: UserId, device_id: DeviceId, algorithm: str) -> dict[str, Any] | None:
    """Hand out one key of the device as `{"algorithm:id": key}`, or `None` if it has none of that algorithm."""
    for order, pack in trees.onetimekey_order.scan(batch, (user_id, device_id, algorithm)):
        key, left = None, pack
        while left and key is None:
            key_id, _, left = left.partition(_SEPARATOR)
            row = (user_id, device_id, orjson.dumps(key_id).decode())
            key = trees.onetimekeyid_onetimekeys.get(batch, row)
        if left:
            trees.onetimekey_order.put(batch, order, left)
        else:
            trees.onetimekey_order.delete(batch, order)
        if key is not None:
            trees.onetimekeyid_onetimekeys.delete(batch, row)
            held = counts(batch, user_id, device_id)
            _touched(batch, user_id, device_id, _without_one(held, algorithm))
            return {key_id: key}
    # Keys that Conduit stored have no order.
    quoted = f'"{algorithm}:'
    unordered = next(trees.onetimekeyid_onetimekeys.scan(batch, (user_id, device_id), start=quoted), None)
    if unordered is not None and unordered[0][2].startswith(quoted):
        held = counts(batch, user_id, device_id)
        trees.onetimekeyid_onetimekeys.delete(batch, unordered[0])
        _touched(batch, user_id, device_id, _without_one(held, algorithm))
        return {orjson.loads(unordered[0][2]): unordered[1]}
    fallback = trees.fallbackkey.get(batch, (user_id, device_id, algorithm))
    if fallback is None:
        return None
    if not fallback["used"]:
        trees.fallbackkey.put(batch, (user_id, device_id, algorithm), {**fallback, "used": True})
        _unused.forget(batch, (user_id, device_id))
        batch.wake(("user", user_id))
    return {fallback["key_id"]: fallback["key"]}


def delete(batch: Batch, user_id: UserId, device_id: DeviceId) -> None:
    """Remove all keys of a device that is being deleted."""
    for tree in (trees.onetimekeyid_onetimekeys, trees.onetimekey_order, trees.fallbackkey):
        tree.delete_prefix(batch, (user_id, device_id))
    _counts.forget(batch, (user_id, device_id))
    _unused.forget(batch, (user_id, device_id))


def _without_one(held: Mapping[str, int], algorithm: str) -> dict[str, int]:
    rest = {**held, algorithm: held.get(algorithm, 1) - 1}
    return {name: number for name, number in rest.items() if number or name == _USUAL}


def _touched(batch: Batch, user_id: UserId, device_id: DeviceId, held: Mapping[str, int]) -> None:
    """Note that the device now has these keys, by algorithm."""
    trees.userid_lastonetimekeyupdate.put(batch, user_id, batch.next_count())
    _counts.set(batch, (user_id, device_id), held)
    batch.wake(("user", user_id))
