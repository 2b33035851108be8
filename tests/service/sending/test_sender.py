"""The sender: order, exactly once, retries, and what is told beside events."""

from __future__ import annotations

import asyncio
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from conduit.database import trees
from conduit.service.outbound.wire import WireAnswer
from conduit.service.rooms import receipts, timeline
from tests.service.sending.schedules import ALICE, World
from tests.support.client import User
from tests.support.federation import Network, network
from tests.support.outgoing import Sink, enter, member, quiet, until

TWO = "two.test"
BOB = "@bob:two.test"
DEPTH = 20 if os.environ.get("TEST_DEPTH") == "full" else 1


async def test_event_is_sent_to_the_servers_of_its_room(net: Network, alice: User, room: str, sink: Sink) -> None:
    """In its federation form, as it was signed; nothing of it is left in the queue."""
    other = Sink(net, "three.test")
    event_id = await alice.send(room, "hello")
    await sink.gets(lambda: sink.texts == ["hello"])
    body = next(iter(sink.taken.values()))
    assert body["origin"] == "one.test"
    assert body["origin_server_ts"] == net.clock.now_ms()
    assert "event_id" not in body["pdus"][0]
    assert "one.test" in body["pdus"][0]["signatures"]
    assert event_id.startswith("$")
    await quiet()
    assert other.requests == []
    db = net["one.test"].ctx.db
    assert list(trees.destination_queue.scan(db)) == []
    assert list(trees.destination_transaction.scan(db)) == []


async def test_events_are_sent_in_order_fifty_at_a_time(net: Network, alice: User, room: str, sink: Sink) -> None:
    """What comes while one transaction is under way goes into the next one."""
    net.board.down(TWO)
    for number in range(120):
        await alice.send(room, str(number))
    net.board.heal()
    await net.clock.advance(6)
    await sink.gets(lambda: len(sink.texts) == 120)
    assert sink.texts == [str(number) for number in range(120)]
    assert [len(body["pdus"]) for body in sink.taken.values()][-1] == 20 or len(sink.taken) <= 4
    assert max(len(body["pdus"]) for body in sink.taken.values()) == 50


