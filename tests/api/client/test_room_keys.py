"""Server-side key backups."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import User
from tests.support.homeserver import Homeserver
from tests.support.people import person

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM = "!room:localhost"


def key(index: int = 0, *, verified: bool = False, forwarded: int = 0, data: str = "x") -> dict[str, Any]:
    """Return key backup data."""
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data},
    }


async def version(user: User) -> str:
    """Start a backup and return its version."""
    made = await user.post("/room_keys/version", {"algorithm": ALGORITHM, "auth_data": {"public_key": "abc"}})
    return str(made["version"])


async def test_backup_of_a_session_is_given_back(hs: Homeserver) -> None:
    """Keys are found by session, by room and all together; counts and etag follow."""
    alice = await person(hs)
    number = await version(alice)
    params = {"version": number}
    before = await alice.get("/room_keys/version")
    assert (before["count"], before["version"], before["algorithm"]) == (0, number, ALGORITHM)
    stored = await alice.put(f"/room_keys/keys/{ROOM}/one", key(), params=params)
    assert stored["count"] == 1
    assert stored["etag"] != before["etag"]
    body = {"rooms": {ROOM: {"sessions": {"two": key(), "three": key()}}, "!other:x": {"sessions": {"four": key()}}}}
    assert (await alice.put("/room_keys/keys", body, params=params))["count"] == 4
    assert await alice.get(f"/room_keys/keys/{ROOM}/two", params=params) == key()
    assert set((await alice.get(f"/room_keys/keys/{ROOM}", params=params))["sessions"]) == {"one", "two", "three"}
    assert set((await alice.get("/room_keys/keys", params=params))["rooms"]) == {ROOM, "!other:x"}
    assert (await alice.delete(f"/room_keys/keys/{ROOM}/two", params=params))["count"] == 3
    assert (await alice.delete(f"/room_keys/keys/{ROOM}", params=params))["count"] == 1
    assert (await alice.delete("/room_keys/keys", params=params))["count"] == 0
    await alice.get(f"/room_keys/keys/{ROOM}/one", params=params, expect="M_NOT_FOUND")
    assert await alice.get(f"/room_keys/keys/{ROOM}", params=params) == {"sessions": {}}


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (key(5), key(3), 3),
        (key(3), key(5), 3),
        (key(3), key(5, verified=True), 5),
        (key(5, verified=True), key(3), 5),
        (key(3, forwarded=2), key(3, forwarded=1), 3),
    ],
)
async def test_better_key_of_two_is_kept(hs: Homeserver, old: dict[str, Any], new: dict[str, Any], kept: int) -> None:
    """Verified before unverified, then the lower index, then fewer forwards."""
    alice = await person(hs)
    params = {"version": await version(alice)}
    for one in (old, new):
        await alice.put(f"/room_keys/keys/{ROOM}/one", one, params=params)
    assert (await alice.get(f"/room_keys/keys/{ROOM}/one", params=params))["first_message_index"] == kept


async def test_only_the_newest_version_is_written(hs: Homeserver) -> None:
    """Version 10 is newer than version 9, and an older one is refused with the current one's name."""
    alice = await person(hs)
    versions = [await version(alice) for _ in range(12)]
    assert (await alice.get("/room_keys/version"))["version"] == versions[-1]
    refused = await alice.put(
        f"/room_keys/keys/{ROOM}/one", key(), params={"version": versions[0]}, expect="M_WRONG_ROOM_KEYS_VERSION"
    )
    assert refused["current_version"] == versions[-1]
    await alice.delete(f"/room_keys/version/{versions[-1]}")
    await alice.delete(f"/room_keys/version/{versions[-1]}")
    assert (await alice.get("/room_keys/version"))["version"] == versions[-2]
    await alice.delete("/room_keys/version/999999", expect="M_NOT_FOUND")


