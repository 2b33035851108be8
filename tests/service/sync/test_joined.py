"""Which joined rooms /sync tells of, and what of them."""

from __future__ import annotations

from tests.support.federation import network
from tests.support.homeserver import Homeserver
from tests.support.people import people, person
from tests.support.visitor import Visitor


async def test_a_member_with_a_new_name_leaves_the_summary_alone(hs: Homeserver) -> None:
    """Neither the counts nor the heroes change by it; with the event filtered out there is nothing to tell of the room."""
    alice, bob = await people(hs, "alice", "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    quiet = {"room": {kind: {"types": ["org.example"]} for kind in ("timeline", "state")}, "presence": {"types": []}}
    since = (await alice.sync(filter=quiet))["next_batch"]
    await bob.set_state(room_id, "m.room.member", {"membership": "join", "displayname": "Bobby"}, bob.user_id)
    assert "rooms" not in await alice.sync(since, filter=quiet)
    section = (await alice.sync(since))["rooms"]["join"][room_id]
    assert "summary" not in section
    assert [event["content"]["displayname"] for event in section["timeline"]["events"]] == ["Bobby"]
    await bob.leave(room_id)
    section = (await alice.sync(since, filter=quiet))["rooms"]["join"][room_id]
    assert section["summary"] == {
        "m.joined_member_count": 1,
        "m.invited_member_count": 0,
        "m.heroes": [bob.user_id],
    }


async def test_heroes_have_compliant_ids() -> None:
    """Who has another one is in the room, but is named in events only; historical ids are compliant."""
    async with network("one.test") as net:
        alice = await net["one.test"].register("alice")
        room_id = await alice.create_room(preset="public_chat")
        visitor = Visitor(net.peer("two.test"), "one.test")
        for name in ("müller", "", "Bob!"):
            await visitor.join(room_id, f"@{name}:two.test")
        section = (await alice.sync())["rooms"]["join"][room_id]
        assert section["summary"]["m.joined_member_count"] == 4
        assert section["summary"]["m.heroes"] == ["@Bob!:two.test"]
        assert (await alice.post("/user_directory/search", {"search_term": "bob"}))["results"]
        assert not (await alice.post("/user_directory/search", {"search_term": "müller"}))["results"]


async def test_a_new_room_has_its_ephemeral_section_and_a_known_one_only_news(hs: Homeserver) -> None:
    """Clients find the list in the room's first section even when it is empty."""
    alice = await person(hs)
    room_id = await alice.create_room()
    body = await alice.sync()
    assert body["rooms"]["join"][room_id]["ephemeral"] == {"events": []}
    await alice.send(room_id)
    body = await alice.sync(body["next_batch"])
    assert "ephemeral" not in body["rooms"]["join"][room_id]