async def test_lost_answer_is_asked_for_with_the_same_transaction(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """The very same bytes under the same id, though there is more to be sent by then."""
    net.board.lose_answers("one.test", TWO)
    await alice.send(room, "first")
    await sink.gets(lambda: sink.requests)
    await alice.send(room, "second")
    await net.clock.advance(7)
    await sink.gets(lambda: sink.texts == ["first", "second"])
    assert sink.requests[0] == sink.requests[1]
    assert len(sink.requests) == 3


async def test_pause_doubles_with_every_failure(net: Network, alice: User, room: str, sink: Sink) -> None:
    """A refusal (4xx), too, says only that the transaction has not arrived."""
    sink.answer = (403, {"errcode": "M_FORBIDDEN", "error": "no"})
    await alice.send(room, "hello")
    await sink.gets(lambda: sink.requests)
    times = [net.clock.now_ms()]
    for _ in range(300):
        await net.clock.advance(1)
        await quiet()
        if len(sink.requests) > len(times):
            times.append(net.clock.now_ms())
    pauses = [(later - sooner) / 1000 for sooner, later in pairwise(times)]
    assert len(pauses) >= 5
    assert all(0.75 * 5 * 2**n <= pause <= 1.25 * 5 * 2**n + 1 for n, pause in enumerate(pauses)), pauses


@pytest.mark.parametrize("answer", [(200, ["no object"]), (204, {}), (500, {}), (404, {}), (429, {})])
async def test_answer_that_says_nothing_is_a_failure(
    net: Network, alice: User, room: str, sink: Sink, answer: tuple[int, object]
) -> None:
    """Only 200 with an object acknowledges a transaction."""
    sink.answer = answer
    await alice.send(room, "hello")
    await sink.gets(lambda: sink.requests)
    await quiet()
    assert len(sink.requests) == 1
    sink.answer = {}
    await net.clock.advance(7)
    await sink.gets(lambda: sink.texts == ["hello"])


async def test_busy_destination_gets_the_transaction_when_it_has_asked_for_it(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """A transaction that is answered with `Retry-After` is sent again after that time, not before."""
    sink.answer = WireAnswer(429, {"retry-after": "600"}, b"{}")
    await alice.send(room, "hello")
    await sink.gets(lambda: sink.requests)
    sink.answer = {}
    await net.clock.advance(595)
    await quiet()
    assert len(sink.requests) == 1
    await net.clock.advance(10)
    await sink.gets(lambda: sink.texts == ["hello"])


async def test_refused_events_are_not_sent_again(net: Network, alice: User, room: str, sink: Sink) -> None:
    """What is wrong with an event does not get better; odd results do no harm."""
    sink.answer = {"pdus": {"$one": {"error": "wrong"}, "$two": 3, "$three": {"error": {}}, "$four": {"error": 7}}}
    await alice.send(room, "hello")
    await sink.gets(lambda: sink.requests)
    sink.answer = {"pdus": ["nonsense"]}
    await alice.send(room, "again")
    await sink.gets(lambda: sink.texts == ["hello", "again"])
    await net.clock.advance(60)
    assert len(sink.requests) == 2


async def test_server_that_a_room_shuts_out_is_sent_nothing_of_it(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """It hears of the list that denies it, and of nothing that comes after: no events, typing or receipts; nor are its users invited."""
    other = Sink(net, "three.test")
    enter(net["one.test"], room, "@carol:three.test")
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": [TWO]})
    event_id = await alice.send(room, "among ourselves")
    await alice.put(f"/rooms/{room}/typing/{alice.user_id}", {"typing": True, "timeout": 30_000})
    await alice.post(f"/rooms/{room}/receipt/m.read/{event_id}")
    await alice.invite(room, "@bill:two.test", expect="M_FORBIDDEN")
    await other.gets(lambda: other.texts == ["among ourselves"] and other.edus("m.typing") and other.edus("m.receipt"))
    await quiet()
    assert [pdu["type"] for pdu in sink.pdus] == ["m.room.server_acl"]
    assert sink.edus("m.typing") == sink.edus("m.receipt") == []
    await alice.set_state(room, "m.room.server_acl", {"allow": ["*"]})
    await alice.send(room, "welcome back")
    await sink.gets(lambda: sink.texts == ["welcome back"])


async def test_sign_of_life_ends_the_pause(net: Network, alice: User, room: str, sink: Sink) -> None:
    """A signed request of a server tells that it is there again."""
    net.board.down(TWO)
    await alice.send(room, "hello")
    await quiet()
    await net.clock.advance(3000)
    net.board.heal()
    await quiet()
    assert sink.requests == []
    await sink.peer.get("one.test", "/_matrix/federation/v1/query/profile?user_id=@alice:one.test")
    await sink.gets(lambda: sink.texts == ["hello"])


async def test_dead_destinations_do_not_hold_up_others(net: Network, alice: User, room: str) -> None:
    """However many there are."""
    one = net["one.test"]
    sinks = [Sink(net, f"s{number}.test") for number in range(60)]
    for number in range(60):
        enter(one, room, f"@u:s{number}.test")
    dead = [f"s{number}.test" for number in range(30)]
    net.board.down(*dead)
    await alice.send(room, "hello")
    await until(lambda: all(sink.texts == ["hello"] for sink in sinks[30:]))
    await alice.send(room, "again")
    await until(lambda: all(sink.texts == ["hello", "again"] for sink in sinks[30:]))
    net.board.heal()
    await net.clock.advance(15)
    await until(lambda: all(sink.texts == ["hello", "again"] for sink in sinks[:30]))


# --- memberships ---------------------------------------------------------------------------------------------------


async def test_last_user_of_a_server_learns_of_being_kicked(net: Network, alice: User, room: str, sink: Sink) -> None:
    """The event goes to the servers that were in the room before it; what follows does not."""
    await alice.post(f"/rooms/{room}/kick", {"user_id": BOB})
    await sink.gets(lambda: [pdu["content"]["membership"] for pdu in sink.pdus] == ["leave"])
    await alice.send(room, "gone")
    await quiet()
    assert sink.texts == []


@pytest.mark.parametrize("before", ["invite", "knock"])
async def test_server_learns_that_an_invite_or_knock_is_taken_back(
    net: Network, alice: User, sink: Sink, before: str
) -> None:
    """Though nobody of it is in the room."""
    room_id = await alice.create_room()
    await alice.set_state(room_id, "m.room.join_rules", {"join_rule": "knock" if before == "knock" else "invite"})
    sender = alice.user_id if before == "invite" else BOB
    member(net["one.test"], room_id, sender, BOB, before)
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": BOB})
    await sink.gets(lambda: [pdu["content"]["membership"] for pdu in sink.pdus] == ["leave"])


# --- typing --------------------------------------------------------------------------------------------------------


async def type_in(user: User, room_id: str, typing: bool, for_ms: int = 30_000) -> None:
    """Start or stop typing."""
    body = {"typing": True, "timeout": for_ms} if typing else {"typing": False}
    await user.put(f"/rooms/{room_id}/typing/{user.user_id}", body)


async def test_typing_and_its_end_are_told(alice: User, room: str, sink: Sink) -> None:
    """Once each, to the servers in the room."""
    await type_in(alice, room, True)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True)])
    await type_in(alice, room, False)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True), (alice.user_id, False)])
    assert sink.edus("m.typing")[0]["room_id"] == room