async def test_auth_data_changes_but_not_the_algorithm(hs: Homeserver) -> None:
    """PUT replaces auth_data and refuses anything else."""
    alice = await person(hs)
    number = await version(alice)
    body = {"algorithm": ALGORITHM, "auth_data": {"public_key": "new"}}
    await alice.put(f"/room_keys/version/{number}", {**body, "version": number})
    assert (await alice.get(f"/room_keys/version/{number}"))["auth_data"] == {"public_key": "new"}
    await alice.put(f"/room_keys/version/{number}", {**body, "version": "17"}, expect="M_INVALID_PARAM")
    await alice.put(f"/room_keys/version/{number}", {**body, "algorithm": "other"}, expect="M_INVALID_PARAM")


@pytest.mark.parametrize(
    "change",
    [
        {"first_message_index": -1},
        {"first_message_index": True},
        {"forwarded_count": "0"},
        {"is_verified": 1},
        {"session_data": {"number": 2**60}},
    ],
)
async def test_malformed_key_is_refused(hs: Homeserver, change: dict[str, Any]) -> None:
    """Wrong types are M_BAD_JSON, and nothing is stored."""
    alice = await person(hs)
    params = {"version": await version(alice)}
    await alice.put(f"/room_keys/keys/{ROOM}/one", {**key(), **change}, params=params, expect="M_BAD_JSON")
    assert (await alice.get("/room_keys/version"))["count"] == 0


async def test_rooms_of_a_backup_are_names_to_the_server(hs: Homeserver) -> None:
    """Of whatever grammar, within bounds; one without keys is empty."""
    alice = await person(hs)
    params = {"version": await version(alice)}
    await alice.put("/room_keys/keys/!room/one", key(), params=params)
    assert await alice.get("/room_keys/keys/!room", params=params) == {"sessions": {"one": key()}}
    assert await alice.get("/room_keys/keys/!other", params=params) == {"sessions": {}}
    for bad in ("x" * 256, "a%00b"):
        await alice.put(f"/room_keys/keys/{bad}/one", key(), params=params, expect="M_INVALID_PARAM")


@pytest.mark.parametrize("data", ["opaque", ["a", 1], 17, None, {}])
async def test_what_only_clients_understand_is_given_back_as_it_came(hs: Homeserver, data: Any) -> None:
    """The server looks into neither `auth_data` nor `session_data`: any JSON is taken, and told unchanged."""
    alice = await person(hs)
    made = await alice.post("/room_keys/version", {"algorithm": ALGORITHM, "auth_data": data})
    path, params = f"/room_keys/keys/{ROOM}/one", {"version": made["version"]}
    assert (await alice.get("/room_keys/version"))["auth_data"] == data
    await alice.put(f"/room_keys/version/{made['version']}", {"algorithm": ALGORITHM, "auth_data": [data]})
    assert (await alice.get("/room_keys/version"))["auth_data"] == [data]
    await alice.put(path, {**key(), "session_data": data}, params=params)
    assert await alice.get(path, params=params) == {**key(), "session_data": data}
    sessions = (await alice.get("/room_keys/keys", params=params))["rooms"][ROOM]["sessions"]
    assert sessions == {"one": {**key(), "session_data": data}}


@pytest.mark.parametrize(("body", "expect"), [({}, "M_MISSING_PARAM"), ({"auth_data": {"n": 0.5}}, "M_BAD_JSON")])
async def test_version_needs_auth_data_that_matrix_can_hold(hs: Homeserver, body: dict[str, Any], expect: str) -> None:
    """Without it, or with a number that canonical JSON does not have, no version is made."""
    alice = await person(hs)
    await alice.post("/room_keys/version", {"algorithm": ALGORITHM, **body}, expect=expect)
    await alice.get("/room_keys/version", expect="M_NOT_FOUND")


async def test_clients_of_old_find_their_backup(hs: Homeserver) -> None:
    """At the path from before backups were specified."""
    alice = await person(hs)
    old = "/_matrix/client/unstable/room_keys"
    made = await alice.post(f"{old}/version", {"algorithm": ALGORITHM, "auth_data": {"public_key": "abc"}})
    await alice.put(f"{old}/keys/{ROOM}/one", key(), params=made)
    assert await alice.get(f"{old}/keys/{ROOM}/one", params=made) == key()
    assert (await alice.get("/room_keys/version"))["count"] == 1
