"""matrix-nio chats across two servers, one on each engine: what people on different servers see of each other."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import nio
import pytest
from PIL import Image

from tests.clients.neighbours import Neighbours, neighbours
from tests.clients.person import Person, Refused, good, meet
from tests.clients.test_nio_encryption import ENCRYPTED, device, store, trust
from tests.support.process import ServerProcess

MANY = 200
"""More messages than four transactions hold."""


class Reader(Person):
    """A client that wants long stretches of the timeline at once, so that it misses nothing however slow it is."""

    sync_filter: ClassVar[dict[str, Any]] = {"room": {"timeline": {"limit": 1000}}}

    def bodies(self, room_id: str, sender: str) -> list[str]:
        """Return the texts of a sender in the order in which they came."""
        return [
            event.body
            for room, event in self.timeline
            if room == room_id and event.sender == sender and isinstance(event, nio.RoomMessageText)
        ]

    async def hears(self, room_id: str, sender: str, bodies: list[str]) -> None:
        """Wait for the last of the texts; then exactly these have come, each once and in this order."""
        await self.until(lambda: bodies[-1] in self.bodies(room_id, sender), f"{bodies[-1]!r} of {sender}")
        assert self.bodies(room_id, sender) == bodies


Pair = tuple[Reader, Reader, str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """Both servers, for all tests of this file."""
    with neighbours(tmp_path_factory.mktemp("neighbours")) as both:
        yield both


@pytest.fixture(params=["rocksdb", "lmdb"])
def sides(request: pytest.FixtureRequest, servers: Neighbours) -> Neighbours:
    """The host's server and the guest's; each is the host's in turn."""
    return servers if request.param == "rocksdb" else (servers[1], servers[0])


@pytest.fixture
async def people(sides: Neighbours, named: Callable[[str], str]) -> AsyncIterator[tuple[Reader, Reader]]:
    """Alice on the host's server, Bob on the other."""
    async with (
        Reader.new(sides[0].url, named("alice")) as alice,
        Reader.new(sides[1].url, named("bob")) as bob,
    ):
        assert isinstance(alice, Reader)
        assert isinstance(bob, Reader)
        yield alice, bob


@pytest.fixture
async def pair(people: tuple[Reader, Reader]) -> Pair:
    """Alice and Bob, and a room that Alice has made and both are in."""
    return *people, await meet(*people, name="Garden", topic="What grows")


def server_of(person: Person) -> str:
    """Return the name of the server that a person is on."""
    return person.user_id.partition(":")[2]


async def enter(person: Person, verb: str, room: str, via: str) -> str:
    """Join or knock by an id or an alias with the help of a server; return the room's id. nio has no method that names one."""
    path = f"/_matrix/client/v3/{verb}/{room.replace('#', '%23')}?via={via}&server_name={via}"
    answer = await person.send("POST", path, "{}", headers={"Authorization": f"Bearer {person.access_token}"})
    body: dict[str, Any] = await answer.json()
    assert answer.status == 200, body
    return str(body["room_id"])


async def test_room_is_the_same_on_both_sides(pair: Pair) -> None:
    """Name, topic, members and all state, event by event; whoever is invited sees by whom and where to."""
    alice, bob, room_id = pair
    assert server_of(alice) != server_of(bob)
    (invite,) = [
        event for event in bob.invites if isinstance(event, nio.InviteMemberEvent) and event.membership == "invite"
    ]
    assert (invite.sender, invite.state_key) == (alice.user_id, bob.user_id)
    for person in (alice, bob):
        room = person.rooms[room_id]
        assert (room.name, room.topic, room.room_version) == ("Garden", "What grows", "12")
        assert set(room.users) == {alice.user_id, bob.user_id}
    here, there = [good(await person.room_get_state(room_id)).events for person in (alice, bob)]
    assert {(event["type"], event["state_key"]): event["event_id"] for event in here} == {
        (event["type"], event["state_key"]): event["event_id"] for event in there
    }


async def test_public_room_is_found_and_joined(people: tuple[Reader, Reader], sides: Neighbours) -> None:
    """In the other server's directory, by its alias and by its id."""
    alice, bob = people
    created = await alice.room_create(visibility=nio.RoomVisibility.public, alias=f"yard-{alice.user}", name="Yard")
    room_id = good(created).room_id
    alias = f"#yard-{alice.user}:{server_of(alice)}"
    assert good(await bob.room_resolve_alias(alias)).room_id == room_id
    listed = good(await bob.list_public_rooms(server=server_of(alice)))
    assert room_id in {room.room_id for room in listed.public_rooms}
    assert good(await bob.join(alias)).room_id == room_id
    await bob.event(room_id, await alice.say(room_id, "hello, Bob"))
    async with Reader.new(sides[1].url, f"{bob.user}-too") as carol:
        assert await enter(carol, "join", room_id, server_of(alice)) == room_id
        await alice.member(room_id, carol.user_id)
        sent = await carol.say(room_id, "hello, all")
        for person in (alice, bob):
            await person.event(room_id, sent)


