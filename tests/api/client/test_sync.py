"""Tests of /sync over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit.service.sync import state
from tests.support.client import User, segment
from tests.support.homeserver import Homeserver

Json = dict[str, Any]


def joined(body: Json, room_id: str) -> Json:
    """Return the section of a joined room."""
    section: Json = body["rooms"]["join"][room_id]
    return section


def timeline(body: Json, room_id: str) -> list[str]:
    """Return what happened in a room, in short: the bodies of messages and the types of other events."""
    events = joined(body, room_id)["timeline"]["events"]
    return [event["content"].get("body", event["type"]) for event in events]


def state_keys(section: Json, name: str = "state") -> set[tuple[str, str]]:
    """Return the state keys of a state section."""
    return {(event["type"], event["state_key"]) for event in section.get(name, {}).get("events", [])}


async def test_initial_sync_room_within_limit_has_all_in_timeline(hs: Homeserver) -> None:
    """A young room comes whole in the timeline, with nothing in the state and its summary."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    await alice.send(room, "hello")
    section = joined(await alice.sync(filter={"room": {"timeline": {"limit": 50}}}), room)
    assert section["timeline"]["events"][0]["type"] == "m.room.create"
    assert section["timeline"]["events"][-1]["content"]["body"] == "hello"
    assert not section["timeline"]["limited"]
    assert state_keys(section) == set()
    assert section["summary"] == {"m.joined_member_count": 1, "m.invited_member_count": 0, "m.heroes": []}
    assert section["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}


async def test_initial_sync_limited_timeline_has_the_state_before_it(hs: Homeserver) -> None:
    """What lies before a limited timeline comes as state, as it was at its start."""
    alice = await hs.register("alice")
    room = await alice.create_room(name="first")
    await alice.send(room, "one")
    await alice.set_state(room, "m.room.name", {"name": "second"})
    section = joined(await alice.sync(filter={"room": {"timeline": {"limit": 1}}}), room)
    assert [event["content"] for event in section["timeline"]["events"]] == [{"name": "second"}]
    assert section["timeline"]["limited"]
    names = [event["content"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == [{"name": "first"}]
    assert ("m.room.create", "") in state_keys(section)


async def test_incremental_sync_message_comes_once(hs: Homeserver) -> None:
    """A message sent since the token is in the next answer and in none after it; a quiet room is left out."""
    alice = await hs.register("alice")
    room, quiet = await alice.create_room(), await alice.create_room()
    since = (await alice.sync())["next_batch"]
    await alice.send(room, "one")
    body = await alice.sync(since)
    assert timeline(body, room) == ["one"]
    assert quiet not in body["rooms"]["join"]
    assert "state" not in joined(body, room)
    assert "rooms" not in await alice.sync(body["next_batch"])


async def test_quiet_sync_touches_no_engine(hs: Homeserver) -> None:
    """Polling with nothing new reads nothing from the database."""
    alice = await hs.register("alice")
    await alice.create_room()
    since = (await alice.sync())["next_batch"]
    since = (await alice.sync(since))["next_batch"]
    await alice.sync(since)
    reads: list[str] = []

    class Watching:
        def __init__(self, engine: Any) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            if name in ("get", "get_many", "scan"):
                reads.append(name)
            return getattr(self.engine, name)

    hs.ctx.db.engine = Watching(hs.ctx.db.engine)
    assert (await alice.sync(since))["next_batch"] == since
    assert reads == []


async def test_long_poll_wakes_for_a_message(hs: Homeserver) -> None:
    """A waiting request is answered by what arrives in one of the user's rooms."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    since = (await bob.sync(since))["next_batch"]
    waiting = bob.start(bob.sync(since, timeout_ms=20_000))
    await asyncio.sleep(0)
    await alice.send(room, "wake up")
    assert timeline(await asyncio.wait_for(waiting, 10), room) == ["wake up"]


async def test_long_poll_filtered_news_goes_on_waiting(hs: Homeserver) -> None:
    """News that the filter shuts out do not end the wait; what passes does."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    wanted = {
        "room": {"timeline": {"types": ["m.room.message"]}, "ephemeral": {"types": []}},
        "presence": {"types": []},
    }
    since = (await bob.sync(filter=wanted))["next_batch"]
    waiting = bob.start(bob.sync(since, timeout_ms=20_000, filter=wanted))
    await alice.send(room, {"n": 1}, "org.example.other")
    await alice.send(room, "seen")
    assert timeline(await asyncio.wait_for(waiting, 10), room) == ["seen"]


async def test_long_poll_timeout_gives_an_empty_answer(hs: Homeserver) -> None:
    """When the time is over the answer is empty but for the token and the device's keys."""
    alice = await hs.register("alice")
    since = (await alice.sync())["next_batch"]
    since = (await alice.sync(since))["next_batch"]
    body = await alice.sync(since, timeout_ms=50)
    assert set(body) == {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}


async def test_limited_incremental_timeline_has_the_state_of_the_gap(hs: Homeserver) -> None:
    """State that changed in the events left out comes as state; the token leads to what was left out."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    await alice.set_state(room, "org.example.thing", {"n": 1})
    for n in range(4):
        await alice.send(room, f"m{n}")
    body = await alice.sync(since, filter={"room": {"timeline": {"limit": 2}}})
    assert timeline(body, room) == ["m2", "m3"]
    section = joined(body, room)
    assert section["timeline"]["limited"]
    assert state_keys(section) == {("org.example.thing", "")}
    page = await alice.messages(room, **{"from": section["timeline"]["prev_batch"], "limit": 2})
    assert [event["content"]["body"] for event in page["chunk"]] == ["m1", "m0"]


async def test_state_after_has_what_is_in_the_timeline_too(hs: Homeserver) -> None:
    """With use_state_after the state is that at the end of the timeline, empty if nothing changed, and `state` is absent."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    body = await alice.sync(use_state_after=True)
    section = joined(body, room)
    assert "state" not in section
    assert {("m.room.create", ""), ("m.room.member", alice.user_id)} <= state_keys(section, "state_after")
    await alice.set_state(room, "m.room.topic", {"topic": "t"})
    body = await alice.sync(body["next_batch"], use_state_after=True)
    assert state_keys(joined(body, room), "state_after") == {("m.room.topic", "")}
    assert timeline(body, room) == ["m.room.topic"]
    await alice.send(room, "x")
    section = joined(await alice.sync(body["next_batch"], use_state_after=True), room)
    assert section["state_after"] == {"events": []}


async def test_newly_joined_room_comes_with_full_state(hs: Homeserver) -> None:
    """A room joined since the token comes as in an initial sync."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat", name="r")
    for n in range(15):
        await alice.send(room, f"m{n}")
    since = (await bob.sync())["next_batch"]
    await bob.join(room)
    body = await bob.sync(since)
    section = joined(body, room)
    assert section["timeline"]["limited"]
    assert len(section["timeline"]["events"]) == 10
    assert {("m.room.name", ""), ("m.room.create", ""), ("m.room.member", alice.user_id)} <= state_keys(section)
    assert section["summary"]["m.joined_member_count"] == 2
    assert "state" not in joined(await _again(alice, bob, room, body["next_batch"]), room)


async def _again(sender: User, reader: User, room: str, since: str) -> Json:
    await sender.send(room, "again")
    return await reader.sync(since)  # type: ignore[no-any-return]


async def test_full_state_repeats_the_state_at_once(hs: Homeserver) -> None:
    """full_state gives every room with all its state and no timeline before the token, without waiting."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    section = joined(await alice.sync(since, full_state=True, timeout_ms=60_000), room)
    assert section["timeline"]["events"] == []
    assert {("m.room.create", ""), ("m.room.power_levels", "")} <= state_keys(section)


async def test_invite_comes_with_stripped_state_and_goes_when_rejected(hs: Homeserver) -> None:
    """An invite is shown with the room's create event; rejecting it shows one own leave and nothing of the room."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(name="secret plans")
    since = (await bob.sync())["next_batch"]
    await alice.invite(room, bob)
    body = await bob.sync(since)
    events = body["rooms"]["invite"][room]["invite_state"]["events"]
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in events}
    assert room in (await bob.sync())["rooms"]["invite"]
    await bob.leave(room)
    section = (await bob.sync(body["next_batch"]))["rooms"]["leave"][room]
    assert [event["content"]["membership"] for event in section["timeline"]["events"]] == ["leave"]
    assert section["state"] == {"events": []}
    assert "rooms" not in await bob.sync()


async def test_invite_of_an_ignored_user_is_hidden(hs: Homeserver) -> None:
    """Somebody who is ignored cannot be seen inviting."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    await bob.put(
        f"/user/{segment(bob.user_id)}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}}
    )
    since = (await bob.sync())["next_batch"]
    room = await alice.create_room()
    await alice.invite(room, bob)
    assert "rooms" not in await bob.sync(since)
    assert "rooms" not in await bob.sync()


async def test_messages_of_an_ignored_user_are_dropped_and_state_is_not(hs: Homeserver) -> None:
    """Messages of ignored users are left out of the timeline; their state events stay."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    await bob.put(
        f"/user/{segment(bob.user_id)}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}}
    )
    await alice.send(room, "unheard")
    await alice.set_state(room, "m.room.topic", {"topic": "t"})
    assert timeline(await bob.sync(since), room) == ["m.room.topic"]


async def test_kicked_user_gets_the_room_up_to_the_kick(hs: Homeserver) -> None:
    """Somebody who is thrown out sees what came before, the kick itself, and nothing after it."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    await alice.send(room, "before")
    await alice.post(f"/rooms/{segment(room)}/kick", {"user_id": bob.user_id})
    await alice.send(room, "after")
    body = await bob.sync(since)
    events = body["rooms"]["leave"][room]["timeline"]["events"]
    assert [event["content"].get("body", event["type"]) for event in events] == ["before", "m.room.member"]
    await alice.send(room, "later")
    assert "rooms" not in await bob.sync(body["next_batch"])
    assert "rooms" not in await bob.sync()
    archived = await bob.sync(filter={"room": {"include_leave": True}})
    assert archived["rooms"]["leave"][room]["timeline"]["events"][-1]["content"]["membership"] == "leave"


async def test_ban_after_a_leave_hides_nothing_from_before_it(hs: Homeserver) -> None:
    """Who left and was banned later has the room as it was until then, and the ban; nothing of what happened in between."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat", name="old name")
    await bob.join(room)
    await alice.send(room, "before")
    known = (await bob.sync())["next_batch"]
    await bob.leave(room)
    since = (await bob.sync(known))["next_batch"]
    await alice.send(room, "between")
    await alice.set_state(room, "m.room.name", {"name": "new name"})
    await alice.post(f"/rooms/{segment(room)}/ban", {"user_id": bob.user_id})

    def told(section: dict[str, Any]) -> list[str]:
        events = section["timeline"]["events"]
        return [event["content"].get("body") or event["content"].get("membership") for event in events]

    wanted = {"room": {"include_leave": True, "timeline": {"limit": 2}}}
    section = (await bob.sync(filter=wanted))["rooms"]["leave"][room]
    assert told(section) == ["before", "leave", "ban"]
    assert ("m.room.create", "") in state_keys(section)
    names = [event["content"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == [{"name": "old name"}]
    # Who knew the room as joined, and who knew of the leave.
    assert told((await bob.sync(known))["rooms"]["leave"][room]) == ["leave", "ban"]
    section = (await bob.sync(since))["rooms"]["leave"][room]
    assert (told(section), section["state"]["events"]) == (["ban"], [])


async def test_leave_that_was_forgotten_reaches_the_other_device(hs: Homeserver) -> None:
    """A device that was away learns of the leave even if the room has been forgotten since."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    phone = await hs.login("alice")
    since = (await phone.sync())["next_batch"]
    await alice.leave(room)
    await alice.post(f"/rooms/{segment(room)}/forget")
    assert room in (await phone.sync(since))["rooms"]["leave"]


async def test_joined_and_left_between_two_syncs_has_full_state(hs: Homeserver) -> None:
    """Whoever was in the room only in between gets it as a left room, with its state."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await alice.set_state(room, "org.example.thing", {"n": 1})
    since = (await bob.sync())["next_batch"]
    await bob.join(room)
    await bob.leave(room)
    wanted = {"room": {"timeline": {"types": []}, "state": {"types": ["org.example.thing"]}}}
    section = (await bob.sync(since, filter=wanted))["rooms"]["leave"][room]
    assert state_keys(section) == {("org.example.thing", "")}


async def test_knock_comes_with_stripped_state(hs: Homeserver) -> None:
    """A knock is shown in its own section."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
    )
    since = (await bob.sync())["next_batch"]
    await bob.post(f"/knock/{segment(room)}", {})
    events = (await bob.sync(since))["rooms"]["knock"][room]["knock_state"]["events"]
    assert "m.room.create" in {event["type"] for event in events}


