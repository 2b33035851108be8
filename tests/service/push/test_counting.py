"""Unread counts, held against a naive evaluation of everybody's push rules at every event."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import EventId, RoomId, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.push.conditions import Circumstances
from conduit.protocol.push.ruleset import Ruleset, evaluate, parse_rule, tweaks
from conduit.service import account_data
from conduit.service.actions import mark_read
from conduit.service.presence import Presence
from conduit.service.push import counting, rules
from conduit.service.push.counting import Counts, Unread
from conduit.service.rooms import timeline
from tests.support.rooms import ALICE, BOB, CAROL, World

USERS = (ALICE, BOB, CAROL)
HIGHLIGHT = ["notify", {"set_tweak": "highlight"}]


def at_once(deed: Coroutine[Any, Any, None]) -> None:
    """Run a deed that waits for nothing."""
    with pytest.raises(StopIteration):
        deed.send(None)


def unread(world: World, room_id: RoomId, user_id: UserId) -> Unread:
    """Return a user's unread counts."""
    return counting.unread(world.db, room_id, user_id)


class _Counted(NamedTuple):
    at: int
    thread: str
    notify: bool
    highlight: bool


class Model:
    """A room, and what each of its three members ought to have unread in it."""

    def __init__(self) -> None:
        self.world = World()
        db, clock = self.world.db, self.world.ctx.clock
        self.world.ctx = replace(self.world.ctx, presence=Presence(db=db, clock=clock, audience=lambda user_id: ()))
        self.room_id = self.world.create(ALICE)
        self.events: list[Event] = []
        self.counted: dict[UserId, list[_Counted]] = {user_id: [] for user_id in USERS}
        self.read: dict[tuple[UserId, str], int] = {}
        """(user, thread, or "" for all) -> up to where the user has read."""
        self.joined = {ALICE}
        self.read[ALICE, ""] = 0
        for user_id in (BOB, CAROL):
            self.join(user_id)

    def join(self, user_id: UserId) -> None:
        """Let a user join, or leave and join again: everything before is read."""
        if user_id in self.joined:
            self.joined.remove(user_id)
            self._happened(self.world.leave(self.room_id, user_id))
        self.joined.add(user_id)
        event = self.world.join(self.room_id, user_id)
        self._happened(event)
        self.read[user_id, ""] = self._at(event)

    def send(self, sender: UserId, event_type: str, content: dict[str, Any], state_key: str | None = None) -> None:
        """Send an event."""
        event = self.world.send(self.room_id, sender, event_type, content, state_key=state_key)
        self.events.append(event)
        self._happened(event)
        if state_key is None:
            self._mark(sender, self._thread(event), self._at(event))

    def receipt(self, user_id: UserId, kind: str, index: int, thread: str | None) -> None:
        """Move a receipt to an event, if it may be there."""
        event = self.events[index % len(self.events)]
        if thread == "its own":
            thread = self._thread(event)
        try:
            at_once(
                mark_read.send_receipts(self.world.ctx, user_id, self.room_id, {kind: event.event_id}, thread=thread)
            )
        except InvalidParam:
            assert thread == "main"
            assert self._thread(event) != "main"
            return
        self._mark(user_id, thread or "", self._at(event))

    def rule(self, user_id: UserId, change: Any) -> None:
        """Change a user's push rules."""
        with self.world.db.batch() as batch:
            ruleset = rules.ruleset(batch, user_id)
            change(ruleset, self.room_id)
            rules.put(batch, user_id, ruleset)

    def ignore(self, user_id: UserId, ignored: list[UserId]) -> None:
        """Let a user ignore these, and nobody else."""
        with self.world.db.batch() as batch:
            account_data.put(batch, user_id, "", account_data.IGNORED, {"ignored_users": {one: {} for one in ignored}})

    def check(self) -> None:
        """Hold every user's counts against the naive ones."""
        for user_id in USERS:
            expected: dict[str, list[int]] = {}
            whole = self.read[user_id, ""]
            for at, thread, notify, highlight in self.counted[user_id]:
                if at > max(whole, self.read.get((user_id, thread), 0)):
                    counts = expected.setdefault(thread, [0, 0])
                    counts[0] += notify
                    counts[1] += highlight
            main = Counts(*expected.pop("main", [0, 0]))
            by_thread = {EventId(root): Counts(*counts) for root, counts in expected.items() if any(counts)}
            assert unread(self.world, self.room_id, user_id) == Unread(main, by_thread)

    def _happened(self, event: Event) -> None:
        seen: dict[str, Any] = {"type": event.type, "sender": event.sender, "content": event.content}
        seen |= {"room_id": self.room_id} | ({} if event.state_key is None else {"state_key": event.state_key})
        power = 100 if event.sender == ALICE else 0
        circumstances = Circumstances(len(self.joined), None, lambda key: key == "room" and power >= 50)
        for user_id in self.joined - {event.sender}:
            own = list(rules.ruleset(self.world.db, user_id).enabled())
            notify, highlight, _ = tweaks(evaluate(own, seen, circumstances))
            if event.state_key is None and event.sender in account_data.ignored_users(self.world.db, user_id):
                notify = highlight = False
            self.counted[user_id].append(_Counted(self._at(event), self._thread(event), notify, highlight))

    def _thread(self, event: Event | None) -> str:
        for _ in range(3):
            relates_to = {} if event is None else event.content.get("m.relates_to", {})
            target: str | None = relates_to.get("event_id")
            if target is None:
                break
            if relates_to["rel_type"] == "m.thread":
                return target
            event = next((known for known in self.events if known.event_id == target), None)
        return "main"

    def _mark(self, user_id: UserId, thread: str, at: int) -> None:
        self.read[user_id, thread] = max(self.read.get((user_id, thread), 0), at)

    def _at(self, event: Event) -> int:
        place = timeline.position(self.world.db, event.event_id)
        assert place is not None
        return place.live


