"""Tests of the deprecated initial syncs."""

from __future__ import annotations

from tests.support.homeserver import Homeserver


async def test_initial_sync_has_rooms_and_invites(hs: Homeserver) -> None:
    """Joined rooms come with state and messages, invites as such, left rooms if asked for."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    left = await bob.create_room()
    await alice.send(room, "hello")
    await bob.join(room)
    await bob.leave(left)
    private = await alice.create_room()
    await alice.invite(private, bob)
    body = await bob.get("/initialSync", params={"limit": 2})
    rooms = {entry["room_id"]: entry for entry in body["rooms"]}
    assert rooms[room]["membership"] == "join"
    assert rooms[room]["visibility"] in ("public", "private")
    assert [event["type"] for event in rooms[room]["messages"]["chunk"]] == ["m.room.message", "m.room.member"]
    assert "m.room.create" in {event["type"] for event in rooms[room]["state"]}
    assert rooms[private]["invite"]["content"]["membership"] == "invite"
    assert left not in rooms
    archived = await bob.get("/initialSync", params={"archived": True})
    assert left in {entry["room_id"] for entry in archived["rooms"]}


async def test_room_initial_sync_follows_who_may_look(hs: Homeserver) -> None:
    """A stranger looks into a world-readable room and into no other."""
    alice, eve = await hs.register("alice"), await hs.register("eve")
    room = await alice.create_room(preset="public_chat")
    await alice.send(room, "hidden")
    await eve.get(f"/rooms/{room}/initialSync", "M_FORBIDDEN")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    await alice.send(room, "shown")
    body = await eve.get(f"/rooms/{room}/initialSync")
    assert "membership" not in body
    bodies = [event["content"].get("body") for event in body["messages"]["chunk"]]
    assert "shown" in bodies
    assert "hidden" not in bodies


async def test_initial_syncs_have_presence_and_receipts(hs: Homeserver) -> None:
    """The caller is there; room mates and their receipts are shown, until one has left."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    own = (await bob.get("/initialSync"))["presence"]
    assert [event["content"]["user_id"] for event in own] == [bob.user_id]
    assert {"presence", "last_active_ago"} <= own[0]["content"].keys()
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    sent = await alice.send(room, "hello")
    await alice.post(f"/rooms/{room}/receipt/m.read/{sent}", {})
    for body in (await bob.get("/initialSync"), await bob.get(f"/rooms/{room}/initialSync")):
        assert {event["content"]["user_id"] for event in body["presence"]} == {alice.user_id, bob.user_id}
        (receipt,) = body["receipts"]
        assert receipt["room_id"] == room
        assert alice.user_id in receipt["content"][sent]["m.read"]
    await bob.leave(room)
    body = await bob.get(f"/rooms/{room}/initialSync")
    assert (body["membership"], body["presence"], body["receipts"]) == ("leave", [], [])


async def test_unwanted_invites_are_not_shown(hs: Homeserver) -> None:
    """Of ignored users and to those who block invites, neither at first nor as news."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    start = (await bob.get("/initialSync"))["end"]
    room = await alice.create_room(invite=[bob.user_id])
    assert [entry["room_id"] for entry in (await bob.get("/initialSync"))["rooms"]] == [room]
    assert len((await bob.get("/events", params={"from": start}))["chunk"]) == 1
    base = f"/user/{bob.user_id}/account_data"
    for event_type, content in (
        ("m.ignored_user_list", {"ignored_users": {alice.user_id: {}}}),
        ("m.invite_permission_config", {"default_action": "block"}),
    ):
        await bob.put(f"{base}/{event_type}", content)
        assert (await bob.get("/initialSync"))["rooms"] == []
        news = (await bob.get("/events", params={"from": start}))["chunk"]
        assert "m.room.member" not in [event["type"] for event in news]
        await bob.put(f"{base}/{event_type}", {"ignored_users": {}} if "ignored" in event_type else {})
