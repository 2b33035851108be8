"""What counts as unread."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from tests.database.migrations.conftest import World


def live(world: World, name: str) -> int:
    """Return the count of an event."""
    return int.from_bytes(world.room.places[world.named[name].event_id][8:], "big")


def test_messages_have_ordinals(world: World, db: Database) -> None:
    """Messages count, by thread; edits, reactions and what is redacted to nothing do as the rules say."""
    rows = {count: ordinal for (_, thread, count), ordinal in trees.notify_ordinal.scan(db, (world.room.short, 0))}
    names = ("first", "second", "mention", "to all", "unread")
    assert [rows.get(live(world, name)) for name in names] == [1, 2, 3, 4, 5]
    assert live(world, "edit") not in rows
    root = trees.eventid_shorteventid.get(db, world.named["first"].event_id)
    assert len(list(trees.notify_ordinal.scan(db, (world.room.short, root)))) == 2


def test_mentions_highlight(world: World, db: Database) -> None:
    """Of a local user in a row of the user's own, of everybody in an ordinal."""
    rows = list(trees.notify_personal.scan(db))
    assert rows == [(("@bob:localhost", world.room.short, 0, live(world, "mention")), (1, 2))]
    assert dict(trees.highlight_ordinal.scan(db)) == {(world.room.short, 0, live(world, "to all")): 1}


def test_reading_is_noted_by_the_last_reset(world: World, db: Database) -> None:
    """Conduit's note of it leaves the tree that it shared with the highlights."""
    mark = trees.receipt.get(db, (world.room.short, "@bob:localhost", "sent", ""))
    assert mark is not None
    assert live(world, "mention") < mark["at"] < live(world, "unread")
    assert all(user.startswith("@") for user, _ in trees.userroomid_highlightcount.keys(db))
    sent = trees.receipt.get(db, (world.room.short, "@alice:localhost", "sent", "main"))
    assert sent == {"at": live(world, "unread")}
