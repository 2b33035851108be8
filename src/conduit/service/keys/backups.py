"""Server-side backups of room keys.

A version is a count in decimal text. Keys are written only to the newest version. A deleted version leaves its etag row behind, so that
deleting it once more succeeds. What `auth_data` and `session_data` hold is between a user's clients: it is stored and given back as it came.

Source: client-server API, "Server-side key backups".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.protocol import canonical_json
from conduit.protocol.errors import BadJson, InvalidParam, MissingParam, NotFound, WrongRoomKeysVersion
from conduit.protocol.ids import UserId

MAX_VERSIONS: Final = 1000
"""How many a user may have at a time: all are looked at to find the newest, with each chunk of keys."""

Rooms = Mapping[str, Mapping[str, dict[str, Any]]]
"""room id -> session id -> key backup data."""


def _load_count(source: CacheSource, backup: tuple[UserId, str]) -> int:
    return sum(1 for _ in trees.backupkeyid_backup.keys(source, backup))


_key_count: Cached[tuple[UserId, str], int] = Cached("backup_key_count", load=_load_count, weigh=lambda _: 30)


def create(batch: Batch, user_id: UserId, algorithm: str, auth_data: Any) -> str:
    """Start a new version, the current one from now on; return its name. Raises `InvalidParam` for one too many."""
    if sum(1 for _ in trees.backupid_algorithm.keys(batch, (user_id,))) >= MAX_VERSIONS:
        raise InvalidParam(f"You may have at most {MAX_VERSIONS} backups; delete old ones first")
    count = batch.next_count()
    version = str(count)
    trees.backupid_algorithm.put(batch, (user_id, version), {"algorithm": algorithm, "auth_data": auth_data})
    trees.backupid_etag.put(batch, (user_id, version), count)
    return version


def current_version(source: CacheSource, user_id: UserId) -> str | None:
    """Return the newest version, or `None`."""
    # Decimal text sorts 9 after 10: the newest is the greatest number.
    versions = [version for _, version in trees.backupid_algorithm.keys(source, (user_id,))]
    return max(versions, key=int, default=None)


def describe(source: CacheSource, user_id: UserId, version: str | None) -> dict[str, Any]:
    """Return `{algorithm, auth_data, count, etag, version}` of a version, the current one if `None`; raises `NotFound`."""
    if version is None:
        version = current_version(source, user_id)
        if version is None:
            raise NotFound("No current backup version")
    return {**_backup(source, user_id, version), "version": version, **state(source, user_id, version)}


def state(source: CacheSource, user_id: UserId, version: str) -> dict[str, Any]:
    """Return `{etag, count}`."""
    etag = trees.backupid_etag.get(source, (user_id, version))
    return {"etag": str(etag or 0), "count": _key_count.get(source, (user_id, version))}


def set_auth_data(batch: Batch, user_id: UserId, version: str, algorithm: str, auth_data: Any) -> None:
    """Replace the `auth_data` of a version; its algorithm is fixed."""
    if _backup(batch, user_id, version)["algorithm"] != algorithm:
        raise InvalidParam("Algorithm does not match")
    trees.backupid_algorithm.put(batch, (user_id, version), {"algorithm": algorithm, "auth_data": auth_data})


def delete_version(batch: Batch, user_id: UserId, version: str) -> None:
    """Remove a version and its keys; one that was deleted before stays so, one that never was raises `NotFound`."""
    if trees.backupid_etag.get(batch, (user_id, version)) is None:
        _backup(batch, user_id, version)
    trees.backupid_algorithm.delete(batch, (user_id, version))
    trees.backupkeyid_backup.delete_prefix(batch, (user_id, version))
    _key_count.forget(batch, (user_id, version))


def put_keys(batch: Batch, user_id: UserId, version: str, rooms: Rooms) -> dict[str, Any]:
    """Store keys (checked by `parse_key`) in the current version, keeping the better one of two; return `{etag, count}`.

    Raises `WrongRoomKeysVersion`, naming the current version, if `version` is not that.
    """
    current = current_version(batch, user_id)
    if current is None:
        raise NotFound("No current backup version")
    if version != current:
        raise WrongRoomKeysVersion("Wrong backup version.", current_version=current)
    before = _key_count.get(batch, (user_id, version))
    added = changed = 0
    for room_id, sessions in rooms.items():
        for session_id, key in sessions.items():
            row = (user_id, version, room_id, session_id)
            present = trees.backupkeyid_backup.get(batch, row)
            if present is None:
                added += 1
            elif not _is_better(key, present):
                continue
            changed += 1
            trees.backupkeyid_backup.put(batch, row, key)
    if changed:
        _changed(batch, user_id, version, before + added)
    return state(batch, user_id, version)


def keys(
    source: CacheSource, user_id: UserId, version: str, room_id: str | None = None, session_id: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return room -> session -> key of a version, of one room or one session if named. Raises `NotFound` for an unknown version."""
    _backup(source, user_id, version)
    found: dict[str, dict[str, Any]] = {}
    for (_, _, room, session), key in _rows(source, user_id, version, room_id, session_id):
        found.setdefault(room, {})[session] = key
    return found


