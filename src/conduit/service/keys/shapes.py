"""What uploaded keys must look like. Keys of any other shape are refused: they would be sent on to every server that asks.

Source: client-server API, "Device keys", "Cross-signing"; `DeviceKeys`, `CrossSigningKey`, `OneTimeKeys` of its OpenAPI.
"""

from __future__ import annotations

from typing import Any

import orjson

from conduit.protocol import canonical_json
from conduit.protocol.errors import BadJson, InvalidParam, TooLarge
from conduit.protocol.ids import MAX_OPAQUE_BYTES, DeviceId, UserId

MAX_KEY_OBJECT_BYTES = 16 * 1024
"""Far above any key seen; bounds what one upload makes every other server store."""

_PLAIN = frozenset({"key", "signatures"})


def _strings(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadJson(f"{what} must map strings to strings")
    # Written out: `all` over a generator takes three times as long, and there is one for each key of an upload.
    for item in value.values():
        if not isinstance(item, str):
            raise BadJson(f"{what} must map strings to strings")
    return value


def _signatures(value: Any) -> None:
    if not isinstance(value, dict):
        raise BadJson("signatures must be an object")
    for signatures in value.values():
        _strings(signatures, "signatures of a user")


def _size(value: dict[str, Any]) -> None:
    # What `canonical_json` says costs a walk; a key of nothing but a few texts needs none.
    if (
        value.keys() <= _PLAIN
        and isinstance(value.get("key"), str)
        and len(orjson.dumps(value)) <= MAX_KEY_OBJECT_BYTES
    ):
        return
    if len(canonical_json.encode(value)) > MAX_KEY_OBJECT_BYTES:
        raise TooLarge(f"A key object may hold at most {MAX_KEY_OBJECT_BYTES} bytes")


def device_keys(value: Any, user_id: UserId, device_id: DeviceId) -> dict[str, Any]:
    """Return `value` as the device keys of this very device, without `unsigned`; raise `BadJson` or `InvalidParam`."""
    if not isinstance(value, dict):
        raise BadJson("device_keys must be an object")
    if value.get("user_id") != user_id or value.get("device_id") != device_id:
        raise InvalidParam("device_keys must name the user and device of the access token")
    algorithms = value.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(item, str) for item in algorithms):
        raise BadJson("algorithms must be a list of strings")
    keys = _strings(value.get("keys"), "keys")
    for key_id in keys:
        # They should end in the device's id; others look up the name that does, so that one with another end is of no use, and no harm.
        algorithm, colon, identifier = key_id.partition(":")
        if not algorithm or not colon or not identifier:
            raise InvalidParam("The names of keys must be <algorithm>:<device_id>")
    _signatures(value.get("signatures"))
    _size(value)
    return {name: item for name, item in value.items() if name != "unsigned"}


def cross_signing_key(value: Any, name: str, usage: str, user_id: UserId) -> tuple[dict[str, Any], str]:
    """Return the cross-signing key object and its public key; raise `BadJson` or `InvalidParam`."""
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    if value.get("user_id") != user_id:
        raise InvalidParam(f"{name} must name the user of the access token")
    if not isinstance(value.get("usage"), list) or usage not in value["usage"]:
        raise InvalidParam(f"The usage of {name} must contain {usage}")
    keys = _strings(value.get("keys"), "keys")
    if len(keys) != 1:
        raise InvalidParam(f"{name} must hold exactly one key")
    ((key_id, public_key),) = keys.items()
    if key_id != f"ed25519:{public_key}" or not public_key or len(public_key) > MAX_OPAQUE_BYTES - 8:
        raise InvalidParam(f"The key of {name} must be named ed25519:<public key>")
    if "signatures" in value:
        _signatures(value["signatures"])
    _size(value)
    return {field: item for field, item in value.items() if field != "unsigned"}, public_key


def one_time_keys(value: Any, name: str) -> dict[str, Any]:
    """Return `value` as a map of `algorithm:id` to key objects; raise `BadJson` or `InvalidParam`."""
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be an object")
    # Where all of them together are small, so is each.
    all_small = len(value) > 1 and len(orjson.dumps(value)) <= MAX_KEY_OBJECT_BYTES
    for key_id, key in value.items():
        algorithm, _, identifier = key_id.partition(":")
        if not algorithm or not identifier or len(key_id.encode()) > MAX_OPAQUE_BYTES or "\0" in key_id:
            raise InvalidParam(f"The names in {name} must be <algorithm>:<key_id>")
        if isinstance(key, str):
            continue
        if not isinstance(key, dict) or not isinstance(key.get("key"), str):
            raise BadJson(f"{name} must hold strings or key objects")
        if "signatures" in key or algorithm.startswith("signed_"):
            _signatures(key.get("signatures"))
        if not all_small or not key.keys() <= _PLAIN:
            _size(key)
    return value
