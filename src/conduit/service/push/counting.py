"""Unread counts: what an accepted event adds to them, and what they are.

The cost of a message must not grow with the members of its room. An event that notifies by the predefined push rules writes one row, with its ordinal number
among such events of the room and thread: for somebody with predefined rules the unread count is a difference of two ordinals. A row for
a person is written only where the outcome differs: for those mentioned, for users with rules of their own, and for who ignores the sender. Nobody is notified of his own events,
and what somebody sends is read by him: that mark stands among the receipts.

Source: client-server API, "Receiving notifications", "Marking notifications as read", "Push Rules".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from conduit.database import trees
from conduit.database.cache import Cached, CacheSource
from conduit.database.database import Batch
from conduit.database.layouts import PduId
from conduit.protocol import relations, visibility
from conduit.protocol.ids import EventId, RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.protocol.push.conditions import Circumstances
from conduit.protocol.push.ruleset import evaluate, tweaks
from conduit.service import account_data
from conduit.service.push import rules
from conduit.service.rooms import members, receipts, short_ids, state, threads

NOTIFYING = frozenset({"m.room.message", "m.room.encrypted", "m.call.invite"})
"""The types that the predefined underride rules notify of."""

LESS, AS_DEFAULT, MORE = range(3)
"""How a person's outcome differs from everybody's: no notification though they have one, the same, one though they have none."""


class Outcome(NamedTuple):
    """What push rules say of an event."""

    notify: bool
    highlight: bool


class Counts(NamedTuple):
    """Unread notifications, and how many of them are highlights."""

    notifications: int = 0
    highlights: int = 0


class Unread(NamedTuple):
    """A user's unread counts in a room: the main timeline's, and those of each thread (by its root) that has any."""

    main: Counts
    threads: dict[EventId, Counts]

    def total(self) -> Counts:
        """Return the counts of the whole room."""
        every = [self.main, *self.threads.values()]
        return Counts(sum(counts[0] for counts in every), sum(counts[1] for counts in every))


# --- counting ------------------------------------------------------------------------------------------------------


def _load_ordinal(source: CacheSource, key: tuple[int, int]) -> int:
    newest = trees.notify_ordinal.last(source, key)
    return 0 if newest is None else newest[1]


def _load_ordinal_at(source: CacheSource, key: tuple[int, int, int]) -> int:
    before = trees.notify_ordinal.last(source, key[:2], before=key[2] + 1)
    return 0 if before is None else before[1]


def _load_newest_personal(source: CacheSource, key: tuple[UserId, int, int]) -> int:
    newest = trees.notify_personal.last(source, key)
    return 0 if newest is None else newest[0][3]


def _load_highlight(source: CacheSource, key: tuple[int, int]) -> int:
    newest = trees.highlight_ordinal.last(source, key)
    return 0 if newest is None else newest[1]


def _load_aside(source: CacheSource, room: int) -> int:
    newest = trees.thread_aside.last(source, (room,))
    return 0 if newest is None else newest[0][1]


_ASIDE: Cached[int, int] = Cached("thread_aside", load=_load_aside, weigh=lambda count: 30)
"""The newest row of `thread_aside` in a room: most rooms have none that is not read."""
_ORDINAL_AT: Cached[tuple[int, int, int], int] = Cached(
    "notify_ordinal_at", load=_load_ordinal_at, weigh=lambda ordinal: 60
)
"""By room, thread and a count in the past: how many had notified up to there, which stays so."""
_NEWEST_PERSONAL: Cached[tuple[UserId, int, int], int] = Cached(
    "newest_personal", load=_load_newest_personal, weigh=lambda count: 60
)
"""By user, room and thread: a count after which the user has no rows of the own."""
_ORDINAL: Cached[tuple[int, int], int] = Cached("notify_ordinal", load=_load_ordinal, weigh=lambda ordinal: 150)
_HIGHLIGHT: Cached[tuple[int, int], int] = Cached("highlight_ordinal", load=_load_highlight, weigh=lambda ordinal: 150)


def outcome_for_all(source: CacheSource, event: Event) -> Outcome:
    """Return what the predefined rules say of an event to somebody who is neither its sender nor mentioned in it."""
    # Push rules match types whatever their case.
    event_type = event.type.lower()
    if event_type == "m.room.member":
        return Outcome(False, False)
    content = event.content
    if _is_notice(content):
        return Outcome(False, False)
    if (content.get("m.mentions") or {}) and _mentions_room(source, event):
        return Outcome(True, True)
    if event_type == "m.room.tombstone" and event.state_key == "":
        return Outcome(True, True)
    if event_type not in NOTIFYING:
        return Outcome(False, False)
    # The rule about edits asks for nothing but the type of the relation, whether or not there is an event behind it.
    relates_to = content.get("m.relates_to")
    return Outcome(not isinstance(relates_to, dict) or relates_to.get("rel_type") != relations.REPLACE, False)


def _is_notice(content: dict[str, Any]) -> bool:
    msgtype = content.get("msgtype")
    return isinstance(msgtype, str) and msgtype.lower() == "m.notice"


def _mentions_room(source: CacheSource, event: Event) -> bool:
    mentions = relations.mentions(event.content)
    return mentions is not None and mentions.room and _may_notify(source, event, "room")


def _may_notify(source: CacheSource, event: Event, key: str) -> bool:
    levels = state.power_levels(source, event.room_id)
    return levels.user(event.sender) >= levels.notifications(key)


def count_event(batch: Batch, event: Event, place: PduId, *, server_name: ServerName) -> None:
    """Write what an event that was just accepted at a live position adds to the unread counts of the room's local members."""
    if visibility.is_hidden(event.type, event.state_key):
        return
    everybody = outcome_for_all(batch, event)
    is_local = event.server_name == server_name
    personal = dict(_personal(batch, event, everybody, server_name))
    if not everybody.notify and not personal and not is_local:
        return
    root = threads.root_of(batch, event) if "m.relates_to" in event.content else None
    thread = 0 if root is None else short_ids.short_event(batch, root) or 0
    if is_local and event.state_key is None:
        receipts.mark_sent(batch, place.room, UserId(event.sender), place.live, root or receipts.MAIN)
    elif is_local and everybody.notify:
        # Setting state reads nothing; but it is not unread to who has set it.
        personal[UserId(event.sender)] = Outcome(False, False)
    key = (place.room, thread)
    if thread and (everybody.notify or personal) and relations.thread_root(event.content) is None:
        trees.thread_aside.put(batch, (place.room, place.live), thread)
        _ASIDE.set(batch, place.room, place.live)
    if everybody.notify:
        ordinal = _ORDINAL.get(batch, key) + 1
        trees.notify_ordinal.put(batch, (*key, place.live), ordinal)
        _ORDINAL.set(batch, key, ordinal)
    if everybody.highlight:
        ordinal = _HIGHLIGHT.get(batch, key) + 1
        trees.highlight_ordinal.put(batch, (*key, place.live), ordinal)
        _HIGHLIGHT.set(batch, key, ordinal)
    for user_id, own in personal.items():
        differs = AS_DEFAULT + own.notify - everybody.notify
        highlight = AS_DEFAULT + own.highlight - everybody.highlight
        trees.notify_personal.put(batch, (user_id, *key, place.live), (differs, highlight))
        _NEWEST_PERSONAL.set(batch, (user_id, *key), place.live)


