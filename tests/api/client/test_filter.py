"""Tests of stored filters."""

from __future__ import annotations

from typing import Any

from tests.support.client import segment
from tests.support.homeserver import Homeserver


async def test_stored_filter_comes_back_and_works(hs: Homeserver) -> None:
    """A filter is returned as it was stored, is the same when stored again, and can be used in /sync."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    await alice.send(room, "x")
    definition = {"room": {"timeline": {"limit": 1}}, "org.example.unknown": 1}
    path = f"/user/{segment(alice.user_id)}/filter"
    filter_id = (await alice.post(path, definition))["filter_id"]
    assert (await alice.post(path, definition))["filter_id"] == filter_id
    body = await alice.sync(filter=filter_id)
    assert len(body["rooms"]["join"][room]["timeline"]["events"]) == 1
    plain = {"room": {"timeline": {"limit": 10}}}
    other = (await alice.post(path, plain))["filter_id"]
    assert await alice.get(f"{path}/{other}") == plain


async def test_filters_are_their_owners_alone(hs: Homeserver) -> None:
    """Nobody uses or reads the filters of others."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    path = f"/user/{segment(alice.user_id)}/filter"
    filter_id = (await alice.post(path, {}))["filter_id"]
    await bob.post(path, {}, "M_FORBIDDEN")
    await bob.get(f"{path}/{filter_id}", "M_FORBIDDEN")
    await bob.get("/sync", "M_INVALID_PARAM", params={"filter": filter_id})
    await alice.get(f"{path}/{'x' * 3000}", "M_NOT_FOUND")
    await alice.get(f"{path}/unknown", "M_NOT_FOUND")


async def test_malformed_filters_are_refused(hs: Homeserver) -> None:
    """Every field has its type."""
    alice = await hs.register("alice")
    path = f"/user/{segment(alice.user_id)}/filter"
    malformed: list[dict[str, Any]] = [
        {"room": 1},
        {"room": {"timeline": []}},
        {"room": {"timeline": {"limit": "1"}}},
        {"room": {"timeline": {"limit": -1}}},
        {"room": {"timeline": {"limit": True}}},
        {"room": {"state": {"lazy_load_members": 1}}},
        {"room": {"rooms": ["nonsense"]}},
        {"room": {"timeline": {"senders": ["alice"]}}},
        {"presence": {"types": "m.presence"}},
        {"event_format": "xml"},
        {"event_fields": [1]},
        {"account_data": {"types": ["x"] * 5000}},
    ]
    for bad in malformed:
        await alice.post(path, bad, "M_BAD_JSON")
    await alice.post(path, {"x": "y" * 70_000}, "M_TOO_LARGE")