async def test_transaction_id_goes_to_the_sending_device_only(hs: Homeserver) -> None:
    """Only the device that sent an event finds its transaction id in it."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    phone = await hs.login("alice")
    here, there = (await alice.sync())["next_batch"], (await phone.sync())["next_batch"]
    await alice.send(room, "x", txn="mine")
    own = joined(await alice.sync(here), room)["timeline"]["events"][0]
    other = joined(await phone.sync(there), room)["timeline"]["events"][0]
    assert own["unsigned"]["transaction_id"] == "mine"
    assert "transaction_id" not in other["unsigned"]


async def test_unsigned_tells_age_membership_and_the_state_before(hs: Homeserver) -> None:
    """Unsigned has the age, the reader's membership then, and the content that a state event replaced."""
    alice = await hs.register("alice")
    room = await alice.create_room(name="old")
    since = (await alice.sync())["next_batch"]
    hs.clock.jump(5)
    former = await alice.get(f"/rooms/{segment(room)}/state/m.room.name", params={"format": "event"})
    await alice.set_state(room, "m.room.name", {"name": "new"})
    hs.clock.jump(3)
    unsigned = joined(await alice.sync(since), room)["timeline"]["events"][0]["unsigned"]
    assert unsigned == {
        "age": 3000,
        "membership": "join",
        "prev_content": {"name": "old"},
        "replaces_state": former["event_id"],
    }


