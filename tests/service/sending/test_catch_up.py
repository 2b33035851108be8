"""Servers that were away for long: what they get when they are back, and what is kept for them until then."""

from __future__ import annotations

import orjson

from conduit.database import trees
from conduit.protocol.ids import ServerName
from conduit.service.sending import queue
from tests.support.client import User
from tests.support.federation import Network
from tests.support.outgoing import Sink, enter, member, quiet, until

TWO = ServerName("two.test")
BOB = "@bob:two.test"


async def fall_behind(net: Network, hours: int = 3) -> None:
    """Let the other server be away for long. Something must be there to be sent to it."""
    net.board.down(TWO)
    await quiet()
    for _ in range(hours * 12):
        await net.clock.advance(300)
        await quiet()
    db = net["one.test"].ctx.db
    await until(lambda: queue.is_behind(db, TWO))


async def come_back(net: Network, sink: Sink) -> None:
    """Let the other server be there again, and say so."""
    net.board.heal()
    await sink.peer.get("one.test", "/_matrix/federation/v1/query/profile?user_id=@alice:one.test")


async def test_newest_event_of_each_room_is_sent(net: Network, alice: User, room: str, sink: Sink) -> None:
    """Before and during the outage alike; and afterwards every event again."""
    other = await alice.create_room(preset="public_chat")
    enter(net["one.test"], other, BOB)
    net.board.down(TWO)
    for number in range(60):
        await alice.send(room, f"early {number}")
    await alice.send(other, "other")
    await fall_behind(net)
    for number in range(60):
        await alice.send(room, f"late {number}")
    db = net["one.test"].ctx.db
    assert list(trees.destination_queue.keys(db, (TWO, queue.PDU))) == []
    assert queue.lengths(db, TWO) == (2, 0)
    await come_back(net, sink)
    await sink.gets(lambda: len(sink.texts) == 2)
    assert sorted(sink.texts) == ["late 59", "other"]
    await alice.send(room, "now")
    await sink.gets(lambda: sink.texts[2:] == ["now"])
    assert not queue.is_behind(db, TWO)
    assert list(trees.destination_room.keys(db)) == []


async def test_leaves_are_sent_where_others_spoke_last(net: Network, alice: User, room: str, sink: Sink) -> None:
    """From them the server finds everything; those that it has made itself it has."""
    net.board.down(TWO)
    await alice.send(room, "hello")
    await fall_behind(net)
    carol = enter(net["one.test"], room, "@carol:three.test")
    await come_back(net, sink)
    await sink.gets(lambda: sink.pdus)
    assert [pdu["sender"] for pdu in sink.pdus] == [carol]


