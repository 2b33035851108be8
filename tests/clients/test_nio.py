"""matrix-nio chats: rooms, messages of all kinds, files, receipts, typing, profiles, history."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable

import nio
import pytest
from PIL import Image

from tests.clients.person import Person, good, meet
from tests.support.process import ServerProcess

Pair = tuple[Person, Person, str]


@pytest.fixture
async def pair(server: ServerProcess, named: Callable[[str], str]) -> AsyncIterator[Pair]:
    """Alice and Bob, and a room that Alice has made and both are in."""
    async with (
        Person.new(server.url, named("alice")) as alice,
        Person.new(server.url, named("bob")) as bob,
    ):
        yield alice, bob, await meet(alice, bob, name="Garden", topic="What grows")


async def test_room_is_seen_alike_by_host_and_guest(pair: Pair) -> None:
    """Name, topic, members, power levels; by /sync and when asked for."""
    alice, bob, room_id = pair
    for person in (alice, bob):
        room = person.rooms[room_id]
        assert (room.name, room.topic, room.encrypted) == ("Garden", "What grows", False)
        assert room.room_version == "12"
        assert room.join_rule == "invite"
        assert set(room.users) == {alice.user_id, bob.user_id}
        assert room_id in good(await person.joined_rooms()).rooms
        members = good(await person.joined_members(room_id)).members
        assert {member.user_id for member in members} == {alice.user_id, bob.user_id}
        state = good(await person.room_get_state(room_id)).events
        kinds = {(event["type"], event["state_key"]) for event in state}
        assert {("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", bob.user_id)} <= kinds
        topic = good(await person.room_get_state_event(room_id, "m.room.topic"))
        assert topic.content["topic"] == "What grows"


async def test_messages_reach_everybody(pair: Pair) -> None:
    """Texts both ways, an edit, a reaction, a redaction: each is what nio takes it for."""
    alice, bob, room_id = pair
    first = await alice.say(room_id, "helo")
    assert (await bob.event(room_id, first)).body == "helo"

    edit = await alice.say(
        room_id,
        "* hello",
        **{
            "m.new_content": {"msgtype": "m.text", "body": "hello"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": first},
        },
    )
    assert (await bob.event(room_id, edit)).source["content"]["m.new_content"]["body"] == "hello"

    relation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "👍"}}
    reaction = await alice.event(room_id, await bob.put(room_id, relation, "m.reaction"))
    assert isinstance(reaction, nio.ReactionEvent)
    assert (reaction.reacts_to, reaction.key, reaction.sender) == (first, "👍", bob.user_id)

    second = await bob.say(room_id, "never mind")
    await alice.event(room_id, second)
    redaction = good(await bob.room_redact(room_id, second, "typo")).event_id
    seen = await alice.event(room_id, redaction)
    assert isinstance(seen, nio.RedactionEvent)
    assert (seen.redacts, seen.reason) == (second, "typo")

    assert isinstance(good(await alice.room_get_event(room_id, second)).event, nio.RedactedEvent)
    edited = good(await bob.room_get_event(room_id, first)).event
    assert edited.source["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    related = [event async for event in alice.room_get_event_relations(room_id, first)]
    assert {event.event_id for event in related} == {edit, reaction.event_id}


async def test_history_can_be_read_backwards(pair: Pair) -> None:
    """Page by page to the room's creation, nothing missing, nothing twice; and the surroundings of one event."""
    alice, bob, room_id = pair
    sent = [await alice.say(room_id, f"line {number}") for number in range(25)]
    await bob.event(room_id, sent[-1])
    pages: list[list[str]] = []
    events: list[nio.Event] = []
    token: str | None = ""
    while token is not None:
        page = good(await bob.room_messages(room_id, token, limit=10))
        pages.append([event.event_id for event in page.chunk])
        events += page.chunk
        token = page.end
    ids = [event_id for page in pages for event_id in page]
    assert len(ids) == len(set(ids))
    assert ids[:25] == sent[::-1]
    assert isinstance(events[-1], nio.RoomCreateEvent)
    context = good(await bob.room_context(room_id, sent[12], limit=4))
    assert [event.event_id for event in context.events_before] == [sent[11], sent[10]]
    assert [event.event_id for event in context.events_after] == [sent[13], sent[14]]