@pytest.mark.parametrize("sides", ["rocksdb"], indirect=True)
async def test_long_talk_is_heard_whole_and_in_order(pair: Pair) -> None:
    """Both talk at once; each hears what the other says, once and in order, and both find the same history afterwards."""
    alice, bob, room_id = pair
    lines = [f"line {number}" for number in range(MANY)]

    async def talk(person: Person) -> list[str]:
        return [await person.say(room_id, line) for line in lines]

    said = await asyncio.gather(talk(alice), talk(bob))
    for listener, speaker in ((alice, bob), (bob, alice), (alice, alice), (bob, bob)):
        await listener.hears(room_id, speaker.user_id, lines)
    for person in (alice, bob):
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            page = good(await person.room_messages(room_id, token, limit=100))
            found += [event.event_id for event in page.chunk]
            token = page.end
        assert len(found) == len(set(found))
        assert {event_id for ids in said for event_id in ids} <= set(found)


async def test_messages_change_on_the_other_side_too(pair: Pair) -> None:
    """An edit, a reaction, a redaction of each side's own and, by the host, of the guest's."""
    alice, bob, room_id = pair
    first = await bob.say(room_id, "helo")
    await alice.event(room_id, first)
    new = {
        "m.new_content": {"msgtype": "m.text", "body": "hello"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": first},
    }
    edit = await bob.say(room_id, "* hello", **new)
    await alice.event(room_id, edit)
    shown = good(await alice.room_get_event(room_id, first)).event
    assert shown.source["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit

    relation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "👍"}}
    reaction = await bob.event(room_id, await alice.put(room_id, relation, "m.reaction"))
    assert isinstance(reaction, nio.ReactionEvent)
    assert (reaction.reacts_to, reaction.key, reaction.sender) == (first, "👍", alice.user_id)

    second = await alice.say(room_id, "never mind")
    await bob.event(room_id, second)
    for person, other, event_id in ((alice, bob, second), (alice, bob, first)):
        redaction = good(await person.room_redact(room_id, event_id, "tidy")).event_id
        seen = await other.event(room_id, redaction)
        assert isinstance(seen, nio.RedactionEvent)
        assert (seen.redacts, seen.reason) == (event_id, "tidy")
        for side in (person, other):
            assert isinstance(good(await side.room_get_event(room_id, event_id)).event, nio.RedactedEvent)
    assert isinstance(await bob.room_redact(room_id, room_id.replace("!", "$")), nio.RoomRedactError)


async def test_files_arrive_as_they_were_sent(pair: Pair) -> None:
    """A file by its name and type; of an image also a small form."""
    alice, bob, room_id = pair
    picture = io.BytesIO()
    Image.new("RGB", (400, 200), "green").save(picture, "PNG")
    picture.seek(0)
    size = len(picture.getvalue())
    sent, _ = await alice.upload(picture, content_type="image/png", filename="grün.png", filesize=size)
    content = {"msgtype": "m.image", "body": "grün.png", "url": good(sent).content_uri}
    message = await bob.event(room_id, await alice.put(room_id, content))
    got = good(await bob.download(message.url))
    assert (got.body, got.content_type, got.filename) == (picture.getvalue(), "image/png", "grün.png")
    _, _, server_name, media_id = message.url.split("/")
    assert server_name == server_of(alice)
    small = good(await bob.thumbnail(server_name, media_id, 96, 96, nio.ResizingMethod.crop))
    assert Image.open(io.BytesIO(small.body)).size == (96, 96)
    missing = await bob.download(f"mxc://{server_name}/nosuchfile")
    assert isinstance(missing, nio.DownloadError)
    assert missing.status_code == "M_NOT_FOUND"


