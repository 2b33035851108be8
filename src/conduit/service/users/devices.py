"""Devices: a session of a user with its name, tokens and keys.

A device exists when it has a row in `userdeviceid_metadata`. Deleting one deletes all that belongs to it: tokens, keys, one-time keys, unread to-device messages,
pushers. Every prefix below ends in its separator, so device `1` never takes device `10` with it. Whoever makes, renames or deletes one also calls
`service.keys.device_lists.record_change`, which tells those who encrypt for the user.

Source: client-server API, "Device Management"; "End-to-End Encryption".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch, Database
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import UserId
from conduit.service.users import tokens
from conduit.service.users.requester import Requester
from conduit.utils.tokens import UPPERCASE, random_text

MAX_NAME_LENGTH = 100
MAX_AGENT_LENGTH = 256
USER_AGENT = "conduit_py.user_agent"
"""Key of the row, beside those of the specification, for what only /whois tells."""
SEEN_EVERY_MS = 10 * 60_000
"""How precise the time of last use is: writing it costs a sync of the disk."""

Device = dict[str, Any]
"""`device_id`, and where known `display_name`, `last_seen_ip`, `last_seen_ts` (ms): the specification's form."""


def new_device_id() -> str:
    """Return an id for a device whose client named none."""
    return random_text(10, UPPERCASE)


def get(source: CacheSource, user_id: str, device_id: str) -> Device | None:
    """Return the device, or `None`."""
    row = trees.userdeviceid_metadata.get(source, (user_id, device_id))
    return None if row is None else _known(row)


def exists(source: CacheSource, user_id: str, device_id: str) -> bool:
    """Tell whether the user has such a device."""
    return trees.userdeviceid_metadata.has(source, (user_id, device_id))


def list_all(source: CacheSource, user_id: str) -> list[Device]:
    """Return the user's devices, by id."""
    return [_known(row) for _, row in trees.userdeviceid_metadata.scan(source, (user_id,))]


def ids(source: CacheSource, user_id: str) -> list[str]:
    """Return the ids of the user's devices, in order."""
    return [device_id for _, device_id in trees.userdeviceid_metadata.keys(source, (user_id,))]


def create(
    batch: Batch,
    user_id: UserId,
    device_id: str,
    *,
    display_name: str | None = None,
    ip: str = "",
    now_ms: int = 0,
    user_agent: str = "",
) -> bool:
    """Make the device unless it exists; return whether it was made. A known device keeps its name.

    Raises `Forbidden` for an id that is one of the user's cross-signing keys.
    """
    if trees.userdeviceid_metadata.has(batch, (user_id, device_id)):
        return False
    if trees.keyid_key.has(batch, (user_id, device_id)):
        raise Forbidden("The device ID is that of a cross-signing key")
    row: Device = {"device_id": device_id}
    if display_name is not None:
        row["display_name"] = display_name[:MAX_NAME_LENGTH]
    if ip:
        row["last_seen_ip"] = ip
    if now_ms:
        row["last_seen_ts"] = now_ms
    if user_agent:
        row[USER_AGENT] = user_agent[:MAX_AGENT_LENGTH]
    trees.userdeviceid_metadata.put(batch, (user_id, device_id), row)
    return True


def rename(batch: Batch, user_id: UserId, device_id: str, display_name: str) -> bool:
    """Give the device a name; return whether there is such a device."""
    row = trees.userdeviceid_metadata.get(batch, (user_id, device_id))
    if row is None:
        return False
    row["display_name"] = display_name
    trees.userdeviceid_metadata.put(batch, (user_id, device_id), row)
    return True


def delete(batch: Batch, user_id: UserId, device_id: str) -> bool:
    """Delete the device with all that belongs to it; return whether there was one."""
    tokens.revoke(batch, user_id, device_id)
    if not trees.userdeviceid_metadata.has(batch, (user_id, device_id)):
        return False
    trees.userdeviceid_metadata.delete(batch, (user_id, device_id))
    trees.keyid_key.delete(batch, (user_id, device_id))
    trees.todevice_waiting.delete(batch, (user_id, device_id))
    for tree in (
        trees.onetimekeyid_onetimekeys,
        trees.fallbackkey,
        trees.todeviceid_events,
        trees.userdevicetxnid_response,
        trees.userdevicesessionid_uiaainfo,
    ):
        tree.delete_prefix(batch, (user_id, device_id))
    trees.lazyloadedids.delete_prefix(batch, (user_id, device_id))
    for row, (time, _) in list(trees.transaction.scan(batch, (user_id, device_id))):
        trees.transaction.delete(batch, row)
        trees.transaction_age.delete(batch, (time, *row))
    for key, pusher in list(trees.senderkey_pusher.scan(batch, (user_id,))):
        if isinstance(pusher, dict) and pusher.get("device_id") == device_id:
            trees.senderkey_pusher.delete(batch, key)
    return True


def delete_many(batch: Batch, user_id: UserId, device_ids: Iterable[str]) -> int:
    """Delete those of the devices that exist; return how many that were."""
    return sum(delete(batch, user_id, device_id) for device_id in device_ids)


def changed(batch: Batch, user_id: UserId) -> int:
    """Put the user at the end of the device-list stream; return the count. Devices or their keys have changed.

    This writes rows only; `service.keys.device_lists.record_change` also wakes whoever shares a room.
    """
    count = batch.next_count()
    before = trees.devicelist_latest.get(batch, user_id)
    if before is not None:
        trees.devicelist_stream.delete(batch, before)
    trees.devicelist_stream.put(batch, count, user_id)
    trees.devicelist_latest.put(batch, user_id, count)
    version = trees.userid_devicelistversion.get(batch, user_id) or 0
    trees.userid_devicelistversion.put(batch, user_id, version + 1)
    batch.wake(("user", user_id))
    return count


def version(source: CacheSource, user_id: str) -> int:
    """Return how often the user's devices have changed."""
    return trees.userid_devicelistversion.get(source, user_id) or 0


def seen(db: Database, requester: Requester, ip: str, now_ms: int, user_agent: str = "") -> None:
    """Note when and from where the device was used last, every ten minutes at most; otherwise this costs nothing."""
    if now_ms < requester.seen_until or not requester.device_id:
        return
    key = (requester.user_id, requester.device_id)
    row = trees.userdeviceid_metadata.get(db, key)
    if row is None:
        return
    last = row.get("last_seen_ts") or 0
    if 0 <= now_ms - last < SEEN_EVERY_MS and row.get("last_seen_ip") == ip:
        requester.seen_until = last + SEEN_EVERY_MS
        return
    requester.seen_until = now_ms + SEEN_EVERY_MS
    with db.batch() as batch:
        seen_now = {"last_seen_ts": now_ms, "last_seen_ip": ip, USER_AGENT: user_agent[:MAX_AGENT_LENGTH]}
        trees.userdeviceid_metadata.put(batch, key, {**row, **seen_now})


def user_agent(source: CacheSource, user_id: str, device_id: str) -> str:
    """Return what the device's client said that it is; empty if it said nothing."""
    row = trees.userdeviceid_metadata.get(source, (user_id, device_id))
    return str(row.get(USER_AGENT, "")) if row is not None else ""


def _known(row: Device) -> Device:
    # Conduit writes null for what it does not know; our answers leave it out.
    return {name: value for name, value in row.items() if value is not None and name != USER_AGENT}
