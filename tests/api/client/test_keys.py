"""Device keys, one-time keys and cross-signing, as an encrypting client uses them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.signing import SigningKey
from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import people, person


def device_keys(user: User, key: SigningKey | None = None) -> dict[str, Any]:
    """Return identity keys of a user's device, signed by itself."""
    key = key or SigningKey(b"\1" * 32, user.device_id)
    keys = {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"curve25519:{user.device_id}": "A" * 43, f"ed25519:{user.device_id}": key.public_key},
    }
    return key.sign_json(keys, user.user_id)


def one_time(*names: str, user: User | None = None) -> dict[str, Any]:
    """Return signed one-time keys of these names."""
    owner = "@x:y" if user is None else user.user_id
    signature = {"signatures": {owner: {"ed25519:D": "c2ln"}}}
    return {f"signed_curve25519:{name}": {"key": name * 4, **signature} for name in names}


def fallback(*names: str) -> dict[str, Any]:
    """Return signed fallback keys of these names, which say what they are."""
    return {name: {**key, "fallback": True} for name, key in one_time(*names).items()}


class CrossSigner:
    """A user's three cross-signing keys, made from one letter."""

    def __init__(self, user: User, seed: int) -> None:
        self.user = user
        pairs = [SigningKey(bytes([seed + index]) * 32, "x") for index in range(3)]
        self.master, self.self_signing, self.user_signing = (
            SigningKey(bytes([seed + index]) * 32, pair.public_key) for index, pair in enumerate(pairs)
        )

    def body(self) -> dict[str, Any]:
        """Return what is uploaded."""
        bare = {
            f"{usage}_key": {
                "user_id": self.user.user_id,
                "usage": [usage],
                "keys": {key.key_id: key.public_key},
            }
            for usage, key in (
                ("master", self.master),
                ("self_signing", self.self_signing),
                ("user_signing", self.user_signing),
            )
        }
        for name in ("self_signing_key", "user_signing_key"):
            bare[name] = self.master.sign_json(bare[name], self.user.user_id)
        return bare


def password(user: User) -> dict[str, Any]:
    """Return the proof that lets keys be replaced."""
    identifier = {"type": "m.id.user", "user": user.user_id}
    return {"type": "m.login.password", "identifier": identifier, "password": user.password}


async def test_upload_publishes_keys_to_others(hs: Homeserver) -> None:
    """Another user finds the keys as they were uploaded, with the device's name added."""
    alice, bob = await people(hs, "alice", "bob")
    answer = await alice.post(
        "/keys/upload", {"device_keys": device_keys(alice), "one_time_keys": one_time("AA", "BB")}
    )
    assert answer == {"one_time_key_counts": {"signed_curve25519": 2}}
    await alice.put(f"/devices/{alice.device_id}", {"display_name": "Phone"})
    found = await bob.post("/keys/query", {"device_keys": {alice.user_id: []}})
    expected = {**device_keys(alice), "unsigned": {"device_display_name": "Phone"}}
    assert found["device_keys"] == {alice.user_id: {alice.device_id: expected}}


async def test_query_of_unknown_users_and_devices_leaves_them_out(hs: Homeserver) -> None:
    """An unknown user is missing, a user without keys is there with nothing, another server stands in failures."""
    alice, bob = await people(hs, "alice", "bob")
    wanted = {"@nobody:localhost": [], bob.user_id: ["NODEVICE"], "@far:away.example": []}
    found = await alice.post("/keys/query", {"device_keys": wanted})
    assert found["device_keys"] == {bob.user_id: {}}
    assert list(found["failures"]) == ["away.example"]


