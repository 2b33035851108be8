"""What other servers say of their users' keys, reduced to what may be kept and shown.

Whatever has the wrong shape, speaks of somebody else, or is signed wrongly is dropped; the rest of the answer counts. Absent parts of device keys are
filled in empty: there are servers and devices that leave them out, and clients that stumble over it.

Source: server-server API, "Device Management", "End-to-End Encryption".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from conduit.protocol import canonical_json, signing
from conduit.protocol.canonical_json import MAX_INTEGER
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import MAX_OPAQUE_BYTES, UserId
from conduit.service.keys import shapes

MAX_DEVICES = 1000
"""Devices taken of one user. Synapse takes no list at all that is longer."""
MAX_NAME_LENGTH = 100
MAX_PREVIOUS = 100
"""How many earlier updates one update may name."""

Json = dict[str, Any]


class RemoteDevice(NamedTuple):
    """A device in the copy of a remote user's list."""

    keys: Json | None
    name: str | None

    def row(self) -> Json:
        """Return the row to be stored."""
        found: Json = {}
        if self.keys is not None:
            found["keys"] = self.keys
        if self.name:
            found["name"] = self.name
        return found


class Snapshot(NamedTuple):
    """A whole device list, with the cross-signing keys that others may see."""

    stream_id: int
    devices: dict[str, RemoteDevice]
    master: Json | None
    self_signing: Json | None


class Update(NamedTuple):
    """A change of one device."""

    user_id: UserId
    device_id: str
    stream_id: int
    previous: tuple[int, ...]
    device: RemoteDevice | None
    """What the device is now; `None` if it is gone."""


def device_keys(value: Any, user_id: UserId, device_id: str) -> Json | None:
    """Return the identity keys of a device, `unsigned` left out; `None` if they cannot be taken."""
    if not isinstance(value, dict):
        return None
    if value.get("user_id", user_id) != user_id or value.get("device_id", device_id) != device_id:
        return None
    empty: Json = {"user_id": user_id, "device_id": device_id, "algorithms": [], "keys": {}, "signatures": {}}
    keys = {**empty, **{name: item for name, item in value.items() if name != "unsigned"}}
    algorithms = keys["algorithms"]
    if not isinstance(algorithms, list) or not all(isinstance(item, str) for item in algorithms):
        return None
    if not _is_text_map(keys["keys"]) or not _are_signatures(keys["signatures"]) or not _fits(keys):
        return None
    # The device signs its own keys. A client looks at that itself; what is known to be forged need not be passed on.
    own = f"{signing.ALGORITHM}:{device_id}"
    public_key = keys["keys"].get(own)
    if public_key is not None and signing.signature_of(keys, user_id, own) is not None:
        return keys if signing.verify(keys, user_id, own, public_key) else None
    return keys


def display_name(value: Any) -> str | None:
    """Return a device's name, cut to a bearable length, or `None`."""
    return value[:MAX_NAME_LENGTH] if isinstance(value, str) and value else None


def cross_signing(master: Any, self_signing: Any, user_id: UserId) -> tuple[Json | None, Json | None]:
    """Return the master key and the self-signing key; the latter only if the former has signed it. `None` stands for what cannot be taken."""
    taken = _cross_signing_key(master, "master", user_id)
    if taken is None:
        return None, None
    second = _cross_signing_key(self_signing, "self_signing", user_id)
    ((key_id, public_key),) = taken["keys"].items()
    if second is not None and not signing.verify(second, user_id, key_id, public_key):
        second = None
    return taken, second


def _cross_signing_key(value: Any, usage: str, user_id: UserId) -> Json | None:
    if value is None:
        return None
    try:
        return shapes.cross_signing_key(value, usage, usage, user_id)[0]
    except MatrixError:
        return None