async def test_redacted_event_comes_pruned_with_its_redaction(hs: Homeserver) -> None:
    """A redacted message has no content and says by what it was redacted."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    target = await alice.send(room, "shameful")
    await alice.sync(since)
    redaction = await alice.redact(room, target)
    events = joined(await alice.sync(since), room)["timeline"]["events"]
    assert [event["event_id"] for event in events] == [target, redaction]
    assert events[0]["content"] == {}
    assert events[0]["unsigned"]["redacted_because"]["event_id"] == redaction
    assert events[1]["content"]["redacts"] == events[1]["redacts"] == target


async def test_lazy_loading_gives_senders_once(hs: Homeserver) -> None:
    """With lazy loading only senders' memberships come, once for a device; after a lost answer they come again."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat", name="named")
    await bob.join(room)
    await carol.join(room)
    for n in range(3):
        await bob.send(room, f"b{n}")
    wanted: Json = {"room": {"timeline": {"limit": 3}, "state": {"lazy_load_members": True}}}
    body = await alice.sync(filter=wanted)
    members = {key for kind, key in state_keys(joined(body, room)) if kind == "m.room.member"}
    assert members == {alice.user_id, bob.user_id}
    since = body["next_batch"]
    await carol.send(room, "c1")
    lost = await alice.sync(since, filter=wanted)
    assert state_keys(joined(lost, room)) == {("m.room.member", carol.user_id)}
    body = await alice.sync(since, filter=wanted)
    assert state_keys(joined(body, room)) == {("m.room.member", carol.user_id)}
    await carol.send(room, "c2")
    body = await alice.sync(body["next_batch"], filter=wanted)
    assert state_keys(joined(body, room)) == set()
    wanted["room"]["state"]["include_redundant_members"] = True
    await carol.send(room, "c3")
    body = await alice.sync(body["next_batch"], filter=wanted)
    assert state_keys(joined(body, room)) == {("m.room.member", carol.user_id)}


