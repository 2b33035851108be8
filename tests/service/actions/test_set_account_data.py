"""Account data and tags as acts."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidParam
from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.actions import set_account_data as act
from tests.support.rooms import context

ME, ROOM = UserId("@me:localhost"), RoomId("!room:localhost")


@pytest.mark.parametrize("event_type", ["", "a\0b", "x" * 256, "ä" * 128])
async def test_types_that_cannot_be_stored_are_refused(event_type: str) -> None:
    """A type holds 1 to 255 bytes and no NUL."""
    ctx = context()
    with pytest.raises(InvalidParam):
        await act.set_account_data(ctx, ME, "", event_type, {})
    assert account_data.all_of(ctx.db, ME, "") == {}


@pytest.mark.parametrize("event_type", ["m.fully_read", "m.push_rules"])
async def test_what_the_server_manages_is_refused(event_type: str) -> None:
    """These types have endpoints of their own: 405."""
    with pytest.raises(act.ManagedByServer) as refused:
        await act.set_account_data(context(), ME, ROOM, event_type, {})
    assert refused.value.status == 405


async def test_ignored_users_are_checked_globally_only() -> None:
    """Only the global list means anything, so only that has a form."""
    ctx = context()
    with pytest.raises(BadJson):
        await act.set_account_data(ctx, ME, "", "m.ignored_user_list", {"ignored_users": {"nobody": {}}})
    await act.set_account_data(ctx, ME, ROOM, "m.ignored_user_list", {"anything": 1})
    await act.set_account_data(ctx, ME, "", "m.ignored_user_list", {"ignored_users": {"@a:b": {}}})


async def test_tags_keep_each_other() -> None:
    """Setting one tag leaves the others, removing an absent one writes nothing."""
    ctx = context()
    await act.set_tag(ctx, ME, ROOM, "u.a", {"order": 1})
    await act.set_tag(ctx, ME, ROOM, "u.b", {})
    assert act.tags(ctx, ME, ROOM) == {"u.a": {"order": 1}, "u.b": {}}
    before = ctx.db.current_count()
    await act.remove_tag(ctx, ME, ROOM, "u.none")
    assert ctx.db.current_count() == before
    await act.remove_tag(ctx, ME, ROOM, "u.a")
    assert act.tags(ctx, ME, ROOM) == {"u.b": {}}


@pytest.mark.parametrize(("tag", "data"), [("", {}), ("x" * 256, {}), ("u.a", {"order": 2}), ("u.a", {"order": None})])
async def test_tags_have_a_form(tag: str, data: dict[str, Any]) -> None:
    """Names are bounded, orders lie from 0 to 1; `null` is no order."""
    ctx = context()
    if data == {"order": None}:
        await act.set_tag(ctx, ME, ROOM, tag, data)
        return
    with pytest.raises((InvalidParam, BadJson)):
        await act.set_tag(ctx, ME, ROOM, tag, data)
    assert act.tags(ctx, ME, ROOM) == {}
