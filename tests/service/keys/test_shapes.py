"""The shapes of uploaded keys."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidParam, MatrixError, TooLarge
from conduit.protocol.ids import DeviceId
from conduit.service.keys import shapes
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.rooms import ALICE, BOB

PHONE = DeviceId("PHONE")
BIG = "x" * shapes.MAX_KEY_OBJECT_BYTES


def test_device_keys_are_taken_as_they_are_without_unsigned() -> None:
    """Unknown fields are signed too, and so are kept."""
    keys = {**device_keys(ALICE, PHONE), "org.example": 1}
    assert shapes.device_keys({**keys, "unsigned": {"x": 1}}, ALICE, PHONE) == keys


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"user_id": BOB}, InvalidParam),
        ({"device_id": "PHON"}, InvalidParam),
        ({"algorithms": {}}, BadJson),
        ({"algorithms": [1]}, BadJson),
        ({"keys": {"ed25519": "x"}}, InvalidParam),
        ({"keys": {":PHONE": "x"}}, InvalidParam),
        ({"keys": {"ed25519:": "x"}}, InvalidParam),
        ({"keys": {"ed25519:PHONE": 1}}, BadJson),
        ({"signatures": []}, BadJson),
        ({"signatures": {ALICE: {"ed25519:PHONE": 1}}}, BadJson),
        ({"more": 1.5}, BadJson),
        ({"more": BIG}, TooLarge),
    ],
)
def test_other_device_keys_are_refused(change: dict[str, Any], error: type[MatrixError]) -> None:
    """They would be sent to every server that asks."""
    with pytest.raises(error):
        shapes.device_keys({**device_keys(ALICE, PHONE), **change}, ALICE, PHONE)


@pytest.mark.parametrize("field", ["user_id", "device_id", "algorithms", "keys", "signatures"])
def test_each_required_field_of_device_keys_is_required(field: str) -> None:
    """As the specification lists them."""
    keys = {name: value for name, value in device_keys(ALICE, PHONE).items() if name != field}
    with pytest.raises(MatrixError):
        shapes.device_keys(keys, ALICE, PHONE)


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_what_is_no_object_is_no_key(value: Any) -> None:
    """Whatever else it is."""
    with pytest.raises(BadJson):
        shapes.device_keys(value, ALICE, PHONE)
    with pytest.raises(BadJson):
        shapes.cross_signing_key(value, "master_key", "master", ALICE)
    with pytest.raises(BadJson):
        shapes.one_time_keys(value, "one_time_keys")


def test_cross_signing_key_comes_with_its_public_key() -> None:
    """Without `unsigned`; further usages and a missing signature are fine."""
    signer = CrossSigner(ALICE, 10)
    key = {**signer.key("master"), "usage": ["master", "org.example"]}
    parsed = shapes.cross_signing_key({**key, "unsigned": {}}, "master_key", "master", ALICE)
    assert parsed == (key, signer.master.public_key)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"user_id": BOB}, InvalidParam),
        ({"usage": ["self_signing"]}, InvalidParam),
        ({"usage": "master"}, InvalidParam),
        ({"keys": {}}, InvalidParam),
        ({"keys": {"ed25519:a": "a", "ed25519:b": "b"}}, InvalidParam),
        ({"keys": {"ed25519:a": "b"}}, InvalidParam),
        ({"keys": {"curve25519:a": "a"}}, InvalidParam),
        ({"keys": {"ed25519:": ""}}, InvalidParam),
        ({"keys": {f"ed25519:{'a' * 250}": "a" * 250}}, InvalidParam),
        ({"signatures": 1}, BadJson),
        ({"more": BIG}, TooLarge),
    ],
)
def test_other_cross_signing_keys_are_refused(change: dict[str, Any], error: type[MatrixError]) -> None:
    """One key, named after itself, for the usage that it is uploaded for."""
    with pytest.raises(error):
        shapes.cross_signing_key({**CrossSigner(ALICE, 10).key("master"), **change}, "master_key", "master", ALICE)


def test_one_time_keys_are_strings_or_objects() -> None:
    """Signed ones carry signatures; fallback keys say that they are."""
    keys = {
        "curve25519:A": "key",
        "signed_curve25519:B": {"key": "k", "fallback": True, "signatures": {ALICE: {"ed25519:PHONE": "s"}}},
        "org.example:C": {"key": "k"},
    }
    assert shapes.one_time_keys(keys, "one_time_keys") == keys


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("a", "x", InvalidParam),
        (":b", "x", InvalidParam),
        ("a:", "x", InvalidParam),
        ("a:\0", "x", InvalidParam),
        ("a:" + "é" * 127, "x", InvalidParam),
        ("a:b", 1, BadJson),
        ("a:b", {}, BadJson),
        ("a:b", {"key": "k", "signatures": {ALICE: 1}}, BadJson),
        ("signed_a:b", {"key": "k"}, BadJson),
        ("a:b", {"key": BIG}, TooLarge),
    ],
)
def test_other_one_time_keys_are_refused(name: str, value: Any, error: type[MatrixError]) -> None:
    """By their names, their forms and their sizes."""
    with pytest.raises(error):
        shapes.one_time_keys({name: value}, "one_time_keys")


@pytest.mark.parametrize(
    ("bad", "error"),
    [({"key": BIG}, TooLarge), ({"key": "k", "more": BIG}, TooLarge), ({"key": "k", "more": 1.5}, BadJson)],
)
def test_each_of_many_one_time_keys_is_checked(bad: dict[str, Any], error: type[MatrixError]) -> None:
    """What is wrong with one key is wrong beside many good ones too."""
    good = {f"a:{number}": {"key": "k"} for number in range(50)}
    assert shapes.one_time_keys(good, "one_time_keys") == good
    with pytest.raises(error):
        shapes.one_time_keys({**good, "a:bad": bad}, "one_time_keys")
