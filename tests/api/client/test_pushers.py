"""GET /pushers and POST /pushers/set."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.service.push.pushers import MAX_PUSHERS
from tests.support.homeserver import Homeserver

URL = "https://push.example.org/_matrix/push/v1/notify"


def pusher(**changes: Any) -> dict[str, Any]:
    """Return a pusher as a client posts it."""
    return {
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": "key/1+=",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": URL, "format": "event_id_only", "custom": {"deep": [1]}},
        **changes,
    }


async def test_a_pusher_is_told_as_it_was_set(hs: Homeserver) -> None:
    """With every field, custom data too, but nothing of what the server notes beside it."""
    alice = await hs.register("alice")
    assert await alice.get("/pushers") == {"pushers": []}
    await alice.post("/pushers/set", pusher(profile_tag="tag", append=True, unknown=1))
    assert await alice.get("/pushers") == {"pushers": [pusher(profile_tag="tag")]}


async def test_setting_again_replaces_and_null_removes(hs: Homeserver) -> None:
    """There is one pusher for an application and push key; removing one that is not there is no error."""
    alice = await hs.register("alice")
    await alice.post("/pushers/set", pusher())
    await alice.post("/pushers/set", pusher(lang="de"))
    assert await alice.get("/pushers") == {"pushers": [pusher(lang="de")]}
    for _ in range(2):
        await alice.post("/pushers/set", {"app_id": "org.example.app", "pushkey": "key/1+=", "kind": None})
        assert await alice.get("/pushers") == {"pushers": []}


async def test_applications_with_the_same_push_key_do_not_meet(hs: Homeserver) -> None:
    """Each has its pusher, in whatever order they are set and removed."""
    alice = await hs.register("alice")
    one, two = pusher(), pusher(app_id="org.example.other")
    await alice.post("/pushers/set", one)
    await alice.post("/pushers/set", two)
    assert (await alice.get("/pushers"))["pushers"] == [one, two]
    await alice.post("/pushers/set", {**one, "kind": None})
    assert (await alice.get("/pushers"))["pushers"] == [two]
    changed = {**two, "lang": "fr"}
    await alice.post("/pushers/set", changed)
    assert (await alice.get("/pushers"))["pushers"] == [changed]


async def test_another_user_takes_over_a_push_key_unless_it_is_appended(hs: Homeserver) -> None:
    """The same installation must not get what is meant for who used it before; other applications and keys stay."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    other_app, other_key = pusher(app_id="org.example.other"), pusher(pushkey="key/2")
    for one in (pusher(), other_app, other_key):
        await alice.post("/pushers/set", one)
    await bob.post("/pushers/set", pusher(append=True))
    assert len((await alice.get("/pushers"))["pushers"]) == 3
    await bob.post("/pushers/set", pusher())
    assert (await alice.get("/pushers"))["pushers"] == [other_app, other_key]
    assert (await bob.get("/pushers"))["pushers"] == [pusher()]


async def test_a_pusher_ends_with_its_device(hs: Homeserver) -> None:
    """Logging out removes the device's pushers, and changing the password those of the devices that it logs out."""
    alice = await hs.register("alice")
    laptop, tablet = await hs.login("alice"), await hs.login("alice")
    await alice.post("/pushers/set", pusher(pushkey="phone"))
    await laptop.post("/pushers/set", pusher(pushkey="laptop"))
    await tablet.post("/pushers/set", pusher(pushkey="tablet"))
    await tablet.post("/logout")
    assert [one["pushkey"] for one in (await alice.get("/pushers"))["pushers"]] == ["laptop", "phone"]
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": alice.password,
    }
    await alice.post("/account/password", {"new_password": "another good one", "auth": auth})
    assert [one["pushkey"] for one in (await alice.get("/pushers"))["pushers"]] == ["phone"]


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"kind": "email"}, "M_INVALID_PARAM"),
        ({"kind": 1}, "M_BAD_JSON"),
        ({"app_id": "a" * 65}, "M_INVALID_PARAM"),
        ({"app_id": None}, "M_MISSING_PARAM"),
        ({"pushkey": ""}, "M_INVALID_PARAM"),
        ({"pushkey": "ä" * 257}, "M_INVALID_PARAM"),
        ({"pushkey": "a\0b"}, "M_INVALID_PARAM"),
        ({"pushkey": 1}, "M_BAD_JSON"),
        ({"lang": None}, "M_MISSING_PARAM"),
        ({"data": None}, "M_MISSING_PARAM"),
        ({"data": []}, "M_BAD_JSON"),
        ({"data": {}}, "M_MISSING_PARAM"),
        ({"data": {"url": URL, "more": "x" * 9000}}, "M_INVALID_PARAM"),
        ({"data": {"url": "http://push.example.org/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://push.example.org/elsewhere"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https:///_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://[::1/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://x:99999/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"append": "yes"}, "M_BAD_JSON"),
    ],
)
async def test_a_pusher_that_cannot_work_is_refused(hs: Homeserver, changes: dict[str, Any], errcode: str) -> None:
    """Each with its error, and nothing is kept."""
    alice = await hs.register("alice")
    await alice.post("/pushers/set", pusher(**changes), errcode)
    assert await alice.get("/pushers") == {"pushers": []}


async def test_kind_must_be_there(hs: Homeserver) -> None:
    """Absent is not null: a pusher is not removed by a body that forgets it."""
    alice = await hs.register("alice")
    await alice.post("/pushers/set", pusher())
    body = pusher()
    del body["kind"]
    await alice.post("/pushers/set", body, "M_MISSING_PARAM")
    assert len((await alice.get("/pushers"))["pushers"]) == 1


async def test_pushers_are_bounded(hs: Homeserver) -> None:
    """One too many is refused, while those that are there can still change."""
    alice = await hs.register("alice")
    for number in range(MAX_PUSHERS):
        await alice.post("/pushers/set", pusher(pushkey=f"{number:03}"))
    await alice.post("/pushers/set", pusher(pushkey="more"), "M_INVALID_PARAM")
    await alice.post("/pushers/set", pusher(pushkey="000", lang="de"))
    assert len((await alice.get("/pushers"))["pushers"]) == MAX_PUSHERS
