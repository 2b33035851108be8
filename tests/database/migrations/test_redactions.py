"""Redactions, which Conduit carries out in the stored event."""

from __future__ import annotations

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.migrations import redactions
from conduit.database.migrations.bulk import Bulk
from tests.database.migrations.conftest import World


def test_redaction_and_its_target_know_each_other(world: World, db: Database) -> None:
    """By the target, and by which redaction applies to it."""
    target, redaction = world.named["second"].event_id, world.named["redaction"].event_id
    assert trees.redaction.has(db, (target, redaction))
    assert trees.redacted.get(db, target) == redaction


def test_claim_of_another_server_is_not_believed(world: World, db: Database) -> None:
    """An event that says in `unsigned` that it is redacted, by a redaction that the room does not have, is not pruned."""
    first = world.named["first"]
    data = world.conduit.stored(first, {"redacted_because": {"event_id": "$unknown"}})
    pruned: dict[str, str] = {}
    with Bulk(db, "test") as bulk:
        redactions.take(bulk, pruned, first, data)
        redactions.finish(bulk, pruned)
    assert pruned == {first.event_id: "$unknown"}
    assert trees.redacted.get(db, first.event_id) is None
