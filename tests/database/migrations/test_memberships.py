"""Who is in which room."""

from __future__ import annotations

import shutil
from pathlib import Path

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.open import open_database
from tests.database.conduit_directory import Conduit
from tests.database.migrations.conftest import World


def test_memberships_follow_the_state(world: World, db: Database) -> None:
    """Joined, invited, left and banned people, and an invite from afar without an event."""
    room_id = world.room.room_id
    found = {user_id: entry.membership for (user_id, room), entry in trees.membership.scan(db) if room == room_id}
    assert found == {
        "@alice:localhost": "join",
        "@bob:localhost": "join",
        "@carol:localhost": "leave",
        "@dave:localhost": "ban",
        "@eve:localhost": "leave",
        "@far:elsewhere.org": "join",
        "@frank:localhost": "invite",
    }
    afar = trees.membership.get(db, ("@alice:localhost", "!afar:elsewhere.org"))
    assert afar is not None
    assert (afar.membership, afar.event) == ("invite", 0)


def test_membership_holds_since_its_change(world: World, db: Database) -> None:
    """A new display name renews the event of a membership and not its count."""
    entry = trees.membership.get(db, ("@bob:localhost", world.room.room_id))
    assert entry is not None
    place = world.room.places[world.named["bob joins"].event_id]
    assert entry.since == int.from_bytes(place[8:], "big")
    assert entry.event == trees.eventid_shorteventid.get(db, world.named["bob renamed"].event_id)
    assert trees.membership_stream.get(db, ("@bob:localhost", entry.since)) == world.room.room_id


def test_forgotten_room_stays_forgotten(world: World, db: Database) -> None:
    """Who has left and is in none of Conduit's lists has forgotten."""
    assert not trees.roomuserid_leftcount.has(db, (world.room.room_id, "@eve:localhost"))
    assert trees.roomuserid_leftcount.has(db, (world.room.room_id, "@carol:localhost"))


def test_lists_of_conduit_are_put_right(tmp_path: Path) -> None:
    """Where Conduit's lists contradict the room's state, the state holds, and the counts follow."""
    conduit = Conduit()
    alice = conduit.user("alice", token="t")
    bob = conduit.user("bob")
    room = conduit.create(alice)
    conduit.send(room, bob, "m.room.member", {"membership": "join"}, state_key=bob)
    conduit.send(room, bob, "m.room.member", {"membership": "leave"}, state_key=bob)
    conduit.member(room.room_id, bob, "join")
    conduit.member(room.room_id, "@ghost:elsewhere.org", "join")
    conduit.put("roomid_joinedcount", room.room_id.encode(), (7).to_bytes(8, "big"))
    conduit.save(tmp_path / "db")
    db = open_database(tmp_path / "db")
    assert [user for _, user in trees.roomuserid_joined.keys(db, (room.room_id,))] == [alice]
    assert trees.roomid_joinedcount.get(db, room.room_id) == 1
    assert [server for _, server in trees.roomserverids.keys(db, (room.room_id,))] == ["localhost"]
    assert not trees.userroomid_joined.has(db, (bob, room.room_id))
    db.close_now()
    shutil.rmtree(tmp_path / "db")


def test_stale_state_of_a_room_that_was_left_does_not_hold(tmp_path: Path) -> None:
    """When nobody here is in a room any more, its state is no longer kept up: Conduit's lists tell who has left."""
    conduit = Conduit()
    alice = conduit.user("alice", token="t")
    room = conduit.create("@owner:elsewhere.org")
    conduit.send(room, alice, "m.room.member", {"membership": "join"}, state_key=alice)
    conduit.member(room.room_id, alice, "leave")
    conduit.save(tmp_path / "db")
    db = open_database(tmp_path / "db")
    entry = trees.membership.get(db, (alice, room.room_id))
    assert entry is not None
    assert (entry.membership, entry.event) == ("leave", 0)
    assert trees.roomid_joinedcount.get(db, room.room_id) == 1
    db.close_now()