async def test_what_people_do_is_told(pair: Pair) -> None:
    """Reading, typing, being there, a new name."""
    alice, bob, room_id = pair
    last = await alice.say(room_id, "news")
    await bob.event(room_id, last)
    await bob.until(lambda: bob.rooms[room_id].unread_notifications == 1, "an unread message")
    good(await bob.room_read_markers(room_id, last, last))
    receipt = await alice.until(lambda: alice.rooms[room_id].read_receipts.get(bob.user_id), "a receipt")
    assert (receipt.event_id, receipt.receipt_type) == (last, "m.read")

    good(await bob.room_typing(room_id, typing_state=True, timeout=60_000))
    await alice.until(lambda: alice.rooms[room_id].typing_users == [bob.user_id], "Bob typing")
    good(await bob.room_typing(room_id, typing_state=False))
    await alice.until(lambda: alice.rooms[room_id].typing_users == [], "nobody typing")

    good(await bob.set_presence("unavailable", "at lunch"))
    await alice.until(lambda: alice.rooms[room_id].users[bob.user_id].status_msg == "at lunch", "the status")
    good(await bob.set_displayname("Bobby"))
    await alice.until(lambda: alice.rooms[room_id].user_name(bob.user_id) == "Bobby", "the new name")
    assert good(await alice.get_profile(bob.user_id)).displayname == "Bobby"


async def test_members_go_and_come_back(pair: Pair) -> None:
    """Leave, be invited anew, decline, be kicked, banned, unbanned."""
    alice, bob, room_id = pair
    good(await bob.room_leave(room_id))
    await alice.member(room_id, bob.user_id, is_there=False)
    unseen = await alice.say(room_id, "alone")
    good(await alice.room_invite(room_id, bob.user_id))
    await bob.until(lambda: room_id in bob.invited_rooms, "the invite")
    good(await bob.room_leave(room_id))
    await alice.until(lambda: last_membership(alice, room_id, bob.user_id) == "leave", "the refusal")
    good(await alice.room_invite(room_id, bob.user_id))
    await bob.until(lambda: room_id in bob.invited_rooms, "the second invite")
    good(await bob.join(room_id))
    await alice.member(room_id, bob.user_id)
    await bob.event(room_id, await alice.say(room_id, "welcome back"))
    history = good(await bob.room_messages(room_id, limit=50)).chunk
    assert unseen in {event.event_id for event in history}

    bob.left.clear()
    good(await alice.room_kick(room_id, bob.user_id, "too loud"))
    kick = (await bob.until(lambda: bob.left.pop(room_id, None), "the kick"))[-1]
    assert (kick.sender, kick.membership, kick.content["reason"]) == (alice.user_id, "leave", "too loud")
    good(await alice.room_ban(room_id, bob.user_id))
    assert isinstance(await bob.join(room_id), nio.JoinError)
    good(await alice.room_unban(room_id, bob.user_id))
    good(await alice.room_invite(room_id, bob.user_id))
    await bob.until(lambda: room_id in bob.invited_rooms, "the third invite")
    good(await bob.join(room_id))
    await bob.event(room_id, await alice.say(room_id, "all is well"))


def last_membership(person: Person, room_id: str, user_id: str) -> str | None:
    """Return the last membership of a user that a person has been told of."""
    found = [
        event.membership
        for room, event in person.timeline
        if room == room_id and isinstance(event, nio.RoomMemberEvent) and event.state_key == user_id
    ]
    return found[-1] if found else None


async def test_who_knocks_is_let_in(people: tuple[Reader, Reader]) -> None:
    """The host sees the knock with its reason, and answers it by an invite."""
    alice, bob = people
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = good(await alice.room_create(name="Club", initial_state=[rule])).room_id
    with pytest.raises(AssertionError, match="M_FORBIDDEN"):
        await enter(bob, "join", room_id, server_of(alice))
    assert await enter(bob, "knock", room_id, server_of(alice)) == room_id
    await alice.until(lambda: last_membership(alice, room_id, bob.user_id) == "knock", "the knock")
    good(await alice.room_invite(room_id, bob.user_id))
    await bob.until(lambda: room_id in bob.invited_rooms, "the invite")
    good(await bob.join(room_id))
    await bob.event(room_id, await alice.say(room_id, "come in"))


async def test_restricted_room_lets_members_of_another_in(people: tuple[Reader, Reader]) -> None:
    """Nobody else; the guest's server asks the host's, as it is not in the room itself."""
    alice, bob = people
    hall = await meet(alice, bob)
    allow = [{"type": "m.room_membership", "room_id": hall}]
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = good(await alice.room_create(name="Study", initial_state=[rule])).room_id
    assert await enter(bob, "join", room_id, server_of(alice)) == room_id
    await alice.member(room_id, bob.user_id)
    await bob.event(room_id, await alice.say(room_id, "quiet, please"))
    async with Reader.new(bob.homeserver, f"{bob.user}-stranger") as stranger:
        with pytest.raises(AssertionError, match="M_FORBIDDEN"):
            await enter(stranger, "join", room_id, server_of(alice))
    with pytest.raises(Refused):
        good(await bob.room_invite(room_id, "@nobody:no-such-server.invalid"))


