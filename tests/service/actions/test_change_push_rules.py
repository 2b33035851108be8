"""Changing push rules as acts."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import InvalidParam, NotFound
from conduit.protocol.ids import UserId
from conduit.service.actions import change_push_rules as act
from conduit.service.push import rules
from tests.support.rooms import context

ME = UserId("@me:localhost")


async def test_changes_are_stored_and_undone() -> None:
    """A user counts among those with rules of their own exactly as long as the rules differ from the predefined ones."""
    ctx = context()
    await act.put_rule(ctx, ME, "sender", "@a:b", {"actions": []}, before=None, after=None)
    assert rules.ruleset(ctx.db, ME).find("sender", "@a:b")["actions"] == []
    assert rules.users_with_own(ctx.db) == {ME}
    await act.set_actions(ctx, ME, "sender", "@a:b", ["notify"])
    await act.set_enabled(ctx, ME, "sender", "@a:b", False)
    rule = rules.ruleset(ctx.db, ME).find("sender", "@a:b")
    assert (rule["actions"], rule["enabled"]) == (["notify"], False)
    await act.delete_rule(ctx, ME, "sender", "@a:b")
    assert rules.users_with_own(ctx.db) == frozenset()
    await act.set_enabled(ctx, ME, "override", ".m.rule.master", True)
    assert rules.users_with_own(ctx.db) == {ME}


async def test_refused_changes_write_nothing() -> None:
    """Unknown rules, unknown kinds, predefined rules to be deleted."""
    ctx = context()
    before = ctx.db.current_count()
    with pytest.raises(NotFound):
        await act.set_enabled(ctx, ME, "sender", "@a:b", True)
    with pytest.raises(InvalidParam):
        await act.set_actions(ctx, ME, "nonsense", "x", [])
    with pytest.raises(InvalidParam):
        await act.delete_rule(ctx, ME, "underride", ".m.rule.message")
    with pytest.raises(NotFound):
        await act.put_rule(ctx, ME, "sender", "@a:b", {"actions": []}, before="@c:d", after=None)
    assert ctx.db.current_count() == before
    assert rules.users_with_own(ctx.db) == frozenset()
