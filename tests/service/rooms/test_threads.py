"""Tests of threads."""

from __future__ import annotations

from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.service.rooms import threads, timeline
from tests.support import invariants
from tests.support.rooms import ALICE, BOB, CAROL, World


def reply(world: World, room_id: RoomId, sender: UserId, root: EventId) -> Event:
    """Answer in a thread."""
    return world.say(room_id, sender, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})


def test_summary_counts_replies_and_names_the_last() -> None:
    """A thread knows its length, its last reply and who took part."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    root = world.say(room_id, ALICE, "root")
    assert threads.summary(world.db, root.event_id) is None
    reply(world, room_id, ALICE, root.event_id)
    last = reply(world, room_id, BOB, root.event_id)
    summary = threads.summary(world.db, root.event_id)
    assert summary is not None
    assert (summary.replies, summary.latest) == (2, last.event_id)
    assert summary.position == timeline.position(world.db, last.event_id)
    assert threads.took_part(world.db, root.event_id, BOB)
    assert not threads.took_part(world.db, root.event_id, CAROL)
    invariants.check_all(world.db)


def test_threads_of_a_room_come_by_their_last_reply() -> None:
    """The thread that was answered last comes first, each once, and a page begins below a position."""
    world = World()
    room_id, other = world.create(), world.create()
    one, two = world.say(room_id, ALICE, "one"), world.say(room_id, ALICE, "two")
    reply(world, other, ALICE, world.say(other, ALICE, "elsewhere").event_id)
    reply(world, room_id, ALICE, one.event_id)
    reply(world, room_id, ALICE, two.event_id)
    reply(world, room_id, ALICE, one.event_id)
    listed = list(threads.of_room(world.db, room_id))
    assert [root for _, root in listed] == [one.event_id, two.event_id]
    assert [root for _, root in threads.of_room(world.db, room_id, before=listed[0][0])] == [two.event_id]
    assert list(threads.of_room(world.db, RoomId("!unknown:localhost"))) == []


def test_redacted_reply_counts_no_longer() -> None:
    """The last reply, the count, the order and the people are those of the replies that remain."""
    world = World()
    room_id = world.create()
    world.join(room_id, BOB)
    root = world.say(room_id, ALICE, "root")
    first = reply(world, room_id, ALICE, root.event_id)
    second = reply(world, room_id, BOB, root.event_id)
    world.redact(room_id, ALICE, second.event_id)
    summary = threads.summary(world.db, root.event_id)
    assert summary is not None
    assert (summary.replies, summary.latest) == (1, first.event_id)
    assert not threads.took_part(world.db, root.event_id, BOB)
    world.redact(room_id, ALICE, first.event_id)
    assert threads.summary(world.db, root.event_id) is None
    assert list(threads.of_room(world.db, room_id)) == []
    invariants.check_all(world.db)


def test_events_belong_to_a_thread_also_by_what_they_relate_to() -> None:
    """An edit of or a reaction to a reply is in the reply's thread; chains are followed a few steps only."""
    world = World()
    room_id = world.create()
    root = world.say(room_id, ALICE, "root")
    answer = reply(world, room_id, ALICE, root.event_id)
    annotation = {"rel_type": "m.annotation", "event_id": answer.event_id, "key": "x"}
    reaction = world.send(room_id, ALICE, "m.reaction", {"m.relates_to": annotation})
    plain = world.say(room_id, ALICE, "plain")
    assert threads.root_of(world.db, answer) == root.event_id
    assert threads.root_of(world.db, reaction) == root.event_id
    assert threads.root_of(world.db, plain) is None
    assert threads.root_of(world.db, root) is None
    event = reaction
    for _ in range(threads.MAX_HOPS):
        relation = {"rel_type": "m.reference", "event_id": event.event_id}
        event = world.say(room_id, ALICE, "far", **{"m.relates_to": relation})
    assert threads.root_of(world.db, event) is None


def test_thread_on_an_unknown_root_is_kept() -> None:
    """Replies whose root is not here are counted all the same; without its root there is no summary to show."""
    world = World()
    room_id = world.create()
    root = EventId("$" + "r" * 43)
    reply(world, room_id, ALICE, root)
    assert threads.summary(world.db, root) is None
    assert [listed for _, listed in threads.of_room(world.db, room_id)] == [root]