async def test_server_that_is_out_of_the_room_gets_what_concerned_it(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """The last event that was meant for it, and nothing that came after."""
    net.board.down(TWO)
    await alice.send(room, "hello")
    await fall_behind(net)
    await alice.post(f"/rooms/{room}/kick", {"user_id": BOB})
    await alice.send(room, "among ourselves")
    await come_back(net, sink)
    await sink.gets(lambda: sink.pdus)
    await quiet()
    assert [pdu["content"].get("membership") for pdu in sink.pdus] == ["leave"]


async def test_server_that_is_shut_out_meanwhile_gets_nothing_of_the_room(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """What was noted for it is let go."""
    net.board.down(TWO)
    await alice.send(room, "hello")
    await fall_behind(net)
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": [TWO]})
    await come_back(net, sink)
    db = net["one.test"].ctx.db
    await until(lambda: not queue.is_behind(db, TWO))
    assert sink.pdus == []


async def test_to_device_messages_survive_and_ephemeral_ones_do_not(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """Messages come each once and in order; who read and who was online then is not told any more."""
    event_id = await alice.send(room, "hello")
    await sink.gets(lambda: sink.texts)
    net.board.down(TWO)
    for number in range(5):
        await alice.put(f"/sendToDevice/test/{number}", {"messages": {BOB: {"*": {"number": number}}}})
    await alice.post(f"/rooms/{room}/receipt/m.read/{event_id}")
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "online", "status_msg": "x"})
    await fall_behind(net)
    await alice.put("/sendToDevice/test/5", {"messages": {BOB: {"*": {"number": 5}}}})
    await come_back(net, sink)
    await sink.gets(lambda: len(sink.edus("m.direct_to_device")) == 6)
    numbers = [content["messages"][BOB]["*"]["number"] for content in sink.edus("m.direct_to_device")]
    assert numbers == list(range(6))
    await net.clock.advance(10)
    await quiet()
    assert sink.edus("m.receipt") == []
    assert all(push.get("status_msg") is None for content in sink.edus("m.presence") for push in content["push"])


async def test_device_lists_are_folded_into_the_newest_of_each_user(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """Whose `prev_id` tells that others are missing; to-device messages among them stay in their places."""
    db = net["one.test"].ctx.db
    net.board.down(TWO)
    with db.batch() as batch:
        for number in range(2500):
            user = "@alice:one.test" if number % 2 else "@anne:one.test"
            content = {"user_id": user, "device_id": "D", "stream_id": number, "prev_id": [number - 2]}
            queue.enqueue_edu(batch, TWO, {"edu_type": "m.device_list_update", "content": content})
            if number % 1000 == 0:
                queue.enqueue_edu(batch, TWO, {"edu_type": "m.direct_to_device", "content": {"number": number}})
    await fall_behind(net)
    assert queue.lengths(db, TWO)[1] <= 5 + 80
    await come_back(net, sink)
    await sink.gets(lambda: len(sink.edus("m.direct_to_device")) == 3)
    await quiet()
    newest = {content["user_id"]: content["stream_id"] for content in sink.edus("m.device_list_update")}
    assert newest == {"@alice:one.test": 2499, "@anne:one.test": 2498}
    assert [content["number"] for content in sink.edus("m.direct_to_device")] == [0, 1000, 2000]
    assert list(trees.destination_queue.keys(db)) == []


async def test_device_lists_for_a_server_that_is_behind_take_each_others_place(
    net: Network, alice: User, room: str
) -> None:
    """However many there are while nobody tries to send them, one of each user and kind waits."""
    db = net["one.test"].ctx.db
    net.board.down(TWO)
    await alice.send(room, "hello")
    await fall_behind(net)
    for number in range(300):
        with db.batch() as batch:
            for user in ("@alice:one.test", "@anne:one.test"):
                content = {"user_id": user, "device_id": "D", "stream_id": number, "prev_id": [number - 1]}
                queue.enqueue_edu(batch, TWO, {"edu_type": "m.device_list_update", "content": content})
                queue.enqueue_edu(batch, TWO, {"edu_type": "m.signing_key_update", "content": {"user_id": user}})
    assert queue.lengths(db, TWO)[1] == 4
    newest = [orjson.loads(raw)["content"] for _, raw in trees.destination_queue.scan(db, (TWO, queue.EDU))]
    assert [content["stream_id"] for content in newest if "stream_id" in content] == [299, 299]


async def test_messages_for_a_server_that_is_gone_for_a_month_are_dropped(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """Those that wait and those that come; once it is back they are delivered again."""
    db = net["one.test"].ctx.db
    sink.peer.valid_until_ts += 90 * 86_400_000
    await alice.send(room, "hello")
    await sink.gets(lambda: sink.texts)
    net.board.down(TWO)
    await alice.put("/sendToDevice/test/1", {"messages": {BOB: {"*": {"number": 1}}}})
    await fall_behind(net)
    assert queue.lengths(db, TWO)[1] == 1
    for _ in range(65):
        net.clock.jump(12 * 3600)
        await quiet()
    assert queue.lengths(db, TWO)[1] == 0
    await alice.put("/sendToDevice/test/2", {"messages": {BOB: {"*": {"number": 2}}}})
    assert queue.lengths(db, TWO)[1] == 0
    await come_back(net, sink)
    await quiet()
    await alice.put("/sendToDevice/test/3", {"messages": {BOB: {"*": {"number": 3}}}})
    await sink.gets(lambda: sink.edus("m.direct_to_device"))
    assert [content["messages"][BOB]["*"]["number"] for content in sink.edus("m.direct_to_device")] == [3]


async def test_many_rooms_are_caught_up_in_several_transactions(net: Network, alice: User, sink: Sink) -> None:
    """Fifty events at a time; what happens meanwhile is not lost."""
    one = net["one.test"]
    rooms = [await alice.create_room(preset="public_chat") for _ in range(3)]
    with one.ctx.db.batch() as batch:
        queue.set_behind(batch, TWO, 0)
    for room_id in rooms:
        enter(one, room_id, BOB)
    net.board.down(TWO)
    for room_id in rooms:
        await alice.send(room_id, "missed")
    net.board.heal()
    await net.clock.advance(7)
    await sink.gets(lambda: sink.texts == ["missed"] * 3)
    assert not queue.is_behind(one.ctx.db, TWO)


async def test_redacted_event_is_sent_without_its_content(net: Network, alice: User, room: str, sink: Sink) -> None:
    """What was taken back while the server was away does not leave any more."""
    net.board.down(TWO)
    event_id = await alice.send(room, "secret")
    await quiet()
    await alice.redact(room, event_id)
    net.board.heal()
    await net.clock.advance(7)
    await sink.gets(lambda: len(sink.pdus) == 2)
    assert sink.pdus[0]["content"] == {}
    assert sink.pdus[1]["type"] == "m.room.redaction"


async def test_invite_that_is_taken_back_reaches_a_server_that_was_away(net: Network, alice: User, sink: Sink) -> None:
    """Nobody of it is in the room."""
    room_id = await alice.create_room()
    member(net["one.test"], room_id, alice.user_id, BOB, "invite")
    net.board.down(TWO)
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": BOB})
    await fall_behind(net)
    await come_back(net, sink)
    await sink.gets(lambda: [pdu["content"]["membership"] for pdu in sink.pdus] == ["leave"])