def _personal(
    source: CacheSource, event: Event, everybody: Outcome, server_name: ServerName
) -> Iterator[tuple[UserId, Outcome]]:
    """Return the local members whose outcome differs from everybody's, with theirs."""
    own_rules = rules.users_with_own(source)
    mentions = relations.mentions(event.content) if "m.mentions" in event.content else None
    ignoring = account_data.ignoring(source)
    if not own_rules and not ignoring and (mentions is None or not mentions.user_ids):
        return
    local = members.joined_local(source, event.room_id, server_name)
    deaf = _deaf(source, event, ignoring & local)
    if everybody.notify:
        for deaf_user in deaf:
            yield deaf_user, Outcome(False, False)
    if mentions is not None and event.type.lower() != "m.room.member" and not _is_notice(event.content):
        for user_id in mentions.user_ids:
            if user_id not in local or user_id in own_rules or user_id in deaf or everybody.highlight:
                continue
            if user_id != event.sender:
                yield UserId(user_id), Outcome(True, True)
    for user_id in own_rules & local:
        if user_id != event.sender and user_id not in deaf:
            outcome = _evaluate(source, event, user_id)
            if outcome != everybody:
                yield user_id, outcome


def _deaf(source: CacheSource, event: Event, ignoring: Collection[str]) -> Collection[UserId]:
    """Return those of the `ignoring` who ignore the event's sender, and are not told of it; state is told of whoever sent it."""
    if event.state_key is not None:
        return ()
    return {
        UserId(user_id)
        for user_id in ignoring
        if user_id != event.sender and event.sender in account_data.ignored_users(source, UserId(user_id))
    }


