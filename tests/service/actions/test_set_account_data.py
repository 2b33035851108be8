"""Setting account data and tags: what may be stored."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.protocol.errors import BadJson, InvalidParam, MatrixError
from conduit.protocol.ids import RoomId
from conduit.service import account_data
from conduit.service.actions.set_account_data import (
    ManagedByServer,
    check_type,
    remove_tag,
    set_account_data,
    set_tag,
    tags,
)
from conduit.service.context import Context
from tests.support.rooms import ALICE, BOB, context

ROOM = RoomId("!r:localhost")


@pytest.fixture
def ctx() -> Context:
    """An empty server."""
    return context()


@pytest.mark.parametrize("event_type", ["", "a\0b", "x" * 256, "é" * 128])
def test_types_that_cannot_be_stored_are_refused(event_type: str) -> None:
    """By length in bytes, and for the separator of our rows."""
    with pytest.raises(InvalidParam):
        check_type(event_type)
    check_type("é" * 127)


@pytest.mark.parametrize("room_id", ["", ROOM])
@pytest.mark.parametrize("event_type", ["m.push_rules", "m.fully_read"])
async def test_what_the_server_manages_is_refused(ctx: Context, room_id: str, event_type: str) -> None:
    """With 405, for a room as well."""
    with pytest.raises(ManagedByServer) as refused:
        await set_account_data(ctx, ALICE, room_id, event_type, {})
    assert refused.value.status == 405
    assert account_data.get(ctx.db, ALICE, room_id, event_type) is None


@pytest.mark.parametrize("content", [{"ignored_users": [BOB]}, {"ignored_users": None}, {"ignored_users": BOB}])
async def test_list_of_ignored_users_must_be_an_object(ctx: Context, content: dict[str, Any]) -> None:
    """The server itself reads it; in a room it means nothing, and may be anything."""
    with pytest.raises(BadJson):
        await set_account_data(ctx, ALICE, "", "m.ignored_user_list", content)
    await set_account_data(ctx, ALICE, ROOM, "m.ignored_user_list", content)
    await set_account_data(ctx, ALICE, "", "m.ignored_user_list", {"ignored_users": {BOB: {}}})
    assert set(account_data.ignored_users(ctx.db, ALICE)) == {BOB}


@pytest.mark.parametrize("content", [{}, {"ignored_users": {}}, {"ignored_users": {"bob": {}}}])
async def test_list_of_ignored_users_may_name_nobody(ctx: Context, content: dict[str, Any]) -> None:
    """Clients that know no other way remove an item by making it empty."""
    await set_account_data(ctx, ALICE, "", "m.ignored_user_list", {"ignored_users": {BOB: {}}})
    await set_account_data(ctx, ALICE, "", "m.ignored_user_list", content)
    assert BOB not in account_data.ignored_users(ctx.db, ALICE)


async def test_tags_are_added_replaced_and_removed(ctx: Context) -> None:
    """Each for itself; removing one that is not there is no news."""
    await set_tag(ctx, ALICE, ROOM, "m.favourite", {"order": 0.25})
    await set_tag(ctx, ALICE, ROOM, "u.work", {"order": 1, "more": "kept"})
    await set_tag(ctx, ALICE, ROOM, "m.favourite", {})
    assert tags(ctx, ALICE, ROOM) == {"m.favourite": {}, "u.work": {"order": 1, "more": "kept"}}
    assert tags(ctx, BOB, ROOM) == {}
    await remove_tag(ctx, ALICE, ROOM, "u.work")
    count = ctx.db.current_count()
    await remove_tag(ctx, ALICE, ROOM, "u.work")
    assert ctx.db.current_count() == count
    assert account_data.get(ctx.db, ALICE, ROOM, "m.tag") == {"tags": {"m.favourite": {}}}


@pytest.mark.parametrize(
    ("tag", "data", "error"),
    [
        ("", {}, InvalidParam),
        ("a\0b", {}, InvalidParam),
        ("é" * 128, {}, InvalidParam),
        ("a", {"order": 1.01}, BadJson),
        ("a", {"order": -0.1}, BadJson),
        ("a", {"order": "0.5"}, BadJson),
        ("a", {"order": True}, BadJson),
    ],
)
async def test_malformed_tags_are_refused(
    ctx: Context, tag: str, data: dict[str, Any], error: type[MatrixError]
) -> None:
    """And nothing is stored of them."""
    with pytest.raises(error):
        await set_tag(ctx, ALICE, ROOM, tag, data)
    assert tags(ctx, ALICE, ROOM) == {}


async def test_tags_of_any_content_are_read(ctx: Context) -> None:
    """A client may have stored something else under that type."""
    await set_account_data(ctx, ALICE, ROOM, "m.tag", {"tags": []})
    assert tags(ctx, ALICE, ROOM) == {}
    await set_tag(ctx, ALICE, ROOM, "a", {})
    assert tags(ctx, ALICE, ROOM) == {"a": {}}