@pytest.mark.parametrize(
    ("sides", "end"), [("rocksdb", ServerProcess.stop), ("lmdb", ServerProcess.kill)], indirect=["sides"]
)
async def test_server_that_was_away_misses_nothing(
    pair: Pair, sides: Neighbours, end: Callable[[ServerProcess], None]
) -> None:
    """Ended in good order or killed while its people talk: what was said meanwhile arrives once and in order, both ways."""
    alice, bob, room_id = pair
    before, meanwhile, after = (
        [f"{when} {number}" for number in range(30)] for when in ("before", "meanwhile", "after")
    )
    for line in before:
        await bob.say(room_id, line)
    await bob.rest()
    end(sides[1])
    for line in before + meanwhile:
        await alice.say(room_id, line)
    good(await alice.room_put_state(room_id, "m.room.topic", {"topic": "Who is away?"}))
    sides[1].start()
    bob.resume()
    for line in after:
        await bob.say(room_id, line)
    await alice.hears(room_id, bob.user_id, before + after)
    await bob.hears(room_id, alice.user_id, before + meanwhile)
    await bob.until(lambda: bob.rooms[room_id].topic == "Who is away?", "the topic")
    for line in after:
        await alice.say(room_id, line)
    await bob.hears(room_id, alice.user_id, before + meanwhile + after)


@pytest.fixture
async def secretive(
    sides: Neighbours, named: Callable[[str], str], tmp_path: Path
) -> AsyncIterator[tuple[Person, Person]]:
    """Alice and Bob on their servers, with keys uploaded."""
    async with (
        Person.new(sides[0].url, named("alice"), store(tmp_path, "alice")) as alice,
        Person.new(sides[1].url, named("bob"), store(tmp_path, "bob")) as bob,
    ):
        for person in (alice, bob):
            await person.until(lambda person=person: person.olm_account_shared, "the keys to be uploaded")
        yield alice, bob


async def test_encrypted_talk_crosses_servers(secretive: tuple[Person, Person], tmp_path: Path) -> None:
    """Keys are claimed and shared both ways; a device that comes later reads along; who leaves does not, until back."""
    alice, bob = secretive
    room_id = await meet(alice, bob, initial_state=ENCRYPTED)
    await trust(alice, bob)
    for speaker, listener in ((alice, bob), (bob, alice)):
        for number in range(5):
            sent = await speaker.say(room_id, f"whisper {number}")
            message = await listener.event(room_id, sent)
            assert (message.body, message.decrypted) == (f"whisper {number}", True)

    async with Person.login_again(bob.homeserver, bob.user, "phone", store(tmp_path, "phone")) as phone:
        await device(alice, phone)
        with pytest.raises(nio.OlmUnverifiedDeviceError):
            await alice.say(room_id, "too early")
        await trust(alice, phone)
        await trust(bob, phone)
        sent = await alice.say(room_id, "for both devices")
        for reader in (bob, phone):
            assert (await reader.event(room_id, sent)).body == "for both devices"
        answer = await alice.event(room_id, await phone.say(room_id, "from the phone"))
        assert (answer.body, answer.verified) == ("from the phone", True)
        await phone.rest()
        good(await phone.logout())
    await device(alice, phone, is_there=False)

    assert (await bob.event(room_id, await alice.say(room_id, "for one again"))).body == "for one again"
    assert alice.olm is not None
    shared = alice.olm.outbound_group_sessions[room_id].id
    good(await bob.room_leave(room_id))
    await alice.member(room_id, bob.user_id, is_there=False)
    await alice.say(room_id, "alone")
    assert alice.olm.outbound_group_sessions[room_id].id != shared
    # While no room is shared, nothing tells the other server of new devices; it asks once it is anew.
    async with Person.login_again(bob.homeserver, bob.user, "tablet", store(tmp_path, "tablet")) as tablet:
        await tablet.until(lambda: tablet.olm_account_shared, "the keys to be uploaded")
        good(await alice.room_invite(room_id, bob.user_id))
        await bob.until(lambda: room_id in bob.invited_rooms, "the invite")
        good(await bob.join(room_id))
        await alice.member(room_id, bob.user_id)
        await device(alice, tablet)
        await trust(alice, tablet)
        sent = await alice.say(room_id, "welcome back")
        for reader in (bob, tablet):
            assert (await reader.event(room_id, sent)).body == "welcome back"