async def test_typing_that_runs_out_is_told(net: Network, alice: User, room: str, sink: Sink) -> None:
    """No client has said so."""
    await type_in(alice, room, True, 4000)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True)])
    await net.clock.advance(4)
    await sink.gets(lambda: sink.typing[1:] == [(alice.user_id, False)])


async def test_typing_of_who_leaves_is_told(net: Network, room: str, sink: Sink) -> None:
    """With the event by which they leave, or after it; also if nobody else of this server is in the room."""
    carol = await net["one.test"].register("carol")
    await carol.join(room)
    await type_in(carol, room, True)
    await sink.gets(lambda: sink.typing == [(carol.user_id, True)])
    await carol.leave(room)
    await sink.gets(lambda: sink.typing[1:] == [(carol.user_id, False)])


async def test_typing_that_ends_under_way_is_told(net: Network, alice: User, room: str, sink: Sink) -> None:
    """What the destination was last told counts, and it may not have heard of it: the answer is lost."""
    net.board.lose_answers("one.test", TWO)
    await type_in(alice, room, True)
    await sink.gets(lambda: sink.requests)
    await type_in(alice, room, False)
    await net.clock.advance(7)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True), (alice.user_id, False)])


async def test_typing_that_began_and_ended_unsent_is_not_told(net: Network, alice: User, room: str, sink: Sink) -> None:
    """Nobody need hear of it."""
    net.board.down(TWO)
    await alice.send(room, "hello")
    await quiet()
    await type_in(alice, room, True)
    await type_in(alice, room, False)
    net.board.heal()
    await net.clock.advance(7)
    await sink.gets(lambda: sink.texts == ["hello"])
    await quiet()
    assert sink.typing == []


async def test_typing_that_goes_on_is_told_again(net: Network, alice: User, room: str, sink: Sink) -> None:
    """Other servers believe it for a while only."""
    for _ in range(12):
        await type_in(alice, room, True)
        await net.clock.advance(5)
        await quiet()
    assert sink.typing == [(alice.user_id, True)] * 3


async def come_back_after_hours(net: Network, alice: User, room: str) -> None:
    """Let time pass, and then the destination be reached and something be said."""
    for _ in range(30):
        await net.clock.advance(600)
        await quiet()
    net.board.heal()
    await alice.send(room, "again")
    await net.clock.advance(4 * 3600)


async def test_typing_before_a_long_outage_ends_after_it(net: Network, alice: User, room: str, sink: Sink) -> None:
    """The destination has shown it all the time."""
    await type_in(alice, room, True, 4000)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True)])
    net.board.down(TWO)
    await net.clock.advance(4)
    await alice.send(room, "hello")
    await quiet()
    await come_back_after_hours(net, alice, room)
    await sink.gets(lambda: sink.typing[1:] == [(alice.user_id, False)])


