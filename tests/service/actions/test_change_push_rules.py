"""Changing push rules: what holds afterwards, and that a refused change leaves everything as it was."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from conduit.protocol.errors import BadJson, BadRequest, InvalidParam, MatrixError, NotFound
from conduit.service.actions import change_push_rules
from conduit.service.context import Context
from conduit.service.push import rules
from tests.support.rooms import ALICE, context


@pytest.fixture
def ctx() -> Context:
    """An empty server."""
    return context()


async def put(ctx: Context, rule_id: str, *, before: str | None = None, after: str | None = None, **body: Any) -> None:
    """Put a content rule of Alice's."""
    rule = {"pattern": rule_id, "actions": ["notify"], **body}
    await change_push_rules.put_rule(ctx, ALICE, "content", rule_id, rule, before=before, after=after)


def order(ctx: Context) -> list[str]:
    """Return the ids of the content rules in order."""
    return [rule["rule_id"] for rule in rules.ruleset(ctx.db, ALICE).rules["content"]]


async def test_rules_stand_where_they_are_put(ctx: Context) -> None:
    """First unless told otherwise; a replaced one stays, or moves if told to."""
    for rule_id in "abc":
        await put(ctx, rule_id)
    assert order(ctx) == ["c", "b", "a"]
    await put(ctx, "d", after="b")
    await put(ctx, "e", before="b")
    assert order(ctx) == ["c", "e", "b", "d", "a"]
    await put(ctx, "b", pattern="new")
    assert order(ctx) == ["c", "e", "b", "d", "a"]
    await put(ctx, "a", before="c")
    await put(ctx, "c", after="d")
    assert order(ctx) == ["a", "e", "b", "d", "c"]


async def test_replaced_rule_keeps_its_switch(ctx: Context) -> None:
    """Only its pattern and actions are new."""
    await put(ctx, "a")
    await change_push_rules.set_enabled(ctx, ALICE, "content", "a", False)
    await put(ctx, "a", pattern="new", actions=[])
    rule = rules.ruleset(ctx.db, ALICE).find("content", "a")
    assert (rule["enabled"], rule["pattern"], rule["actions"]) == (False, "new", [])


async def test_predefined_rules_are_switched_and_their_actions_changed(ctx: Context) -> None:
    """Those that mean nothing any more can be read back by whoever has set them."""
    await change_push_rules.set_enabled(ctx, ALICE, "override", ".m.rule.master", True)
    await change_push_rules.set_actions(ctx, ALICE, "underride", ".m.rule.message", ["dont_notify"])
    ruleset = rules.ruleset(ctx.db, ALICE)
    assert ruleset.find("override", ".m.rule.master")["enabled"] is True
    assert ruleset.find("underride", ".m.rule.message")["actions"] == ["dont_notify"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda ctx: put(ctx, ".a"), InvalidParam),
        (lambda ctx: put(ctx, "a/b"), InvalidParam),
        (lambda ctx: put(ctx, "b", actions="notify"), BadJson),
        (lambda ctx: put(ctx, "b", actions=["shout"]), InvalidParam),
        (lambda ctx: put(ctx, "b", pattern=1), BadJson),
        (lambda ctx: put(ctx, "b", before="none"), BadRequest),
        (lambda ctx: change_push_rules.delete_rule(ctx, ALICE, "content", "none"), NotFound),
        (lambda ctx: change_push_rules.delete_rule(ctx, ALICE, "underride", ".m.rule.call"), InvalidParam),
        (lambda ctx: change_push_rules.set_enabled(ctx, ALICE, "content", "none", True), NotFound),
        (lambda ctx: change_push_rules.set_enabled(ctx, ALICE, "nonsense", "a", True), InvalidParam),
        (lambda ctx: change_push_rules.set_actions(ctx, ALICE, "content", "a", {}), BadJson),
    ],
)
async def test_refused_change_leaves_all_as_it_was(ctx: Context, change: Any, error: type[MatrixError]) -> None:
    """Nothing is written, and nobody is woken."""
    await put(ctx, "a")
    before, count = rules.ruleset(ctx.db, ALICE).content(), ctx.db.watch.last(("user", ALICE))
    deed: Coroutine[Any, Any, None] = change(ctx)
    with pytest.raises(error):
        await deed
    assert rules.ruleset(ctx.db, ALICE).content() == before
    assert ctx.db.watch.last(("user", ALICE)) == count


async def test_deleted_rule_is_gone(ctx: Context) -> None:
    """And the user's rules are the predefined ones again."""
    await put(ctx, "a")
    assert rules.users_with_own(ctx.db) == {ALICE}
    await change_push_rules.delete_rule(ctx, ALICE, "content", "a")
    assert order(ctx) == []
    assert rules.users_with_own(ctx.db) == set()
