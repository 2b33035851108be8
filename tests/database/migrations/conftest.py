"""A homeserver's whole directory as Conduit leaves it, brought up to date once for all tests that look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from conduit.database.database import Database
from conduit.database.open import open_database
from conduit.protocol.pdu import Event
from tests.database.conduit_directory import HOME, Conduit, Room, joined, u64

SERVICE = """
id: irc
sender_localpart: ircbot
namespaces:
  users:
    - exclusive: true
      regex: '@irc_.*:localhost'
"""


@dataclass
class World:
    """What was written, to compare with what is found."""

    conduit: Conduit
    room: Room
    """Version 10, with everything in it."""
    hashed: Room
    """Version 12: its create event does not name it."""
    old: Room
    """Version 1: events cite pairs of id and hash."""
    named: dict[str, Event]
    receipt: int = 0
    token: int = 0


def text(body: str, **more: Any) -> dict[str, Any]:
    """Return the content of a message."""
    return {"msgtype": "m.text", "body": body, **more}


def relates(kind: str, event: Event, **more: Any) -> dict[str, Any]:
    """Return what makes a message relate to another one."""
    return {"m.relates_to": {"rel_type": kind, "event_id": event.event_id, **more}}


def build() -> World:
    """Let Conduit run for a while."""
    conduit = Conduit()
    conduit.user("conduit", "")
    alice = conduit.user("alice", token="token-of-alice")
    bob = conduit.user("bob", token="token-of-bob")
    for name in ("carol", "dave", "eve", "frank"):
        conduit.user(name)
    conduit.user("gone", "")
    conduit.user("irc_zoe", "")
    conduit.put("id_appserviceregistrations", b"irc", SERVICE.encode())
    conduit.put("userid_displayname", bob.encode(), b"Bob the Builder")

    admins = conduit.create("@conduit:localhost", name="admins")
    conduit.put("alias_roomid", b"admins", admins.room_id.encode())
    conduit.send(admins, alice, "m.room.member", {"membership": "join"}, state_key=alice)

    room = conduit.create(alice)
    world = World(conduit, room, conduit.create(alice, "12"), conduit.create(bob, "1"), {})
    _fill_room(world, alice, bob)
    conduit.send(world.hashed, alice, "m.room.message", text("in twelve"))
    conduit.send(world.old, bob, "m.room.message", text("in one"))
    _fill_rest(world, alice, bob)
    return world


def _fill_room(world: World, alice: str, bob: str) -> None:
    conduit, room, named = world.conduit, world.room, world.named
    for name in ("bob", "carol", "dave", "eve"):
        user_id = f"@{name}:{HOME}"
        named[f"{name} joins"] = conduit.send(room, user_id, "m.room.member", {"membership": "join"}, state_key=user_id)
    conduit.send(room, alice, "m.room.member", {"membership": "invite"}, state_key="@frank:localhost")
    far = "@far:elsewhere.org"
    conduit.send(room, far, "m.room.member", {"membership": "join"}, state_key=far)
    conduit.synced(room)
    named["first"] = conduit.send(room, alice, "m.room.message", text("hello world"))
    named["second"] = conduit.send(room, bob, "m.room.message", text("rude words"))
    named["edit"] = conduit.send(
        room,
        alice,
        "m.room.message",
        text("* hello all", **{"m.new_content": text("hello all")}, **relates("m.replace", named["first"])),
    )
    named["reaction"] = conduit.send(room, bob, "m.reaction", relates("m.annotation", named["first"], key="+1"))
    for number in range(2):
        named[f"reply {number}"] = conduit.send(
            room, bob, "m.room.message", text(f"reply {number}", **relates("m.thread", named["first"]))
        )
    world.token = conduit.synced(room)
    named["redaction"] = conduit.redact(room, alice, named["second"])
    named["mention"] = conduit.send(
        room, alice, "m.room.message", text("bob?", **{"m.mentions": {"user_ids": [bob, far]}})
    )
    named["to all"] = conduit.send(room, alice, "m.room.message", text("all!", **{"m.mentions": {"room": True}}))
    named["topic"] = conduit.send(room, alice, "m.room.topic", {"topic": "one"}, state_key="")
    conduit.send(room, alice, "m.room.member", {"membership": "leave"}, state_key="@carol:localhost")
    conduit.send(room, alice, "m.room.member", {"membership": "ban"}, state_key="@dave:localhost")
    conduit.send(room, "@eve:localhost", "m.room.member", {"membership": "leave"}, state_key="@eve:localhost")
    # Eve has forgotten the room.
    del conduit.rows["userroomid_leftstate"][joined("@eve:localhost", room.room_id)]
    del conduit.rows["roomuserid_leftcount"][joined(room.room_id, "@eve:localhost")]
    renamed = {"membership": "join", "displayname": "Bob"}
    named["bob renamed"] = conduit.send(room, bob, "m.room.member", renamed, state_key=bob)
    world.receipt = conduit.receipt(room, bob, named["mention"])
    named["unread"] = conduit.send(room, alice, "m.room.message", text("news"))
    named["last"] = conduit.send(room, alice, "m.room.name", {"name": "A room"}, state_key="")
    conduit.put("userdevicetxnid_response", joined(alice, "DEVICE", "txn1"), named["unread"].event_id.encode())
    conduit.put("userdevicetxnid_response", joined(alice, "DEVICE", "txn2"), b"")
    older = conduit.build(room, alice, "m.room.message", text("ancient"))
    named["older"] = older
    conduit.backfill(room, older)
    failed = conduit.build(room, bob, "m.room.topic", {"topic": "failed"}, state_key="")
    named["failed"] = failed
    conduit.put("eventid_outlierpdu", failed.event_id.encode(), conduit.stored(failed))
    conduit.put("softfailedeventids", failed.event_id.encode())
    short = conduit.short_event(failed.event_id)
    conduit.put("shorteventid_shortstatehash", u64(short), u64(room.stack[-1][0]))
    outlier = conduit.build(room, bob, "m.room.message", text("known of"))
    named["outlier"] = outlier
    conduit.put("eventid_outlierpdu", outlier.event_id.encode(), conduit.stored(outlier))


def _fill_rest(world: World, alice: str, bob: str) -> None:
    conduit, room = world.conduit, world.room
    # A room without leaves, and an invite from afar to a room of which nothing else is known.
    for leaf in world.old.leaves:
        del conduit.rows["roomid_pduleaves"][joined(world.old.room_id, leaf)]
    conduit.member("!afar:elsewhere.org", alice, "invite")
    conduit.account_data("", alice, "m.direct", {bob: [room.room_id]})
    conduit.account_data(room.room_id, alice, "m.tag", {"tags": {"m.favourite": {}}})
    own = {"rule_id": "cake", "default": False, "enabled": True, "actions": ["notify"], "pattern": "cake"}
    conduit.account_data("", bob, "m.push_rules", {"global": {"content": [own]}})
    conduit.account_data("", bob, "m.ignored_user_list", {"ignored_users": {"@spam:elsewhere.org": {}}})
    for name in ("AAAA", "BBBB"):
        key_id = f'"signed_curve25519:{name}"'
        conduit.put("onetimekeyid_onetimekeys", joined(alice, "DEVICE", key_id), b'{"key":"x"}')
    for target in (room.room_id, alice):
        conduit.put("keychangeid_userid", joined(target, u64(conduit.next())), alice.encode())
    conduit.put(
        "todeviceid_events",
        joined(alice, "DEVICE", u64(conduit.next())),
        b'{"type":"m.x","sender":"@x:y","content":{}}',
    )
    place = room.places[world.named["unread"].event_id]
    conduit.put("servernameevent_data", joined("elsewhere.org", place))
    conduit.put("servercurrentevent_data", joined("elsewhere.org", room.places[world.named["mention"].event_id]))
    edu = orjson.dumps({"edu_type": "m.receipt", "content": {}})
    conduit.put("servernameevent_data", joined("elsewhere.org", u64(conduit.next())), edu)
    conduit.put("servernameevent_data", joined("+irc", place))
    conduit.put("servernameevent_data", joined("$" + alice, "pushkey", place))


@pytest.fixture(scope="session")
def conduit_directory(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """Return what was written, and the directory, which nobody has opened yet: copy it."""
    world = build()
    directory = tmp_path_factory.mktemp("conduit") / "db"
    world.conduit.save(directory)
    return world, directory


@pytest.fixture(scope="session")
def migrated(
    conduit_directory: tuple[World, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Database]]:
    """Return what was written, and the database after opening it."""
    world, directory = conduit_directory
    copy = tmp_path_factory.mktemp("migrated") / "db"
    shutil.copytree(directory, copy)
    db = open_database(copy)
    yield world, db
    db.close_now()


@pytest.fixture(scope="session")
def world(migrated: tuple[World, Database]) -> World:
    """Return what was written."""
    return migrated[0]


@pytest.fixture(scope="session")
def db(migrated: tuple[World, Database]) -> Database:
    """Return the database after it was brought up to date."""
    return migrated[1]