async def test_query_adds_unsigned_to_every_device(hs: Homeserver) -> None:
    """To a device without a name, too, and to keys whose names should, but need not, end in the device's id."""
    alice = await person(hs)
    keys = {**device_keys(alice), "keys": {"ed25519:test": "x"}}
    await alice.post("/keys/upload", {"device_keys": keys})
    found = await alice.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id][alice.device_id] == {**keys, "unsigned": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "@bob:localhost"},
        {"device_id": "OTHER"},
        {"algorithms": "m.olm"},
        {"keys": {"ed25519": "x"}},
        {"keys": {"ed25519:": "x"}},
        {"keys": {":OTHER": "x"}},
        {"keys": []},
        {"signatures": None},
        {"signatures": {"@alice:localhost": "x"}},
        {"padding": "x" * 20_000},
    ],
)
async def test_advisory_12_keys_of_any_other_shape_are_refused(hs: Homeserver, change: dict[str, Any]) -> None:
    """Malformed or oversized device keys are refused and nothing of the upload is kept."""
    alice = await person(hs)
    body = {"device_keys": {**device_keys(alice), **change}, "one_time_keys": one_time("AA")}
    response = await alice.raw("POST", "/keys/upload", body)
    assert response.status in (400, 413)
    assert (await alice.post("/keys/upload", {}))["one_time_key_counts"] == {"signed_curve25519": 0}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        {"nocolon": "x"},
        {":": "x"},
        {"signed_curve25519:A": {"key": 1}},
        {"signed_curve25519:A": {"key": "x"}},
        {"signed_curve25519:A": 3},
        {"signed_curve25519:" + "A" * 300: "x"},
    ],
)
async def test_advisory_12_one_time_keys_of_any_other_shape_are_refused(hs: Homeserver, keys: Any) -> None:
    """The names and forms of one-time keys are checked."""
    alice = await person(hs)
    assert (await alice.raw("POST", "/keys/upload", {"one_time_keys": keys})).status == 400


async def test_claim_hands_out_each_key_once_in_order_of_upload(hs: Homeserver) -> None:
    """Earlier uploads go first, whatever the keys are called; then there is nothing left."""
    alice, bob = await people(hs, "alice", "bob")
    await alice.post("/keys/upload", {"one_time_keys": one_time("ZZ")})
    await alice.post("/keys/upload", {"one_time_keys": one_time("AA")})
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    claimed = [await bob.post("/keys/claim", wanted) for _ in range(3)]
    names = [list(answer["one_time_keys"].get(alice.user_id, {}).get(alice.device_id, {})) for answer in claimed]
    assert names == [["signed_curve25519:ZZ"], ["signed_curve25519:AA"], []]


async def test_upload_of_a_different_key_under_the_same_id_is_refused(hs: Homeserver) -> None:
    """The same key again is fine, another one under its id is not."""
    alice = await person(hs)
    await alice.post("/keys/upload", {"one_time_keys": one_time("AA")})
    assert (await alice.post("/keys/upload", {"one_time_keys": one_time("AA")}))["one_time_key_counts"] == {
        "signed_curve25519": 1
    }
    other = {"signed_curve25519:AA": {"key": "other", "signatures": {}}}
    await alice.post("/keys/upload", {"one_time_keys": other}, expect=400)


async def test_claim_after_the_last_key_gives_the_fallback_again_and_again(hs: Homeserver) -> None:
    """The fallback key is not used up, and /sync tells its owner that it was handed out."""
    alice, bob = await people(hs, "alice", "bob")
    await alice.post("/keys/upload", {"one_time_keys": one_time("AA"), "fallback_keys": fallback("FB")})
    first = await alice.sync()
    assert first["device_unused_fallback_key_types"] == ["signed_curve25519"]
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    claimed: list[tuple[str, Any]] = []
    for _ in range(3):
        answer = await bob.post("/keys/claim", wanted)
        claimed += answer["one_time_keys"][alice.user_id][alice.device_id].items()
    assert [name for name, _ in claimed] == ["signed_curve25519:AA", "signed_curve25519:FB", "signed_curve25519:FB"]
    assert [key.get("fallback", False) for _, key in claimed] == [False, True, True]
    second = await alice.sync(first["next_batch"])
    assert second["device_unused_fallback_key_types"] == []
    assert second["device_one_time_keys_count"]["signed_curve25519"] == 0
    # The same key once more stays used; a new one is not.
    await alice.post("/keys/upload", {"fallback_keys": fallback("FB")})
    assert (await alice.sync())["device_unused_fallback_key_types"] == []
    await alice.post("/keys/upload", {"fallback_keys": fallback("FC")})
    assert (await alice.sync())["device_unused_fallback_key_types"] == ["signed_curve25519"]