def delete_keys(
    batch: Batch, user_id: UserId, version: str, room_id: str | None = None, session_id: str | None = None
) -> dict[str, Any]:
    """Remove the keys of a version, of one room or one session if named; return `{etag, count}`."""
    _backup(batch, user_id, version)
    before = _key_count.get(batch, (user_id, version))
    rows = [row for row, _ in _rows(batch, user_id, version, room_id, session_id)]
    for row in rows:
        trees.backupkeyid_backup.delete(batch, row)
    if rows:
        _changed(batch, user_id, version, before - len(rows))
    return state(batch, user_id, version)


def parse_auth_data(body: Mapping[str, Any]) -> Any:
    """Return the `auth_data` of a version: any JSON that an event could hold. Raises `MissingParam` or `BadJson`."""
    if "auth_data" not in body:
        raise MissingParam("Missing required field 'auth_data'")
    canonical_json.check(body["auth_data"])
    return body["auth_data"]


def parse_key(value: Any) -> dict[str, Any]:
    """Return `value` as key backup data, known fields only; raise `BadJson`."""
    if not isinstance(value, dict):
        raise BadJson("Key backup data must be an object")
    for name in ("first_message_index", "forwarded_count"):
        number = value.get(name)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise BadJson(f"{name} must be a number from 0")
    if not isinstance(value.get("is_verified"), bool):
        raise BadJson("is_verified must be true or false")
    if "session_data" not in value:
        raise BadJson("session_data is missing")
    canonical_json.check(value["session_data"])
    return {name: value[name] for name in ("first_message_index", "forwarded_count", "is_verified", "session_data")}


def _rows(
    source: CacheSource, user_id: UserId, version: str, room_id: str | None, session_id: str | None
) -> Iterable[tuple[tuple[str, str, str, str], dict[str, Any]]]:
    if room_id is None:
        return trees.backupkeyid_backup.scan(source, (user_id, version))
    if session_id is None:
        return trees.backupkeyid_backup.scan(source, (user_id, version, room_id))
    row = (user_id, version, room_id, session_id)
    key = trees.backupkeyid_backup.get(source, row)
    return [] if key is None else [(row, key)]


def _is_better(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if new["is_verified"] != old["is_verified"]:
        return bool(new["is_verified"])
    if new["first_message_index"] != old["first_message_index"]:
        return bool(new["first_message_index"] < old["first_message_index"])
    return bool(new["forwarded_count"] < old["forwarded_count"])


def _backup(source: CacheSource, user_id: UserId, version: str) -> dict[str, Any]:
    backup: dict[str, Any] | None = trees.backupid_algorithm.get(source, (user_id, version))
    if backup is None:
        raise NotFound("Unknown backup version")
    return backup


def _changed(batch: Batch, user_id: UserId, version: str, key_count: int) -> None:
    trees.backupid_etag.put(batch, (user_id, version), batch.next_count())
    _key_count.set(batch, (user_id, version), key_count)
