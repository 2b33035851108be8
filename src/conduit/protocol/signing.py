"""Ed25519 signatures over canonical JSON.

nacl's bindings are called directly: its classes cost more than the arithmetic around the curve.

Source: appendices, "Signing JSON"; RFC 8410 and RFC 5958 for the stored form of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError

from conduit.protocol.canonical_json import dump, encode
from conduit.protocol.errors import BadJson
from conduit.utils import base64

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
ALGORITHM: Final = "ed25519"

_NOT_SIGNED = frozenset({"signatures", "unsigned"})
# OneAsymmetricKey: SEQUENCE { version, AlgorithmIdentifier { 1.3.101.112 }, OCTET STRING { OCTET STRING seed } … }
_DER_KEY = bytes.fromhex("300506032b657004220420")
_DER_KEY_AT = 5
_DER_V2_HEAD = bytes.fromhex("3051020101") + _DER_KEY
_DER_V2_PUBLIC = bytes.fromhex("812100")


@dataclass(frozen=True, slots=True)
class OldKey:
    """The public half of a key that no longer signs: what it signed until `expired_ts` (ms) still counts."""

    public_key: str
    expired_ts: int


class SigningKey:
    """A private key with the name under which its public half is published."""

    __slots__ = ("_seed", "_signer", "key_id", "public_key", "version")

    def __init__(self, seed: bytes, version: str) -> None:
        """Make the key of a 32-byte secret seed; `version` is what follows `ed25519:` in its id."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a signing key is made from {SEED_BYTES} bytes")
        public, self._signer = crypto_sign_seed_keypair(seed)
        self._seed: Final = seed
        self.version: Final = version
        self.key_id: Final = f"{ALGORITHM}:{version}"
        self.public_key: Final = base64.encode(public)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    @classmethod
    def from_pkcs8(cls, der: bytes, version: str) -> SigningKey:
        """Return the key that a PKCS#8 document holds (version 1, or 2 with the public key in any of its spellings).

        Raises `ValueError` when it is no Ed25519 key.
        """
        seed_at = _DER_KEY_AT + len(_DER_KEY)
        if der[:1] != b"\x30" or der[_DER_KEY_AT:seed_at] != _DER_KEY:
            raise ValueError("not an Ed25519 key in PKCS#8 form")
        return cls(der[seed_at : seed_at + SEED_BYTES], version)

    def to_pkcs8(self) -> bytes:
        """Return the key as a PKCS#8 document, version 2 with the public key, as Conduit stores it."""
        return _DER_V2_HEAD + self._seed + _DER_V2_PUBLIC + base64.decode(self.public_key)

    def sign(self, message: bytes) -> str:
        """Return the signature over `message` in unpadded Base64."""
        return base64.encode(crypto_sign(message, self._signer)[:crypto_sign_BYTES])

    def sign_json(self, value: dict[str, Any], server_name: str) -> dict[str, Any]:
        """Return a copy of the object with this key's signature added under `server_name`.

        `unsigned` and earlier signatures stay and are not covered. Raises `BadJson` when the object has no
        canonical form.
        """
        signature = self.sign(encode({k: v for k, v in value.items() if k not in _NOT_SIGNED}))
        return {**value, "signatures": with_signature(value.get("signatures"), server_name, self.key_id, signature)}


def with_signature(signatures: Any, server_name: str, key_id: str, signature: str) -> dict[str, Any]:
    """Return a `signatures` object with one more entry; the former one is left as it was."""
    merged = dict(signatures) if isinstance(signatures, dict) else {}
    entry = merged.get(server_name)
    merged[server_name] = {**entry, key_id: signature} if isinstance(entry, dict) else {key_id: signature}
    return merged


def signature_of(value: dict[str, Any], entity: str, key_id: str) -> str | None:
    """Return the signature of `entity` by the key `key_id` on an object, if it carries one."""
    signatures = value.get("signatures")
    entry = signatures.get(entity) if isinstance(signatures, dict) else None
    signature = entry.get(key_id) if isinstance(entry, dict) else None
    return signature if isinstance(signature, str) else None


def verify_bytes(message: bytes, signature: str, public_key: str) -> bool:
    """Tell whether `signature` (Base64) over `message` was made with the private half of `public_key` (Base64)."""
    try:
        raw, key = base64.decode(signature), base64.decode(public_key)
    except ValueError:
        return False
    if len(raw) != crypto_sign_BYTES or len(key) != PUBLIC_KEY_BYTES:
        return False
    try:
        crypto_sign_open(raw + message, key)
    except (CryptoError, ValueError):
        return False
    return True


def verify(value: dict[str, Any], server: str, key_id: str, public_key: str) -> bool:
    """Tell whether the object carries a valid signature of `server` by the key `key_id`.

    The object has been checked (`canonical_json.check`); one without canonical form is not validly signed. For an
    event, give its redacted form, or use `verify_bytes` over `hashes.essential_bytes`.
    """
    signature = signature_of(value, server, key_id)
    if signature is None or not key_id.startswith(ALGORITHM + ":"):
        return False
    try:
        message = dump({k: v for k, v in value.items() if k not in _NOT_SIGNED})
    except (TypeError, BadJson):
        return False
    return verify_bytes(message, signature, public_key)
