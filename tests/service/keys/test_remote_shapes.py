"""What other servers say of keys, reduced to what may be kept."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.ids import UserId
from conduit.service.keys import remote_shapes
from conduit.service.keys.shapes import MAX_KEY_OBJECT_BYTES
from tests.service.keys.signers import CrossSigner, device_keys

EVE = UserId("@eve:peer.test")
GOOD = device_keys(EVE, "DEV")


def test_good_device_keys_are_taken_as_they_are() -> None:
    """Keys of which nothing is known stay, they are signed too; `unsigned` is not."""
    keys = {**GOOD, "unsigned": {"device_display_name": "x"}}
    assert remote_shapes.device_keys(keys, EVE, "DEV") == GOOD
    unknown = {name: value for name, value in GOOD.items() if name != "signatures"} | {"dehydrated": True}
    assert remote_shapes.device_keys(unknown, EVE, "DEV") == {**unknown, "signatures": {}}


def test_absent_parts_are_filled_in() -> None:
    """A device without any keys is one to which nothing can be encrypted, and every client understands that."""
    empty = {"user_id": EVE, "device_id": "DEV", "algorithms": [], "keys": {}, "signatures": {}}
    assert remote_shapes.device_keys({}, EVE, "DEV") == empty


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "@other:peer.test"},
        {"user_id": None},
        {"device_id": "OTHER"},
        {"algorithms": "m.megolm.v1.aes-sha2"},
        {"algorithms": [5]},
        {"keys": []},
        {"keys": {"ed25519:DEV": 5}},
        {"keys": None},
        {"signatures": []},
        {"signatures": {EVE: "x"}},
        {"signatures": {EVE: {"ed25519:DEV": 5}}},
        {"signatures": {EVE: {"ed25519:DEV": "forged"}}},
        {"more": 1.5},
        {"more": 2**60},
        {"more": "x" * MAX_KEY_OBJECT_BYTES},
    ],
)
def test_advisory_12_device_keys_of_the_wrong_shape_or_signature_are_dropped(change: dict[str, Any]) -> None:
    """They would be sent on to every client that asks."""
    assert remote_shapes.device_keys({**GOOD, **change}, EVE, "DEV") is None


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_advisory_12_device_keys_that_are_no_object_are_dropped(value: Any) -> None:
    """Whatever stands there instead."""
    assert remote_shapes.device_keys(value, EVE, "DEV") is None


def test_snapshot_leaves_out_what_cannot_be_taken() -> None:
    """The other devices count; names are cut."""
    answer = {
        "user_id": EVE,
        "stream_id": 7,
        "devices": [
            5,
            {},
            {"device_id": "", "keys": {}},
            {"device_id": "BAD", "keys": GOOD},
            {"device_id": "NONE"},
            {"device_id": "DEV", "keys": GOOD, "device_display_name": "n" * 1000},
        ],
        "master_key": 5,
        "self_signing_key": CrossSigner(EVE, 50).key("self_signing"),
    }
    found = remote_shapes.snapshot(answer, EVE)
    assert found is not None
    assert found.stream_id == 7
    assert found.devices == {"DEV": remote_shapes.RemoteDevice(GOOD, "n" * 100)}
    assert (found.master, found.self_signing) == (None, None)


def test_too_many_devices_are_none_at_all() -> None:
    """Which of them are real nobody can know."""
    devices = [{"device_id": f"D{n}", "keys": {}} for n in range(remote_shapes.MAX_DEVICES + 1)]
    found = remote_shapes.snapshot({"stream_id": 1, "devices": devices}, EVE)
    assert found is not None
    assert found.devices == {}


def test_self_signing_key_counts_only_if_the_master_key_has_signed_it() -> None:
    """Both must be the user's."""
    one, two = CrossSigner(EVE, 50), CrossSigner(EVE, 60)
    master, second = one.key("master"), one.key("self_signing")
    assert remote_shapes.cross_signing(master, second, EVE) == (master, second)
    assert remote_shapes.cross_signing(two.key("master"), second, EVE) == (two.key("master"), None)
    assert remote_shapes.cross_signing(master, None, EVE) == (master, None)
    assert remote_shapes.cross_signing(second, second, EVE) == (None, None)
    assert remote_shapes.cross_signing(master, second, UserId("@other:peer.test")) == (None, None)


def test_query_answer_is_read_for_those_asked_about_only() -> None:
    """Other users and devices in it are nobody's business."""
    other = UserId("@other:peer.test")
    answer = {
        "device_keys": {
            EVE: {"DEV": {**GOOD, "unsigned": {"device_display_name": "Phone"}}, "TWO": device_keys(EVE, "TWO")},
            other: {"X": device_keys(other, "X")},
        },
        "master_keys": {EVE: CrossSigner(EVE, 50).key("master"), other: CrossSigner(other, 60).key("master")},
    }
    found = remote_shapes.queried(answer, {EVE: ["DEV"]})
    assert list(found) == [EVE]
    assert found[EVE].devices == {"DEV": remote_shapes.RemoteDevice(GOOD, "Phone")}
    assert found[EVE].master == CrossSigner(EVE, 50).key("master")
    assert remote_shapes.queried({"device_keys": []}, {EVE: []}) == {}


def test_claim_answer_holds_one_key_of_the_wanted_algorithm_a_device() -> None:
    """Further ones, those of others, and what is no key are left out."""
    key = {"key": "abc", "signatures": {EVE: {"ed25519:DEV": "s"}}}
    answer = {
        "one_time_keys": {
            EVE: {
                "DEV": {"other:1": "x", "signed_curve25519:1": key, "signed_curve25519:2": key},
                "BAD": {"signed_curve25519:1": {"key": 5}},
                "MORE": {"signed_curve25519:1": key},
            },
            "@other:peer.test": {"DEV": {"signed_curve25519:1": key}},
        }
    }
    wanted = {EVE: {"DEV": "signed_curve25519", "BAD": "signed_curve25519", "NONE": "signed_curve25519"}}
    assert remote_shapes.claimed(answer, wanted) == {EVE: {"DEV": {"signed_curve25519:1": key}}}
    assert remote_shapes.claimed({"one_time_keys": 5}, wanted) == {}