async def test_files_arrive_as_they_were_sent(pair: Pair) -> None:
    """A file by its name and type; an image, and a small form of it."""
    alice, bob, room_id = pair
    data = bytes(range(256)) * 1000
    sent, _ = await alice.upload(
        io.BytesIO(data), content_type="application/pdf", filename="plän.pdf", filesize=len(data)
    )
    content = {"msgtype": "m.file", "body": "plän.pdf", "url": good(sent).content_uri, "info": {"size": len(data)}}
    message = await bob.event(room_id, await alice.put(room_id, content))
    assert isinstance(message, nio.RoomMessageFile)
    got = good(await bob.download(message.url))
    assert (got.body, got.content_type, got.filename) == (data, "application/pdf", "plän.pdf")

    picture = io.BytesIO()
    Image.new("RGB", (400, 200), "green").save(picture, "PNG")
    picture.seek(0)
    sent, _ = await bob.upload(picture, content_type="image/png", filesize=len(picture.getvalue()))
    content = {"msgtype": "m.image", "body": "green.png", "url": good(sent).content_uri}
    message = await alice.event(room_id, await bob.put(room_id, content))
    assert isinstance(message, nio.RoomMessageImage)
    _, _, server_name, media_id = message.url.split("/")
    small = good(await alice.thumbnail(server_name, media_id, 96, 96, nio.ResizingMethod.crop))
    assert Image.open(io.BytesIO(small.body)).size == (96, 96)


async def test_reading_is_told(pair: Pair) -> None:
    """Unread messages are counted until a receipt comes; the sender sees it, the reader's own marker moves."""
    alice, bob, room_id = pair
    for number in range(3):
        last = await alice.say(room_id, f"news {number}")
    await bob.event(room_id, last)
    await bob.until(lambda: bob.rooms[room_id].unread_notifications == 3, "three unread messages")
    good(await bob.room_read_markers(room_id, last, last))
    await bob.until(lambda: bob.rooms[room_id].unread_notifications == 0, "nothing unread")
    await bob.until(lambda: bob.rooms[room_id].fully_read_marker == last, "the marker")
    receipts = alice.rooms[room_id].read_receipts
    receipt = await alice.until(lambda: receipts.get(bob.user_id), "a receipt")
    assert (receipt.event_id, receipt.receipt_type) == (last, "m.read")
    again = await alice.say(room_id, "one more")
    await bob.event(room_id, again)
    good(await bob.update_receipt_marker(room_id, again, thread_id="main"))
    threaded = alice.rooms[room_id].threaded_read_receipts
    await alice.until(lambda: threaded.get(bob.user_id, {}).get("main"), "a receipt of the main timeline")
    assert threaded[bob.user_id]["main"].event_id == again


async def test_typing_is_told(pair: Pair) -> None:
    """From when it starts until it stops."""
    alice, bob, room_id = pair
    good(await bob.room_typing(room_id, typing_state=True, timeout=60_000))
    await alice.until(lambda: alice.rooms[room_id].typing_users == [bob.user_id], "Bob typing")
    good(await bob.room_typing(room_id, typing_state=False))
    await alice.until(lambda: alice.rooms[room_id].typing_users == [], "nobody typing")


async def test_profile_change_is_seen(pair: Pair) -> None:
    """Display name and avatar, in the room and in the profile; presence comes along."""
    alice, bob, room_id = pair
    good(await bob.set_displayname("Bobby"))
    await alice.until(lambda: alice.rooms[room_id].user_name(bob.user_id) == "Bobby", "the new name")
    good(await bob.set_avatar("mxc://localhost/abc"))
    await alice.until(lambda: alice.rooms[room_id].avatar_url(bob.user_id) == "mxc://localhost/abc", "the avatar")
    profile = good(await alice.get_profile(bob.user_id))
    assert (profile.displayname, profile.avatar_url) == ("Bobby", "mxc://localhost/abc")
    good(await bob.set_presence("unavailable", "at lunch"))
    await alice.until(lambda: alice.rooms[room_id].users[bob.user_id].status_msg == "at lunch", "the status")