def _own(kind: str, rule_id: str, **body: Any) -> Any:
    def change(ruleset: Ruleset, room_id: RoomId) -> None:
        ruleset.put(kind, parse_rule(kind, rule_id.replace("ROOM", room_id), body))

    return change


def _switch(kind: str, rule_id: str, enabled: bool) -> Any:
    def change(ruleset: Ruleset, room_id: RoomId) -> None:
        ruleset.find(kind, rule_id)["enabled"] = enabled

    return change


def _default(ruleset: Ruleset, room_id: RoomId) -> None:
    ruleset.rules = Ruleset(BOB).rules


RULES = [
    _own("content", "cake", pattern="cake", actions=HIGHLIGHT),
    _own("room", "ROOM", actions=[]),
    _own("sender", ALICE, actions=HIGHLIGHT),
    _own(
        "override", "odd", conditions=[{"kind": "event_match", "key": "type", "pattern": "org.*"}], actions=["notify"]
    ),
    _own("override", "small", conditions=[{"kind": "room_member_count", "is": "<3"}], actions=HIGHLIGHT),
    _switch("override", ".m.rule.master", True),
    _switch("override", ".m.rule.master", False),
    _switch("override", ".m.rule.suppress_notices", False),
    _switch("override", ".m.rule.suppress_edits", False),
    _switch("override", ".m.rule.is_user_mention", False),
    _switch("underride", ".m.rule.message", False),
]

_RELATIONS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"rel_type": st.sampled_from(["m.thread", "m.thread", "m.replace", "m.reference", "m.annotation"])},
        optional={"event_id": st.integers(0, 20)},
    ),
)
_MENTIONS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {}, optional={"room": st.booleans(), "user_ids": st.lists(st.sampled_from(USERS), max_size=2)}
    ),
)
_EVENTS = st.tuples(
    st.just("send"),
    st.sampled_from(USERS),
    st.sampled_from(["m.room.message"] * 4 + ["M.Room.Message", "m.room.encrypted", "m.reaction", "org.example"]),
    st.sampled_from(["m.text", "m.text", "m.notice", "M.Notice"]),
    st.sampled_from(["there is cake", "no pie"]),
    _RELATIONS,
    _MENTIONS,
)
_STATE = st.tuples(
    st.just("state"), st.sampled_from(["m.room.tombstone", "m.room.server_acl", "org.example"]), _MENTIONS
)
_RECEIPTS = st.tuples(
    st.just("receipt"),
    st.sampled_from(USERS),
    st.sampled_from(["m.read", "m.read.private"]),
    st.integers(0, 20),
    st.sampled_from([None, "main", "its own", "its own"]),
)
_CHANGES = st.tuples(st.just("rule"), st.sampled_from(USERS), st.sampled_from(RULES))
_JOINS = st.tuples(st.just("join"), st.sampled_from([BOB, CAROL]))
_IGNORES = st.tuples(st.just("ignore"), st.sampled_from(USERS), st.lists(st.sampled_from(USERS), max_size=2))
_STEPS: Any = st.lists(
    st.one_of(_EVENTS, _EVENTS, _EVENTS, _STATE, _RECEIPTS, _RECEIPTS, _CHANGES, _JOINS, _IGNORES), max_size=25
)


def _content(model: Model, msgtype: str, body: str, relation: Any, mentions: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"msgtype": msgtype, "body": body}
    if mentions is not None:
        content["m.mentions"] = mentions
    if relation is not None:
        index = relation.get("event_id")
        known = {} if index is None else {"event_id": model.events[index % len(model.events)].event_id}
        content["m.relates_to"] = {"rel_type": relation["rel_type"], **known}
    return content


