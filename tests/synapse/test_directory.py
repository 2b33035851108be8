"""What one side asks the other without sharing a room."""

from __future__ import annotations

from tests.support.client import segment
from tests.synapse.rooms import public_room
from tests.synapse.sides import Side


async def test_profile(host: Side, guest: Side) -> None:
    """Names and pictures of people on the other side."""
    known, asking = await host.register("known"), await guest.register("asking")
    await known.put(f"/profile/{segment(known.user_id)}/displayname", {"displayname": "Known"})
    await known.put(f"/profile/{segment(known.user_id)}/avatar_url", {"avatar_url": "mxc://example.test/known"})
    profile = await asking.get(f"/profile/{segment(known.user_id)}")
    assert (profile["displayname"], profile["avatar_url"]) == ("Known", "mxc://example.test/known")
    await asking.get(f"/profile/{segment(f'@nobody:{host.name}')}", expect=404)


async def test_aliases(host: Side, guest: Side) -> None:
    """An alias of the other side, and one that it does not have."""
    owner, asking = await host.register("owner"), await guest.register("asking")
    name = owner.user_id[1:].partition(":")[0]
    room_id = await public_room(owner, room_alias_name=name)
    found = await asking.get(f"/directory/room/{segment(f'#{name}:{host.name}')}")
    assert found["room_id"] == room_id
    assert host.name in found["servers"]
    await asking.get(f"/directory/room/{segment(f'#no{name}:{host.name}')}", expect=404)


async def test_public_rooms(host: Side, guest: Side) -> None:
    """The list of rooms that the other side publishes, whole and searched."""
    owner, asking = await host.register("owner"), await guest.register("asking")
    name = f"Published by {owner.user_id}"
    room_id = await public_room(owner, name=name, visibility="public")
    await public_room(owner, name=f"Not {name}")
    listed = await asking.get("/publicRooms", params={"server": host.name})
    assert room_id in [room["room_id"] for room in listed["chunk"]]
    request = {"filter": {"generic_search_term": name}, "limit": 10}
    searched = await asking.post("/publicRooms", request, params={"server": host.name})
    assert [(room["room_id"], room["name"]) for room in searched["chunk"]] == [(room_id, name)]


async def test_space_hierarchy(host: Side, guest: Side) -> None:
    """A space of the other side, seen by somebody who is in it and not in its rooms."""
    owner, asking = await host.register("owner"), await guest.register("asking")
    child = await public_room(owner, name="Child")
    hidden = await owner.create_room(preset="private_chat", name="Hidden")
    space = await public_room(owner, name="Space", creation_content={"type": "m.space"})
    for room_id in (child, hidden):
        await owner.set_state(space, "m.space.child", {"via": [host.name]}, room_id)
    await asking.join_via(space, host)
    answer = await asking.get(f"/_matrix/client/v1/rooms/{segment(space)}/hierarchy")
    assert [(room["room_id"], room.get("name")) for room in answer["rooms"]] == [(space, "Space"), (child, "Child")]