async def test_typing_ends_after_a_long_outage_that_began_with_a_lost_answer(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """Whether the destination shows it nobody can know."""
    net.board.lose_answers("one.test", TWO)
    await type_in(alice, room, True, 4000)
    await sink.gets(lambda: sink.typing == [(alice.user_id, True)])
    net.board.down(TWO)
    await come_back_after_hours(net, alice, room)
    await sink.gets(lambda: sink.typing[1:] == [(alice.user_id, False)])


# --- receipts ------------------------------------------------------------------------------------------------------


async def test_receipt_is_told_and_private_ones_are_not(alice: User, room: str, sink: Sink) -> None:
    """With its time, in the form that servers use."""
    event_id = await alice.send(room, "hello")
    await alice.post(f"/rooms/{room}/receipt/m.read.private/{event_id}")
    await alice.post(f"/rooms/{room}/receipt/m.read/{event_id}")
    await sink.gets(lambda: sink.edus("m.receipt"))
    await quiet()
    ts = alice.server.clock.now_ms()
    shown = {"event_ids": [event_id], "data": {"ts": ts}}
    assert sink.edus("m.receipt") == [{room: {"m.read": {alice.user_id: shown}}}]


async def test_receipts_in_threads_are_told_apart(net: Network, alice: User, room: str, sink: Sink) -> None:
    """Each with its thread; the newest of each, though several moved while the server was away."""
    root = await alice.send(room, "root")
    await sink.gets(lambda: sink.texts == ["root"])
    net.board.down(TWO)
    relation = {"rel_type": "m.thread", "event_id": root}
    replies = [
        await alice.send(room, {"msgtype": "m.text", "body": str(number), "m.relates_to": relation})
        for number in range(3)
    ]
    await alice.post(f"/rooms/{room}/receipt/m.read/{root}", {"thread_id": "main"})
    for reply in replies:
        await alice.post(f"/rooms/{room}/receipt/m.read/{reply}", {"thread_id": root})
    net.board.heal()
    await net.clock.advance(7)
    await sink.gets(lambda: len(sink.edus("m.receipt")) == 2)
    told = [content[room]["m.read"][alice.user_id] for content in sink.edus("m.receipt")]
    assert {(each["event_ids"][0], each["data"]["thread_id"]) for each in told} == {(root, "main"), (replies[2], root)}


# --- presence ------------------------------------------------------------------------------------------------------


async def test_presence_is_told_to_servers_in_sight_at_most_every_few_seconds(
    net: Network, alice: User, room: str, sink: Sink
) -> None:
    """Once each time, some times at once if nothing was told lately, and the newest state."""
    stranger = Sink(net, "three.test")
    path = f"/presence/{alice.user_id}/status"
    for number, text in enumerate(("one", "two", "three"), 1):
        await alice.put(path, {"presence": "online", "status_msg": text})
        await sink.gets(lambda: len(sink.edus("m.presence")) == number)  # noqa: B023 (it has ended before the next)
    for text in ("four", "five", "six"):
        await alice.put(path, {"presence": "online", "status_msg": text})
    await quiet()
    assert len(sink.edus("m.presence")) == 3
    await net.clock.advance(5)
    await sink.gets(lambda: len(sink.edus("m.presence")) == 4)
    pushes = [push for content in sink.edus("m.presence") for push in content["push"]]
    assert [push["status_msg"] for push in pushes] == ["one", "two", "three", "six"]
    assert pushes[0] == {
        "user_id": alice.user_id,
        "presence": "online",
        "status_msg": "one",
        "last_active_ago": 0,
        "currently_active": True,
    }
    await net.clock.advance(30)
    await quiet()
    assert stranger.requests == []


async def test_new_server_in_a_room_is_told_who_is_there(net: Network, alice: User, sink: Sink) -> None:
    """It has come into sight of the local users; the second of its users brings nothing new."""
    room_id = await alice.create_room(preset="public_chat")
    await alice.put(f"/presence/{alice.user_id}/status", {"presence": "online"})
    await quiet()
    assert sink.requests == []
    enter(net["one.test"], room_id, BOB)
    await sink.gets(lambda: sink.edus("m.presence"))
    assert [push["user_id"] for push in sink.edus("m.presence")[0]["push"]] == [alice.user_id]
    enter(net["one.test"], room_id, "@bert:two.test")
    await net.clock.advance(10)
    await quiet()
    assert len(sink.edus("m.presence")) == 1


async def test_local_user_who_joins_is_shown_to_the_servers_there(net: Network, room: str, sink: Sink) -> None:
    """With their first event in the room or after it."""
    carol = await net["one.test"].register("carol")
    await carol.put(f"/presence/{carol.user_id}/status", {"presence": "online"})
    await quiet()
    assert sink.edus("m.presence") == []
    await carol.join(room)
    await sink.gets(lambda: sink.edus("m.presence"))
    assert [push["user_id"] for push in sink.edus("m.presence")[0]["push"]] == [carol.user_id]


# --- restarts, and whole schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["rocksdb", "lmdb"])
async def test_restart_goes_on_with_the_very_same_transaction(engine: str) -> None:
    """On disk: what was in flight goes out again as it was, and then what has come since."""
    async with network("one.test", engine=engine) as net:
        one, sink = net["one.test"], Sink(net, TWO)
        alice = await one.register("alice")
        room_id = await alice.create_room(preset="public_chat")
        enter(one, room_id, BOB)
        net.board.lose_answers("one.test", TWO, 100)
        event_id = await alice.send(room_id, "first")
        await sink.gets(lambda: sink.requests)
        await alice.put("/sendToDevice/test/1", {"messages": {BOB: {"*": {"x": 1}}}})
        await alice.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
        await alice.send(room_id, "second")
        await one.restart()
        net.board.heal()
        await net.clock.advance(7)
        await sink.gets(lambda: sink.texts == ["first", "second"] and sink.edus("m.receipt"))
        assert sink.requests[0] == sink.requests[1]
        assert len(sink.edus("m.direct_to_device")) == 1


async def test_restart_ends_the_typing_that_was_told(tmp_path: Path) -> None:
    """The destination would show it until it gives up."""
    world = World(tmp_path)
    await quiet()
    world.type(0, True)
    await until(world.wire.typing)
    await world.crash()
    await until(lambda: not world.wire.typing())
    await world.close()


async def test_receipt_from_before_the_first_transaction_survives_a_crash(tmp_path: Path) -> None:
    """The sender had no time to hear of anything."""
    world = World(tmp_path)
    await quiet()
    world.say(0)
    world.read(0)
    world.say(1)
    await world.crash()
    await world.settle()
    assert set(world.wire.read()) == {world.rooms[0]}
    await world.close()


HAPPENS = {
    "say": (12, 2),
    "flood": (2, 2),
    "write": (5, 0),
    "type": (5, 2),
    "stop": (5, 2),
    "read": (4, 2),
    "lose answers": (6, 2),
    "lose requests": (3, 2),
    "refuse": (2, 1),
    "down": (3, 0),
    "up": (3, 0),
    "crash": (5, 0),
    "turn": (4, 6),
    "quiet": (10, 0),
    "wait": (6, 400),
}
"""What may happen, how often, and the greatest number that goes with it."""


def schedule(seed: int, length: int, longest_wait: int) -> list[tuple[str, int]]:
    """Return a repeatable schedule."""
    chance = random.Random(seed)
    weights = [weight for weight, _ in HAPPENS.values()]
    return [
        (name, chance.randint(0, longest_wait if name == "wait" else HAPPENS[name][1]))
        for name in chance.choices(list(HAPPENS), weights, k=length)
    ]


async def play(world: World, steps: list[tuple[str, int]]) -> None:
    """Let everything happen that the schedule says."""
    wire = world.wire
    for name, what in steps:
        match name:
            case "say":
                world.say(what)
            case "flood":
                for _ in range(60):
                    world.say(what)
            case "write":
                world.write()
            case "type" | "stop":
                world.type(what, name == "type")
            case "read":
                world.read(what)
            case "lose answers":
                wire.lost_answers = what
            case "lose requests":
                wire.lost_requests = what
            case "refuse":
                wire.refusals = what
            case "down" | "up":
                wire.is_down = name == "down"
            case "crash":
                await world.crash()
            case "turn":
                for _ in range(what):
                    await asyncio.sleep(0)
            case "quiet":
                await quiet()
            case "wait":
                await world.clock.advance(what)


@pytest.mark.parametrize("seed", range(40 * DEPTH))
async def test_everything_arrives_once_and_in_order_whatever_fails(seed: int, tmp_path: Path) -> None:
    """Lost requests, lost answers, refusals, outages and crashes; in the end the destination knows what is so."""
    world = World(tmp_path)
    await quiet()
    await play(world, schedule(seed, 40, 200))
    await world.settle()
    wire = world.wire
    assert wire.texts() == world.texts
    assert [content["number"] for content in wire.edus("m.direct_to_device")] == world.messages
    assert wire.typing() == {(room, ALICE) for room in world.rooms if world.ctx.typing.users(room)}
    read = {room: receipts.find(world.db, room, ALICE, "") for room in world.rooms}
    assert wire.read() == {room: found["event_id"] for room, found in read.items() if found is not None}
    assert list(trees.destination_queue.keys(world.db)) == []
    await world.close()


@pytest.mark.parametrize("seed", range(1000, 1000 + 25 * DEPTH))
async def test_long_outages_lose_nothing_that_matters(seed: int, tmp_path: Path) -> None:
    """The newest event of each room arrives, to-device messages each once and in order, and nobody is left typing."""
    world = World(tmp_path)
    await quiet()
    await play(world, schedule(seed, 40, 6000))
    await world.settle()
    wire = world.wire
    newest = [timeline.event(world.db, event_id) for event_id in world.events.values()]
    assert {event.content["body"] for event in newest if event is not None} <= set(wire.texts()) <= set(world.texts)
    assert [content["number"] for content in wire.edus("m.direct_to_device")] == world.messages
    assert wire.typing() == {(room, ALICE) for room in world.rooms if world.ctx.typing.users(room)}
    assert list(trees.destination_queue.keys(world.db)) == []
    assert list(trees.destination_room.keys(world.db)) == []
    await world.close()