@settings(max_examples=100, deadline=None)
@given(_STEPS)
def test_counts_equal_a_naive_evaluation_after_any_history(steps: list[tuple[Any, ...]]) -> None:
    """Messages, edits, threads, mentions, receipts of all kinds, rules of one's own, joins, and ignored users, in any order."""
    model = Model()
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "body": "first"})
    for act, *rest in steps:
        if act == "send":
            sender, event_type, *parts = rest
            model.send(sender, event_type, _content(model, *parts))
        elif act == "state":
            event_type, mentions = rest
            model.send(ALICE, event_type, {"n": len(model.events), "m.mentions": mentions or {}}, "")
        elif act == "receipt":
            model.receipt(*rest)
        elif act == "rule":
            model.rule(*rest)
        elif act == "ignore":
            model.ignore(*rest)
        else:
            model.join(*rest)
        model.check()


def test_mention_in_an_edit_of_a_read_thread_is_unread() -> None:
    """The edit is no reply, so the thread's last reply is read: its count is found all the same."""
    model = Model()
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "body": "root"})
    root = model.events[-1].event_id
    thread = {"rel_type": "m.thread", "event_id": root}
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "body": "reply", "m.relates_to": thread})
    model.receipt(BOB, "m.read", -1, None)
    edit = {"rel_type": "m.replace", "event_id": model.events[-1].event_id}
    mention = {"user_ids": [BOB]}
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "m.relates_to": edit, "m.mentions": mention})
    assert unread(model.world, model.room_id, BOB) == Unread(Counts(), {root: Counts(1, 1)})
    assert unread(model.world, model.room_id, BOB).total() == (1, 1)
    model.check()


def test_message_costs_one_row_however_many_members_there_are() -> None:
    """Only those mentioned, and those with rules of their own that say otherwise, get rows of theirs."""
    model = Model()
    model.rule(CAROL, RULES[0])
    before = sum(1 for _ in trees.notify_personal.keys(model.world.db))
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "body": "no pie"})
    assert sum(1 for _ in trees.notify_personal.keys(model.world.db)) == before
    model.send(ALICE, "m.room.message", {"msgtype": "m.text", "body": "cake", "m.mentions": {"user_ids": [BOB]}})
    assert {key[0] for key in trees.notify_personal.keys(model.world.db)} == {BOB, CAROL}
    model.receipt(BOB, "m.read", -1, None)
    assert {key[0] for key in trees.notify_personal.keys(model.world.db)} == {CAROL}


def test_outside_of_a_room_nothing_is_unread() -> None:
    """Before the join and after the leave, and in rooms that nobody knows."""
    world = World()
    room_id = world.create(ALICE)
    world.say(room_id, ALICE, "hello")
    assert unread(world, room_id, BOB) == Unread(Counts(), {})
    world.join(room_id, BOB)
    world.say(room_id, ALICE, "hello")
    assert unread(world, room_id, BOB).main == (1, 0)
    world.leave(room_id, BOB)
    assert unread(world, room_id, BOB) == Unread(Counts(), {})
    assert unread(world, RoomId("!unknown:localhost"), BOB) == Unread(Counts(), {})


def test_actions_depend_on_the_name_in_the_room() -> None:
    """A rule about the display name reads the member event."""
    model = Model()
    named = [{"kind": "contains_display_name"}]
    model.rule(BOB, _own("override", "name", conditions=named, actions=HIGHLIGHT))
    event = model.world.say(model.room_id, ALICE, "hello Robert!")
    assert counting.actions_for(model.world.db, event, BOB) != HIGHLIGHT
    model.world.join(model.room_id, BOB, displayname="Robert")
    assert counting.actions_for(model.world.db, event, BOB) == HIGHLIGHT


def test_nothing_that_an_ignored_user_says_is_unread() -> None:
    """Not even a mention; what others say is, and all of it once nobody is ignored any more."""
    model = Model()
    mention = {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [BOB]}}
    model.ignore(BOB, [ALICE])
    assert account_data.ignoring(model.world.db) == {BOB}
    model.send(ALICE, "m.room.message", mention)
    model.send(CAROL, "m.room.message", {"msgtype": "m.text", "body": "y"})
    assert unread(model.world, model.room_id, BOB).main == Counts(1, 0)
    assert unread(model.world, model.room_id, CAROL).main == Counts(0, 0)
    model.ignore(BOB, [])
    assert not account_data.ignoring(model.world.db)
    model.send(ALICE, "m.room.message", mention)
    assert unread(model.world, model.room_id, BOB).main == Counts(2, 1)
