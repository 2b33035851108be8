"""Devices over HTTP, and the authentication that deleting one takes."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.service.users import devices
from tests.support.client import User
from tests.support.homeserver import PASSWORD, Homeserver


def _auth(name: str = "alice", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": name}
    return {"auth": {"type": "m.login.password", "identifier": identifier, "password": password, **more}}


async def _ids(user: User) -> list[str]:
    return [device["device_id"] for device in (await user.get("/devices"))["devices"]]


async def test_devices_are_listed_with_name_and_last_use(hs: Homeserver) -> None:
    """One's own only."""
    alice = await hs.register("alice", device_id="PHONE", initial_device_display_name="my phone")
    await hs.register("bob")
    answer = await alice.get("/devices")
    device = {
        "device_id": "PHONE",
        "display_name": "my phone",
        "last_seen_ip": "127.0.0.1",
        "last_seen_ts": hs.clock.now_ms(),
    }
    assert answer == {"devices": [device]}
    assert await alice.get("/devices/PHONE") == device


async def test_last_use_is_kept_up_to_ten_minutes(hs: Homeserver) -> None:
    """Requests in between write nothing."""
    alice = await hs.register("alice", device_id="PHONE")
    start = hs.clock.now_ms()
    hs.clock.jump(devices.SEEN_EVERY_MS / 1000 - 1)
    assert (await alice.get("/devices/PHONE"))["last_seen_ts"] == start
    hs.clock.jump(1)
    assert (await alice.get("/devices/PHONE"))["last_seen_ts"] == hs.clock.now_ms()


async def test_unknown_device_is_not_found(hs: Homeserver) -> None:
    """Another's device is as unknown as none."""
    alice = await hs.register("alice")
    bob = await hs.register("bob")
    for device_id in ("nope", bob.device_id):
        await alice.get(f"/devices/{device_id}", "M_NOT_FOUND")
        await alice.put(f"/devices/{device_id}", {"display_name": "mine"}, "M_NOT_FOUND")


async def test_device_can_be_renamed(hs: Homeserver) -> None:
    """Without a name it stays as it is; an endless or wrong name is refused."""
    alice = await hs.register("alice")
    path = f"/devices/{alice.device_id}"
    await alice.put(path, {"display_name": "telescope"})
    await alice.put(path, {})
    assert (await alice.get(path))["display_name"] == "telescope"
    await alice.put(path, {"display_name": "x" * 101}, "M_INVALID_PARAM")
    await alice.put(path, {"display_name": 5}, "M_BAD_JSON")


async def test_deleting_a_device_takes_the_password(hs: Homeserver) -> None:
    """The 401 says so, a wrong password may be tried again, the right one deletes."""
    phone = await hs.register("alice", device_id="1")
    laptop = await hs.login("alice", device_id="10")
    challenge = await phone.delete("/devices/10", None, 401)
    assert challenge["flows"] == [{"stages": ["m.login.password"]}]
    session = challenge["session"]
    wrong = await phone.delete("/devices/10", _auth(password="wrong", session=session), 401)
    assert (wrong["errcode"], wrong["session"]) == ("M_FORBIDDEN", session)
    assert await _ids(phone) == ["1", "10"]
    await phone.delete("/devices/10", _auth(session=session))
    assert await _ids(phone) == ["1"]
    await laptop.get("/devices", "M_UNKNOWN_TOKEN")
    # Once more: it had been removed before.
    await phone.delete("/devices/10", _auth())


async def test_deleting_a_device_takes_ones_own_password(hs: Homeserver) -> None:
    """Another user's does not count, nor does a dummy stage."""
    alice = await hs.register("alice")
    await hs.register("bob", "bobs own password")
    await alice.delete(f"/devices/{alice.device_id}", _auth("bob", "bobs own password"), 403)
    attempts: list[dict[str, Any]] = [
        _auth("bob", "not bobs password"),
        _auth("@alice:elsewhere.org"),
        {"auth": {"type": "m.login.dummy"}},
        {"auth": {"type": "m.login.password", "password": 5}},
        {"auth": {}},
    ]
    for auth in attempts:
        await alice.delete(f"/devices/{alice.device_id}", auth, 401)
    assert await _ids(alice) == [alice.device_id]


async def test_session_counts_only_for_its_own_request(hs: Homeserver) -> None:
    """A session for deleting one device deletes no other, and none of another device's or user's."""
    alice = await hs.register("alice", device_id="A")
    await hs.login("alice", device_id="B")
    other = await hs.login("alice", device_id="C")
    session = (await alice.delete("/devices/B", None, 401))["session"]
    await alice.delete("/devices/C", _auth(session=session), "M_FORBIDDEN")
    await alice.post("/delete_devices", {"devices": ["B"], **_auth(session=session)}, "M_FORBIDDEN")
    await other.delete("/devices/B", _auth(session=session), "M_FORBIDDEN")
    session = (await alice.post("/delete_devices", {"devices": ["B"]}, 401))["session"]
    await alice.post("/delete_devices", {"devices": ["B", "C"], **_auth(session=session)}, "M_FORBIDDEN")
    assert await _ids(alice) == ["A", "B", "C"]
    await alice.post("/delete_devices", {"devices": ["B"], **_auth(session=session)})
    assert await _ids(alice) == ["A", "C"]


async def test_session_ends_after_its_time(hs: Homeserver) -> None:
    """Then the client gets a fresh one."""
    alice = await hs.register("alice", device_id="A")
    session = (await alice.delete("/devices/A", None, 401))["session"]
    hs.clock.jump(30 * 60 + 1)
    answer = await alice.delete("/devices/A", _auth(session=session), 401)
    assert answer["session"] != session
    await alice.delete("/devices/A", _auth(session=answer["session"]))


async def test_several_devices_are_deleted_at_once(hs: Homeserver) -> None:
    """Unknown ones are passed over."""
    alice = await hs.register("alice", device_id="A")
    for device_id in ("B", "C"):
        await hs.login("alice", device_id=device_id)
    await alice.post("/delete_devices", {"devices": ["B", "C", "nope"], **_auth()})
    assert await _ids(alice) == ["A"]


@pytest.mark.parametrize(("value", "error"), [(None, "M_MISSING_PARAM"), ("A", "M_BAD_JSON"), ([1], "M_BAD_JSON")])
async def test_delete_devices_refuses_malformed_lists(hs: Homeserver, value: Any, error: str) -> None:
    """Before any authentication."""
    alice = await hs.register("alice")
    await alice.post("/delete_devices", {"devices": value, **_auth()}, error)


async def test_interactive_authentication_stores_neither_session_nor_password(hs: Homeserver) -> None:
    """Whatever the client sends to prove itself is in no tree, whether it was right or wrong."""
    alice = await hs.register("alice", device_id="A")
    path = "/account/password"
    session = (await alice.post(path, {"new_password": "brand new hush"}, 401))["session"]
    body = {"new_password": "brand new hush", **_auth(password="a wrong hush", session=session)}
    await alice.post(path, body, 401)
    await alice.post(path, {**body, **_auth(session=session)})
    assert not list(trees.userdevicesessionid_uiaainfo.keys(hs.ctx.db, (alice.user_id,)))
    for tree in trees.TREES:
        for key, value in hs.ctx.db.scan(tree.name, b"", None):
            assert b"hush" not in key + value
            assert PASSWORD.encode() not in key + value