async def test_new_keys_are_announced_to_whoever_shares_a_room(hs: Homeserver) -> None:
    """A member's /sync names the user; a stranger's does not."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    marks = {user: (await user.sync())["next_batch"] for user in (bob, carol)}
    await alice.post("/keys/upload", {"device_keys": device_keys(alice)})
    assert (await bob.sync(marks[bob]))["device_lists"]["changed"] == [alice.user_id]
    assert alice.user_id not in (await carol.sync(marks[carol])).get("device_lists", {}).get("changed", [])
    changes = await bob.get("/keys/changes", params={"from": marks[bob], "to": (await bob.sync())["next_batch"]})
    assert changes["changed"] == [alice.user_id]


async def test_cross_signing_keys_are_taken_once_and_replaced_only_with_the_password(hs: Homeserver) -> None:
    """The first upload and its repetition need no proof; other keys do."""
    alice, bob = await people(hs, "alice", "bob")
    first, second = CrossSigner(alice, 10), CrossSigner(alice, 20)
    await alice.post("/keys/device_signing/upload", first.body())
    await alice.post("/keys/device_signing/upload", first.body())
    challenge = await alice.post("/keys/device_signing/upload", second.body(), expect=401)
    proof = {**password(alice), "session": challenge["session"]}
    await alice.post("/keys/device_signing/upload", {**second.body(), "auth": proof})
    found = await bob.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert list(found["master_keys"][alice.user_id]["keys"]) == [second.master.key_id]
    assert list(found["self_signing_keys"][alice.user_id]["keys"]) == [second.self_signing.key_id]
    assert "user_signing_keys" not in found
    own = await alice.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert list(own["user_signing_keys"][alice.user_id]["keys"]) == [second.user_signing.key_id]


async def test_user_signing_key_is_news_for_its_owner_only(hs: Homeserver) -> None:
    """Nobody else is shown the key, so that nobody else need fetch keys anew; the old path without a version works, too."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first, second = CrossSigner(alice, 10).body(), CrossSigner(alice, 10)
    key = first.pop("user_signing_key")
    await alice.post("/_matrix/client/unstable/keys/device_signing/upload", first)
    marks = {user: (await user.sync())["next_batch"] for user in (alice, bob)}
    await alice.post("/keys/device_signing/upload", {"user_signing_key": key, "auth": password(alice)})
    assert (await alice.sync(marks[alice]))["device_lists"]["changed"] == [alice.user_id]
    assert "device_lists" not in await bob.sync(marks[bob])
    found = await alice.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert list(found["user_signing_keys"][alice.user_id]["keys"]) == [second.user_signing.key_id]


async def test_cross_signing_keys_must_be_signed_by_the_master_key(hs: Homeserver) -> None:
    """Without a master key, or with a foreign signature, nothing is published."""
    alice = await person(hs)
    keys, other = CrossSigner(alice, 10), CrossSigner(alice, 20)
    body = keys.body()
    await alice.post(
        "/keys/device_signing/upload", {"self_signing_key": body["self_signing_key"]}, expect="M_MISSING_PARAM"
    )
    forged = {**body, "self_signing_key": other.body()["self_signing_key"]}
    await alice.post("/keys/device_signing/upload", forged, expect="M_INVALID_SIGNATURE")
    found = await alice.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert "master_keys" not in found