async def test_members_go_and_come_back(pair: Pair) -> None:
    """Leave, invite anew, kick, ban, unban; who is out of a room sees nothing of it until being in it again."""
    alice, bob, room_id = pair
    good(await bob.room_leave(room_id))
    await alice.member(room_id, bob.user_id, is_there=False)
    own = await bob.until(lambda: bob.left.pop(room_id, None), "his leave")
    assert (own[-1].state_key, own[-1].membership) == (bob.user_id, "leave")
    unseen = await alice.say(room_id, "alone")
    assert isinstance(await bob.room_send(room_id, "m.room.message", {"body": "x"}), nio.RoomSendError)
    assert isinstance(await bob.room_get_event(room_id, unseen), nio.RoomGetEventError)

    good(await alice.room_invite(room_id, bob.user_id))
    await bob.until(lambda: room_id in bob.invited_rooms, "the invite")
    assert bob.invited_rooms[room_id].inviter == alice.user_id
    assert bob.invited_rooms[room_id].display_name == "Garden"
    good(await bob.join(room_id))
    await alice.member(room_id, bob.user_id)
    await bob.event(room_id, await alice.say(room_id, "welcome back"))
    assert good(await bob.room_get_event(room_id, unseen)).event.body == "alone"

    good(await alice.room_kick(room_id, bob.user_id, "too loud"))
    kick = (await bob.until(lambda: bob.left.pop(room_id, None), "the kick"))[-1]
    assert (kick.sender, kick.membership, kick.content["reason"]) == (alice.user_id, "leave", "too loud")
    good(await alice.room_ban(room_id, bob.user_id))
    assert isinstance(await bob.join(room_id), nio.JoinError)
    good(await alice.room_unban(room_id, bob.user_id))
    assert (await bob.until(lambda: bob.left.get(room_id), "the unban"))[-1].membership in ("ban", "leave")


async def test_state_changes_are_seen(pair: Pair) -> None:
    """A new name by one who may, none by one who may not; then an alias by which a third one finds in."""
    alice, bob, room_id = pair
    good(await alice.room_put_state(room_id, "m.room.name", {"name": "Orchard"}))
    await bob.until(lambda: bob.rooms[room_id].name == "Orchard", "the new name")
    refused = await bob.room_put_state(room_id, "m.room.name", {"name": "Mine"})
    assert refused.status_code == "M_FORBIDDEN"
    alias = f"#orchard-{alice.user}:localhost"
    good(await alice.room_put_alias(alias, room_id))
    good(await alice.room_put_state(room_id, "m.room.join_rules", {"join_rule": "public"}))
    assert good(await bob.room_resolve_alias(alias)).room_id == room_id
    async with Person.new(alice.homeserver, f"{alice.user}-carol") as carol:
        assert good(await carol.join(alias)).room_id == room_id
        await carol.member(room_id, bob.user_id)
        await bob.member(room_id, carol.user_id)
        await bob.event(room_id, await carol.say(room_id, "hello, all"))


async def test_other_device_of_the_same_person(pair: Pair) -> None:
    """A second login sees the room with its history, and the list of devices; after logging out it is gone."""
    alice, bob, room_id = pair
    sent = await bob.say(room_id, "before")
    await alice.event(room_id, sent)
    async with Person.login_again(alice.homeserver, alice.user, "phone") as phone:
        await phone.event(room_id, sent)
        assert set(phone.rooms[room_id].users) == {alice.user_id, bob.user_id}
        await bob.event(room_id, await phone.say(room_id, "from the phone"))
        names = {device.id: device.display_name for device in good(await alice.devices()).devices}
        assert names == {alice.device_id: "desk", phone.device_id: "phone"}
        token = phone.access_token
        assert good(await phone.whoami()).device_id == phone.device_id
        await phone.rest()
        good(await phone.logout())
        phone.access_token = token
        assert isinstance(await phone.whoami(), nio.WhoamiError)
    assert {device.id for device in good(await alice.devices()).devices} == {alice.device_id}
