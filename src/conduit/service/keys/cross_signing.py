"""Cross-signing: publishing a user's three keys, and signatures on keys.

Source: client-server API, "Cross-signing"; POST /keys/device_signing/upload, POST /keys/signatures/upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol import signing
from conduit.protocol.errors import BadJson, Forbidden, InvalidSignature, MatrixError, MissingParam, NotFound
from conduit.protocol.ids import UserId
from conduit.service.keys import device_keys, device_lists, shapes

USAGES = ("master", "self_signing", "user_signing")

KeySet = dict[str, tuple[dict[str, Any], str]]
"""usage -> (key object, public key)."""


def parse(body: Mapping[str, Any], user_id: UserId) -> KeySet:
    """Return the keys in the body of an upload, shapes checked."""
    keys: KeySet = {}
    for usage in USAGES:
        name = f"{usage}_key"
        if body.get(name) is not None:
            keys[usage] = shapes.cross_signing_key(body[name], name, usage, user_id)
    return keys


def needs_authentication(source: CacheSource, user_id: UserId, keys: KeySet) -> bool:
    """Tell whether the upload replaces anything: there is a master key, and some key of the upload is new."""
    if device_keys.cross_signing_key(source, user_id, "master") is None:
        return False
    return any(not _is_current(source, user_id, usage, key) for usage, (key, _) in keys.items())


def _is_current(source: CacheSource, user_id: UserId, usage: str, key: Mapping[str, Any]) -> bool:
    current = device_keys.cross_signing_key(source, user_id, usage)
    return current is not None and current["keys"] == key["keys"]


def upload(batch: Batch, user_id: UserId, keys: KeySet) -> None:
    """Publish `keys`.

    Raises `MissingParam` without any master key, `InvalidSignature`, or `Forbidden` for a key that is a device's id or serves another usage: all of
    them share one name space.
    """
    if "master" in keys:
        master = keys["master"][0]
    else:
        current = device_keys.cross_signing_key(batch, user_id, "master")
        if current is None:
            raise MissingParam("No master signing key is available")
        master = current
    ((_, master_public),) = master["keys"].items()
    publics = [public_key for _, public_key in keys.values()]
    if len(set(publics)) != len(publics):
        raise Forbidden("Key ID in use")
    changed: set[str] = set()
    for usage, (key, public_key) in keys.items():
        if trees.userdeviceid_metadata.has(batch, (user_id, public_key)):
            raise Forbidden("Key ID in use")
        if device_keys.cross_signing_usage(batch, user_id, public_key) not in (None, usage):
            raise Forbidden("Key ID in use")
        if usage != "master" and not signing.verify(key, user_id, f"ed25519:{master_public}", master_public):
            raise InvalidSignature(f"The {usage} key is not signed by the master key")
        if _is_current(batch, user_id, usage, key):
            continue
        device_keys.set_cross_signing_key(batch, user_id, usage, public_key, key)
        changed.add(usage)
    if changed == {"user_signing"}:
        # Nobody else is shown this key.
        device_lists.record_private_change(batch, user_id, user_id)
    elif changed:
        device_lists.record_change(batch, user_id, signing_keys=True)


def add_signatures(
    batch: Batch, signer: UserId, signed: Mapping[str, Any], *, is_local: Any
) -> dict[str, dict[str, dict[str, Any]]]:
    """Add `signer`'s signatures to stored keys; return the failures as user -> key id -> error object.

    `is_local` tells of a user id whether it belongs here.
    """
    failures: dict[str, dict[str, dict[str, Any]]] = {}
    own: set[str] = set()
    for user, keys in signed.items():
        if not isinstance(keys, dict):
            raise BadJson("A map from user ID to key ID to signed object was expected")
        for key_id, key in keys.items():
            try:
                _add(batch, signer, UserId(user), key_id, key, is_local=is_local)
            except MatrixError as error:
                failures.setdefault(user, {})[key_id] = error.body()
                continue
            if user == signer:
                own.add(key_id)
            else:
                device_lists.record_private_change(batch, signer, UserId(user))
    if own:
        signed_devices = [key_id for key_id in own if trees.userdeviceid_metadata.has(batch, (signer, key_id))]
        device_lists.record_change(batch, signer, signed_devices, signing_keys=len(signed_devices) < len(own))
    return failures


def _add(batch: Batch, signer: UserId, user_id: UserId, key_id: str, key: Any, *, is_local: Any) -> None:
    if not isinstance(key, dict):
        raise BadJson("A signed object was expected")
    stored: dict[str, Any] | None = trees.keyid_key.get(batch, (user_id, key_id))
    if stored is None or (user_id != signer and not is_local(user_id) and "usage" not in stored):
        raise NotFound("No such key")
    signatures = key.get("signatures")
    own = signatures.get(signer) if isinstance(signatures, dict) else None
    if not isinstance(own, dict) or not own:
        raise InvalidSignature("The object holds no signature by the caller")
    if _bare(key) != _bare(stored):
        raise InvalidSignature("The object differs from the key that is stored")
    known = stored.get("signatures", {}).get(signer, {})
    for signing_key_id, signature in own.items():
        if known.get(signing_key_id) == signature:
            continue  # sent along with the new ones
        public_key = _signing_key(batch, signer, user_id, key_id, stored, signing_key_id)
        one = {**_bare(key), "signatures": {signer: {signing_key_id: signature}}}
        if not signing.verify(one, signer, signing_key_id, public_key):
            raise InvalidSignature("The signature does not verify")
    merged = device_keys.merge_signatures(stored, {"signatures": {signer: own}})
    trees.keyid_key.put(batch, (user_id, key_id), merged)


def _bare(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name not in ("signatures", "unsigned")}


def _signing_key(
    source: CacheSource, signer: UserId, user_id: UserId, key_id: str, stored: Mapping[str, Any], signing_key_id: str
) -> str:
    """Return the public key behind `signing_key_id` if it is one that may sign this object; raise `InvalidSignature` otherwise."""
    is_master = device_keys.cross_signing_usage(source, user_id, key_id) == "master"
    if user_id != signer:
        # Another's master key is signed by the caller's user-signing key, and nothing else of theirs is.
        allowed = "user_signing" if is_master else None
    elif is_master:
        # One's own master key is signed by one's devices.
        device_id = signing_key_id.partition(":")[2]
        device: dict[str, Any] | None = trees.keyid_key.get(source, (signer, device_id))
        public_key = None if device is None else device["keys"].get(signing_key_id)
        if public_key is None or "device_id" not in (device or {}):
            raise InvalidSignature("A master key is signed by the user's devices")
        return str(public_key)
    else:
        allowed = "self_signing" if "device_id" in stored else None
    key = None if allowed is None else device_keys.cross_signing_key(source, signer, allowed)
    public = None if key is None else key["keys"].get(signing_key_id)
    if public is None:
        raise InvalidSignature("This key may not sign that object")
    return str(public)
