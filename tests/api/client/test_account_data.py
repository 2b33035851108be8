"""Account data and tags."""

from __future__ import annotations

from tests.support.homeserver import Homeserver
from tests.support.people import people, person


async def test_items_are_kept_and_synced(hs: Homeserver) -> None:
    """Global and room items are read back, and /sync tells of the newest of each only."""
    alice = await person(hs)
    room_id = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    own = f"/user/{alice.user_id}"
    for number in (1, 2):
        await alice.put(f"{own}/account_data/org.example.a", {"n": number})
        await alice.put(f"{own}/rooms/{room_id}/account_data/org.example.b", {"n": number})
    assert await alice.get(f"{own}/account_data/org.example.a") == {"n": 2}
    assert await alice.get(f"{own}/rooms/{room_id}/account_data/org.example.b") == {"n": 2}
    answer = await alice.sync(since)
    assert answer["account_data"]["events"] == [{"type": "org.example.a", "content": {"n": 2}}]
    events = answer["rooms"]["join"][room_id]["account_data"]["events"]
    assert events == [{"type": "org.example.b", "content": {"n": 2}}]
    initial = await alice.sync()
    assert {"type": "org.example.a", "content": {"n": 2}} in initial["account_data"]["events"]
    await alice.get(f"{own}/account_data/org.example.none", expect="M_NOT_FOUND")


async def test_account_data_belongs_to_its_user(hs: Homeserver) -> None:
    """Nobody reads or writes another's; what the server manages is refused."""
    alice, bob = await people(hs, "alice", "bob")
    path = f"/user/{alice.user_id}/account_data/org.example.a"
    await alice.put(path, {"secret": 1})
    await bob.get(path, expect="M_FORBIDDEN")
    await bob.put(path, {}, expect="M_FORBIDDEN")
    assert (await alice.raw("PUT", f"/user/{alice.user_id}/account_data/m.push_rules", {})).status == 405
    await alice.put(path, [], expect="M_BAD_JSON")
    await alice.put(f"/user/{alice.user_id}/account_data/{'t' * 300}", {}, expect="M_INVALID_PARAM")
    ignored = f"/user/{alice.user_id}/account_data/m.ignored_user_list"
    await alice.put(ignored, {"ignored_users": ["@a:b"]}, expect="M_BAD_JSON")
    for content in ({"ignored_users": {"nobody": {}, "@a:b": {}}}, {}):
        await alice.put(ignored, content)
        assert await alice.get(ignored) == content


async def test_tags_are_added_and_removed(hs: Homeserver) -> None:
    """Tags are an item of room account data; orders are numbers from 0 to 1."""
    alice = await person(hs)
    room_id = await alice.create_room()
    path = f"/user/{alice.user_id}/rooms/{room_id}/tags"
    await alice.put(f"{path}/m.favourite", {"order": 0.25})
    await alice.put(f"{path}/u.work", {})
    assert await alice.get(path) == {"tags": {"m.favourite": {"order": 0.25}, "u.work": {}}}
    events = (await alice.sync())["rooms"]["join"][room_id]["account_data"]["events"]
    assert events == [{"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.25}, "u.work": {}}}}]
    await alice.delete(f"{path}/m.favourite")
    await alice.delete(f"{path}/m.favourite")
    assert await alice.get(path) == {"tags": {"u.work": {}}}
    for order in ("1", 2, -0.1, True):
        await alice.put(f"{path}/u.x", {"order": order}, expect="M_BAD_JSON")