def actions_for(source: CacheSource, event: Event, user_id: UserId) -> list[Any]:
    """Return the actions of the user's push rules for an event of somebody else."""
    member = state.current(source, event.room_id, "m.room.member", user_id)
    name = None if member is None else member.content.get("displayname")
    circumstances = Circumstances(
        member_count=members.joined_count(source, event.room_id),
        display_name=name if isinstance(name, str) else None,
        may_notify=lambda key: _may_notify(source, event, key),
    )
    seen: dict[str, Any] = {
        "type": event.type,
        "sender": event.sender,
        "room_id": event.room_id,
        "event_id": event.event_id,
        "content": event.content,
    }
    if event.state_key is not None:
        seen["state_key"] = event.state_key
    return evaluate(rules.enabled(source, user_id), seen, circumstances)


def _evaluate(source: CacheSource, event: Event, user_id: UserId) -> Outcome:
    notify, highlight, _ = tweaks(actions_for(source, event, user_id))
    return Outcome(notify, highlight)


# --- reading -------------------------------------------------------------------------------------------------------


def unread(source: CacheSource, room_id: RoomId, user_id: UserId) -> Unread:
    """Return what the user has not read in a room that he is in: counts begin at his join and after his receipts."""
    entry = members.entry(source, room_id, user_id)
    room = short_ids.short_room(source, room_id)
    if entry is None or room is None or entry.membership != "join":
        return Unread(Counts(), {})
    read, by_thread = receipts.read_up_to(source, room_id, user_id)
    base = max(read, entry.since)
    main = _counts(source, user_id, room, 0, max(base, by_thread.get(receipts.MAIN, 0)))
    found: dict[EventId, Counts] = {}
    for root in _threads_after(source, room_id, room, base, by_thread):
        thread = short_ids.short_event(source, root)
        if thread is not None:
            counts = _counts(source, user_id, room, thread, max(base, by_thread.get(root, 0)))
            if any(counts):
                found[root] = counts
    return Unread(main, found)


def _threads_after(
    source: CacheSource, room_id: RoomId, room: int, base: int, by_thread: Mapping[str, int]
) -> Iterable[EventId]:
    """Return the roots of the threads to which anything was added after the count `base` and after their own receipts."""
    found: dict[EventId, None] = {}
    if threads.last_answered(source, room_id) > base:
        for position, root in threads.of_room(source, room_id):
            if position.live <= base:
                break
            if position.live > by_thread.get(root, 0):
                found[root] = None
    if _ASIDE.get(source, room) > base:
        for _, thread in trees.thread_aside.scan(source, (room,), after=base):
            found[short_ids.event_of(source, thread)] = None
    return found


def _counts(source: CacheSource, user_id: UserId, room: int, thread: int, read: int) -> Counts:
    key = (room, thread)
    notifications = _ORDINAL.get(source, key)
    if notifications:
        notifications -= _ORDINAL_AT.get(source, (room, thread, read))
    highlights = _HIGHLIGHT.get(source, key)
    if highlights:
        before = trees.highlight_ordinal.last(source, key, before=read + 1)
        highlights -= 0 if before is None else before[1]
    own = (user_id, room, thread)
    if _NEWEST_PERSONAL.get(source, own) > read:
        for _, (differs, highlight) in trees.notify_personal.scan(source, own, after=read):
            notifications += differs - AS_DEFAULT
            highlights += highlight - AS_DEFAULT
    return Counts(max(notifications, 0), max(highlights, 0))


def forget_read(batch: Batch, room_id: RoomId, user_id: UserId, root: EventId | None, upto: int) -> None:
    """Remove the user's own rows of a thread (`None`: the main timeline) that a receipt at the count `upto` has made useless."""
    room = short_ids.short_room(batch, room_id)
    thread = 0 if root is None else short_ids.short_event(batch, root)
    if room is None or thread is None:
        return
    for key in list(trees.notify_personal.keys(batch, (user_id, room, thread), before=upto + 1)):
        trees.notify_personal.delete(batch, key)
