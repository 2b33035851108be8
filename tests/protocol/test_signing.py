from __future__ import annotations

from typing import Any

import pytest
import signedjson.key
import signedjson.sign
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol import signing
from conduit.protocol.errors import BadJson
from conduit.protocol.signing import SigningKey
from conduit.utils import base64
from tests.protocol.test_canonical_json import JSON, TEXT

# Appendices, "Cryptographic Test Vectors".
SEED_TEXT = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
SEED = base64.decode(SEED_TEXT)
KEY = SigningKey(SEED, "1")
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_sign_json_gives_the_specifications_vectors(value: dict[str, Any], signature: str) -> None:
    """Both examples of the appendix, and they verify."""
    signed = KEY.sign_json(value, "domain")
    assert signed == {**value, "signatures": {"domain": {"ed25519:1": signature}}}
    assert signing.verify(signed, "domain", "ed25519:1", KEY.public_key)


@given(OBJECTS)
def test_sign_json_makes_the_signatures_of_signedjson(value: dict[str, Any]) -> None:
    """Ours equals theirs, and each side verifies the other's."""
    theirs = signedjson.key.decode_signing_key_base64("ed25519", "1", SEED_TEXT)
    plain = {key: child for key, child in value.items() if key not in ("signatures", "unsigned")}
    ours = KEY.sign_json(plain, "one")
    assert ours == signedjson.sign.sign_json(dict(plain), "one", theirs)
    signedjson.sign.verify_signed_json(dict(ours), "one", signedjson.key.get_verify_key(theirs))
    assert signing.verify(ours, "one", KEY.key_id, KEY.public_key)


def test_sign_json_leaves_unsigned_and_earlier_signatures() -> None:
    """Neither is covered, both stay, and the argument is not touched."""
    value = {"a": 1, "unsigned": {"age": 1.5}, "signatures": {"two": {"ed25519:x": "s"}, "one": {"ed25519:y": "t"}}}
    signed = KEY.sign_json(value, "one")
    bare = KEY.sign_json({"a": 1}, "one")["signatures"]["one"]["ed25519:1"]
    assert signed["unsigned"] == {"age": 1.5}
    assert signed["signatures"] == {"two": {"ed25519:x": "s"}, "one": {"ed25519:y": "t", "ed25519:1": bare}}
    assert value["signatures"] == {"two": {"ed25519:x": "s"}, "one": {"ed25519:y": "t"}}


def test_sign_json_refuses_what_has_no_canonical_form() -> None:
    """A float would be written differently elsewhere, and the signature be worth nothing."""
    with pytest.raises(BadJson):
        KEY.sign_json({"a": 0.5}, "one")


def test_verify_fails_when_anything_differs() -> None:
    """Another content, server, key id, key, or signature."""
    signed = KEY.sign_json({"a": 1}, "one")
    other = SigningKey(bytes(32), "1")
    signature = signed["signatures"]["one"]["ed25519:1"]
    assert signing.verify(signed, "one", "ed25519:1", KEY.public_key + "=")
    assert not signing.verify({**signed, "a": 2}, "one", "ed25519:1", KEY.public_key)
    assert not signing.verify(signed, "two", "ed25519:1", KEY.public_key)
    assert not signing.verify(signed, "one", "ed25519:2", KEY.public_key)
    assert not signing.verify(signed, "one", "ed25519:1", other.public_key)
    swapped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    assert not signing.verify(
        {"a": 1, "signatures": {"one": {"ed25519:1": swapped}}}, "one", "ed25519:1", KEY.public_key
    )


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        "x",
        {},
        {"one": None},
        {"one": []},
        {"one": {"ed25519:1": 5}},
        {"one": {"ed25519:1": "§"}},
        {"one": {"ed25519:1": ""}},
        {"one": {"ed25519:1": "AAAA"}},
    ],
)
def test_verify_says_no_to_signatures_of_any_shape(signatures: Any) -> None:
    """Hostile shapes are not signed; nothing is raised."""
    assert not signing.verify({"a": 1, "signatures": signatures}, "one", "ed25519:1", KEY.public_key)


@pytest.mark.parametrize("public_key", ["", "§", "AAAA", base64.encode(bytes(31)), base64.encode(bytes(33))])
def test_verify_says_no_to_public_keys_of_any_shape(public_key: str) -> None:
    """A key of the wrong length is no key."""
    assert not signing.verify(KEY.sign_json({}, "one"), "one", "ed25519:1", public_key)


def test_verify_knows_no_other_algorithm() -> None:
    """A key id of another algorithm never verifies, whatever the bytes."""
    signature = KEY.sign(b"{}")
    value = {"signatures": {"one": {"rsa:1": signature}}}
    assert not signing.verify(value, "one", "rsa:1", KEY.public_key)


def test_key_reads_pkcs8_of_others() -> None:
    """Version 1 as OpenSSL writes it, version 2 as ring wrote it for older Conduits."""
    theirs = Ed25519PrivateKey.from_private_bytes(SEED)
    der = theirs.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert SigningKey.from_pkcs8(der, "1").public_key == KEY.public_key
    ring = bytes.fromhex("3053020101300506032b657004220420") + SEED + bytes.fromhex("a123032100") + bytes(32)
    assert SigningKey.from_pkcs8(ring, "1").public_key == KEY.public_key


def test_key_survives_being_stored() -> None:
    """to_pkcs8 and from_pkcs8 are each other's inverse, and the document is one that others read."""
    again = SigningKey.from_pkcs8(KEY.to_pkcs8(), "abc")
    assert again.key_id == "ed25519:abc"
    assert again.sign(b"x") == KEY.sign(b"x")
    assert len(KEY.to_pkcs8()) == KEY.to_pkcs8()[1] + 2


@pytest.mark.parametrize("der", [b"", b"\x30" + bytes(47), SEED])
def test_key_refuses_other_documents(der: bytes) -> None:
    """What is no Ed25519 key gives one clear error."""
    with pytest.raises(ValueError, match="Ed25519"):
        SigningKey.from_pkcs8(der, "1")


def test_key_hides_its_secret() -> None:
    """A logged key shows its id only."""
    assert repr(KEY) == "SigningKey(ed25519:1)"