async def test_signatures_are_added_checked_and_shown_to_whom_they_concern(hs: Homeserver) -> None:
    """A device signed by its owner is seen so by all; a master key signed by another user only by that user."""
    alice, bob, carol = await people(hs, "alice", "bob", "carol")
    alices, bobs = CrossSigner(alice, 10), CrossSigner(bob, 20)
    for user, signer in ((alice, alices), (bob, bobs)):
        await user.post("/keys/upload", {"device_keys": device_keys(user)})
        await user.post("/keys/device_signing/upload", signer.body())
    device = alices.self_signing.sign_json(device_keys(alice), alice.user_id)
    bobs_master = alices.user_signing.sign_json(bobs.body()["master_key"], alice.user_id)
    answer = await alice.post(
        "/keys/signatures/upload",
        {
            alice.user_id: {alice.device_id: device, "NODEVICE": device},
            bob.user_id: {bobs.master.public_key: bobs_master},
        },
    )
    assert list(answer["failures"]) == [alice.user_id]
    assert list(answer["failures"][alice.user_id]) == ["NODEVICE"], answer
    assert answer["failures"][alice.user_id]["NODEVICE"]["errcode"] == "M_NOT_FOUND"

    seen = await carol.post("/keys/query", {"device_keys": {alice.user_id: [], bob.user_id: []}})
    signatures = seen["device_keys"][alice.user_id][alice.device_id]["signatures"][alice.user_id]
    assert alices.self_signing.key_id in signatures
    assert alice.user_id not in seen["master_keys"][bob.user_id].get("signatures", {})
    own = await alice.post("/keys/query", {"device_keys": {bob.user_id: []}})
    assert alices.user_signing.key_id in own["master_keys"][bob.user_id]["signatures"][alice.user_id]


async def test_signatures_that_do_not_verify_are_failures(hs: Homeserver) -> None:
    """A signature by the wrong key, or over something else than what is stored, changes nothing."""
    alice = await person(hs)
    keys = CrossSigner(alice, 10)
    await alice.post("/keys/upload", {"device_keys": device_keys(alice)})
    await alice.post("/keys/device_signing/upload", keys.body())
    for signed in (
        keys.user_signing.sign_json(device_keys(alice), alice.user_id),
        keys.self_signing.sign_json({**device_keys(alice), "algorithms": []}, alice.user_id),
        device_keys(alice) | {"signatures": {alice.user_id: {keys.self_signing.key_id: "AAAA"}}},
        device_keys(alice) | {"signatures": {}},
    ):
        answer = await alice.post("/keys/signatures/upload", {alice.user_id: {alice.device_id: signed}})
        assert answer["failures"][alice.user_id][alice.device_id]["errcode"] == "M_INVALID_SIGNATURE"


async def test_deleted_device_takes_its_keys_along(hs: Homeserver) -> None:
    """After logging out, neither identity keys nor one-time keys of the device are found."""
    alice, bob = await people(hs, "alice", "bob")
    await alice.post(
        "/keys/upload",
        {"device_keys": device_keys(alice), "one_time_keys": one_time("AA"), "fallback_keys": one_time("FB")},
    )
    await alice.post("/logout", {})
    found = await bob.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"] == {alice.user_id: {}}
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    assert (await bob.post("/keys/claim", wanted))["one_time_keys"] == {}


@pytest.mark.parametrize(
    ("path", "name", "devices"),
    [("/keys/query", "device_keys", []), ("/keys/claim", "one_time_keys", {"D": "a"})],
)
async def test_few_thousand_servers_can_be_asked_at_a_time(hs: Homeserver, path: str, name: str, devices: Any) -> None:
    """Each has a task that waits for its turn; a body of 8 MB could name hundreds of thousands."""
    alice = await hs.register("alice")
    named = {f"@x:{number}.test": devices for number in range(5001)}
    await alice.post(path, {name: named}, "M_TOO_LARGE")
