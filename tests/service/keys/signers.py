"""Keys as clients make them."""

from __future__ import annotations

from typing import Any

from conduit.protocol.ids import UserId
from conduit.protocol.signing import SigningKey


def key_pair(seed: int, name: str = "") -> SigningKey:
    """Return a key pair named as told, or else as cross-signing keys are: by its own public key."""
    raw = bytes([seed]) * 32
    return SigningKey(raw, name or SigningKey(raw, "x").public_key)


def device_keys(user_id: UserId, device_id: str, seed: int = 1) -> dict[str, Any]:
    """Return identity keys of a device, signed by itself."""
    key = key_pair(seed, device_id)
    keys = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"curve25519:{device_id}": "A" * 43, key.key_id: key.public_key},
    }
    return key.sign_json(keys, user_id)


class CrossSigner:
    """A user's three cross-signing keys."""

    def __init__(self, user_id: UserId, seed: int) -> None:
        self.user_id = user_id
        self.master, self.self_signing, self.user_signing = (key_pair(seed + index) for index in range(3))

    def key(self, usage: str) -> dict[str, Any]:
        """Return a key object, signed by the master key unless it is that."""
        pair: SigningKey = getattr(self, usage)
        key = {"user_id": self.user_id, "usage": [usage], "keys": {pair.key_id: pair.public_key}}
        return key if usage == "master" else self.master.sign_json(key, self.user_id)

    def body(self, *usages: str) -> dict[str, Any]:
        """Return the body of an upload, of all keys unless some are named."""
        return {f"{usage}_key": self.key(usage) for usage in usages or ("master", "self_signing", "user_signing")}