LAZY: Json = {"room": {"timeline": {"limit": 2}, "state": {"lazy_load_members": True}}}


async def lazy_gap(hs: Homeserver) -> tuple[str, User, User, str]:
    """Return a room, who reads it lazily, who has joined it since the token that follows, and that; more was said since than the timeline holds."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat", name="named")
    await bob.join(room)
    since = (await alice.sync(filter=LAZY))["next_batch"]
    await carol.join(room)
    for n in range(4):
        await bob.send(room, f"b{n}")
    return room, alice, carol, since


async def test_lazy_loading_keeps_membership_changes_of_a_gap(hs: Homeserver) -> None:
    """Memberships that changed in the events left out come although nobody of these sent anything shown."""
    room, alice, carol, since = await lazy_gap(hs)
    section = joined(await alice.sync(since, filter=LAZY), room)
    assert ("m.room.member", carol.user_id) in state_keys(section)
    assert section["summary"]["m.joined_member_count"] == 3


@pytest.mark.parametrize("remembered", [1000, 0])
async def test_lazy_loading_tells_members_again_of_whom_it_told_very_many(
    hs: Homeserver, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """It is not noted of ten thousand members that a device knows them: who of them says something is told once more."""
    monkeypatch.setattr(state, "MAX_REMEMBERED", remembered)
    room, alice, carol, since = await lazy_gap(hs)
    body = await alice.sync(since, filter=LAZY)
    assert ("m.room.member", carol.user_id) in state_keys(joined(body, room))
    await carol.send(room, "c")
    told = state_keys(joined(await alice.sync(body["next_batch"], filter=LAZY), room))
    assert told == (set() if remembered else {("m.room.member", carol.user_id)})


async def test_heroes_name_an_unnamed_room(hs: Homeserver) -> None:
    """A room without a name has heroes in the order in which they came, never oneself; a named one has none."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat")
    await carol.join(room)
    await bob.join(room)
    wanted = {"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}}
    body = await alice.sync(filter=wanted)
    assert joined(body, room)["summary"]["m.heroes"] == [carol.user_id, bob.user_id]
    assert ("m.room.member", carol.user_id) in state_keys(joined(body, room))
    await alice.set_state(room, "m.room.name", {"name": "now named"})
    section = joined(await alice.sync(body["next_batch"], filter=wanted), room)
    assert section["summary"] == {"m.joined_member_count": 3, "m.invited_member_count": 0}
    await bob.send(room, "x")
    again = await alice.sync((await alice.sync())["next_batch"])
    assert "rooms" not in again


async def test_history_from_before_the_join_is_not_in_the_timeline(hs: Homeserver) -> None:
    """In a room whose history is for those who were there, a newcomer's timeline begins with the join."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room = await alice.create_room(preset="public_chat")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await alice.send(room, "hidden")
    since = (await bob.sync())["next_batch"]
    await bob.join(room)
    await alice.send(room, "shown")
    shown = timeline(await bob.sync(since), room)
    assert "hidden" not in shown
    assert shown[-2:] == ["m.room.member", "shown"]


async def test_state_that_changed_while_away_is_in_the_timeline(hs: Homeserver) -> None:
    """What makes up the present state comes even if it was sent while the user was out and could not see it."""
    alice, bob, carol = [await hs.register(name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    since = (await bob.sync())["next_batch"]
    await bob.leave(room)
    await carol.join(room)
    await alice.send(room, "hidden")
    await bob.join(room)
    events = joined(await bob.sync(since), room)["timeline"]["events"]
    assert carol.user_id in [event.get("state_key") for event in events]
    assert "hidden" not in [event["content"].get("body") for event in events]


async def test_limited_timeline_bundles_edits_and_threads(hs: Homeserver) -> None:
    """Where events are left out, the shown ones carry what their children come to."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    root = await alice.send(room, "root")
    for n in range(12):
        relates = {"rel_type": "m.thread", "event_id": root}
        await alice.send(room, {"msgtype": "m.text", "body": f"r{n}", "m.relates_to": relates})
    edit = {
        "msgtype": "m.text",
        "body": "* better",
        "m.new_content": {"msgtype": "m.text", "body": "better"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": root},
    }
    edit_id = await alice.send(room, edit)
    wanted = {"room": {"timeline": {"limit": 14}}}
    events = joined(await alice.sync(filter=wanted), room)["timeline"]["events"]
    relations = next(event for event in events if event["event_id"] == root)["unsigned"]["m.relations"]
    assert relations["m.replace"]["event_id"] == edit_id
    assert relations["m.thread"]["count"] == 12
    assert relations["m.thread"]["current_user_participated"]
    assert relations["m.thread"]["latest_event"]["content"]["body"] == "r11"


async def test_filter_by_room_type_sender_and_url(hs: Homeserver) -> None:
    """Rooms, types with wildcards, senders and contains_url each keep out what they should."""
    alice, bob = await hs.register("alice"), await hs.register("bob")
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    await bob.join(room)
    since = (await alice.sync())["next_batch"]
    await bob.send(room, "from bob")
    await alice.send(room, "from alice")
    await alice.send(room, {"msgtype": "m.image", "body": "pic", "url": "mxc://x/y"})
    await alice.send(other, "elsewhere")

    async def shown(part: Json) -> list[str]:
        return timeline(await alice.sync(since, filter={"room": {"timeline": part}}), room)

    assert await shown({"senders": [bob.user_id]}) == ["from bob"]
    assert await shown({"not_senders": [bob.user_id]}) == ["from alice", "pic"]
    assert await shown({"contains_url": True}) == ["pic"]
    assert await shown({"contains_url": False}) == ["from bob", "from alice"]
    assert await shown({"types": ["m.room.mess*"]}) == ["from bob", "from alice", "pic"]
    body = await alice.sync(since, filter={"room": {"not_rooms": [room]}})
    assert set(body["rooms"]["join"]) == {other}


async def test_event_fields_leave_only_what_is_named(hs: Homeserver) -> None:
    """event_fields leaves only the fields that it names, also within the content."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    await alice.send(room, "x")
    fields = ["content.body", "event_id", "type", "sender", "origin_server_ts"]
    event = joined(await alice.sync(since, filter={"event_fields": fields}), room)["timeline"]["events"][0]
    assert set(event) == {"content", "event_id", "type", "sender", "origin_server_ts"}
    assert event["content"] == {"body": "x"}


async def test_bad_tokens_and_filters_are_refused(hs: Homeserver) -> None:
    """A token that is none, one from the future, an unknown filter and malformed ones are refused."""
    alice = await hs.register("alice")
    for since in ("x", "s1", "s1_2_3_4", "s-1_0", "t5", "s999999999999_0", "s\u0661_0"):
        await alice.get("/sync", "M_INVALID_PARAM", params={"since": since})
    await alice.get("/sync", "M_INVALID_PARAM", params={"filter": "nosuch"})
    await alice.get("/sync", "M_INVALID_PARAM", params={"timeout": "-1"})
    await alice.get("/sync", "M_NOT_JSON", params={"filter": "{"})
    await alice.get("/sync", "M_BAD_JSON", params={"filter": '{"room": []}'})


async def test_paging_back_from_an_empty_timeline_reaches_what_the_filter_kept_back(hs: Homeserver) -> None:
    """The token beside a timeline of which nothing was wanted stands at its end."""
    alice = await hs.register("alice")
    room = await alice.create_room()
    first = await alice.sync()
    event_id = await alice.send(room, "hello")
    for wanted in ({"types": []}, {"types": ["org.example.none"]}, {"not_senders": [alice.user_id]}):
        for since in (None, first["next_batch"]):
            body = await alice.sync(since, filter={"room": {"timeline": wanted}}, full_state=True)
            timeline = body["rooms"]["join"][room]["timeline"]
            assert timeline["events"] == []
            page = await alice.messages(room, **{"from": timeline["prev_batch"], "limit": 1})
            assert [event["event_id"] for event in page["chunk"]] == [event_id]