def snapshot(answer: Mapping[str, Any], user_id: UserId) -> Snapshot | None:
    """Return what GET /user/devices has answered, `None` if it is of no use. Devices that cannot be taken are left out."""
    stream_id, devices = answer.get("stream_id"), answer.get("devices")
    if answer.get("user_id", user_id) != user_id or not _is_count(stream_id) or not isinstance(devices, list):
        return None
    found: dict[str, RemoteDevice] = {}
    for device in devices if len(devices) <= MAX_DEVICES else ():
        if not isinstance(device, dict) or not _is_device_id(device.get("device_id")):
            continue
        device_id = device["device_id"]
        keys = device_keys(device.get("keys"), user_id, device_id)
        if keys is not None:
            found[device_id] = RemoteDevice(keys, display_name(device.get("device_display_name")))
    master, self_signing = cross_signing(answer.get("master_key"), answer.get("self_signing_key"), user_id)
    return Snapshot(int(str(stream_id)), found, master, self_signing)


def update(content: Mapping[str, Any], user_id: UserId) -> Update | None:
    """Return what an `m.device_list_update` of the user says, or `None` if it cannot be understood."""
    device_id, stream_id = content.get("device_id"), content.get("stream_id")
    previous = content.get("prev_id", [])
    if previous is None:
        previous = []
    if not _is_device_id(device_id) or not _is_count(stream_id) or not isinstance(previous, list):
        return None
    if len(previous) > MAX_PREVIOUS or not all(_is_count(item) for item in previous):
        return None
    device = None
    if content.get("deleted") is not True:
        keys = device_keys(content.get("keys"), user_id, str(device_id))
        device = RemoteDevice(keys, display_name(content.get("device_display_name")))
    return Update(user_id, str(device_id), int(str(stream_id)), tuple(previous), device)


def queried(answer: Mapping[str, Any], wanted: Mapping[UserId, Collection[str]]) -> dict[UserId, Snapshot]:
    """Return what POST /user/keys/query has answered of the users in `wanted`; of a non-empty list of devices only these."""
    found: dict[UserId, Snapshot] = {}
    by_user = _object(answer.get("device_keys"))
    masters, self_signers = _object(answer.get("master_keys")), _object(answer.get("self_signing_keys"))
    for user_id, device_ids in wanted.items():
        master, self_signing = cross_signing(masters.get(user_id), self_signers.get(user_id), user_id)
        devices = by_user.get(user_id)
        if not isinstance(devices, dict) or len(devices) > MAX_DEVICES:
            if master is not None:
                found[user_id] = Snapshot(0, {}, master, self_signing)
            continue
        taken: dict[str, RemoteDevice] = {}
        for device_id, value in devices.items():
            if not _is_device_id(device_id) or (device_ids and device_id not in device_ids):
                continue
            keys = device_keys(value, user_id, device_id)
            if keys is not None:
                unsigned = _object(value.get("unsigned"))
                taken[device_id] = RemoteDevice(keys, display_name(unsigned.get("device_display_name")))
        found[user_id] = Snapshot(0, taken, master, self_signing)
    return found


def claimed(answer: Mapping[str, Any], wanted: Mapping[UserId, Mapping[str, str]]) -> dict[UserId, dict[str, Json]]:
    """Return the one-time keys in the answer of POST /user/keys/claim: of each device asked for at most one, of the algorithm asked for."""
    found: dict[UserId, dict[str, Json]] = {}
    by_user = _object(answer.get("one_time_keys"))
    for user_id, devices in wanted.items():
        by_device = _object(by_user.get(user_id))
        for device_id, algorithm in devices.items():
            for key_id, key in _object(by_device.get(device_id)).items():
                if key_id.startswith(f"{algorithm}:") and _is_one_time_key(key_id, key):
                    found.setdefault(user_id, {})[device_id] = {key_id: key}
                    break
    return found


def _is_one_time_key(key_id: str, key: Any) -> bool:
    try:
        shapes.one_time_keys({key_id: key}, "one_time_keys")
    except MatrixError:
        return False
    return True


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _is_device_id(value: Any) -> bool:
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    return len(value.encode("utf-8", "surrogatepass")) <= MAX_OPAQUE_BYTES


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _are_signatures(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text_map(item) for item in value.values())


def _fits(value: Json) -> bool:
    try:
        return len(canonical_json.encode(value)) <= shapes.MAX_KEY_OBJECT_BYTES
    except MatrixError:
        return False
