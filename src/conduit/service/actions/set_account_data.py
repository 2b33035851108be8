"""Set and read account data and tags. Source: client-server API, "Client Config", "Room Tagging"."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadJson, InvalidParam, MatrixError
from conduit.protocol.ids import RoomId, UserId
from conduit.service import account_data
from conduit.service.context import Context
from conduit.service.push import rules

TAGS = "m.tag"
MANAGED = frozenset({"m.fully_read", rules.TYPE})
"""Types that have endpoints of their own."""
MAX_TYPE_BYTES = 255
MAX_TAG_BYTES = 255


class ManagedByServer(MatrixError):
    """The type of account data is set by other endpoints."""

    errcode = "M_BAD_JSON"
    default_status = 405


def check_type(event_type: str) -> None:
    """Raise `InvalidParam` for a type that cannot be stored."""
    if not event_type or "\0" in event_type or len(event_type.encode("utf-8", "surrogatepass")) > MAX_TYPE_BYTES:
        raise InvalidParam(f"A type of account data holds 1 to {MAX_TYPE_BYTES} bytes")


async def set_account_data(
    ctx: Context, user_id: UserId, room_id: RoomId | str, event_type: str, content: dict[str, Any]
) -> None:
    """Set one item, of a room or (`""`) globally. Raises `InvalidParam`, `BadJson`, or 405 for what the server manages."""
    check_type(event_type)
    if event_type in MANAGED:
        raise ManagedByServer(f"Cannot set {event_type} through this API")
    if event_type == account_data.IGNORED and not room_id:
        _check_ignored(content)
    with ctx.db.batch() as batch:
        account_data.put(batch, user_id, room_id, event_type, content)


def get_account_data(ctx: Context, user_id: UserId, room_id: RoomId | str, event_type: str) -> dict[str, Any] | None:
    """Return the content of one item, or `None`. Push rules are there from the first."""
    if event_type == rules.TYPE and not room_id:
        return rules.content(ctx.db, user_id)
    return account_data.get(ctx.db, user_id, room_id, event_type)


def _check_ignored(content: dict[str, Any]) -> None:
    # Whom the list names is up to the client, also where that is nobody: a name of no use must not keep others from being added.
    if not isinstance(content.get("ignored_users", {}), dict):
        raise BadJson("ignored_users must be an object of user IDs")


def tags(ctx: Context, user_id: UserId, room_id: RoomId) -> dict[str, Any]:
    """Return the user's tags of a room, name -> its data."""
    content = account_data.get(ctx.db, user_id, room_id, TAGS) or {}
    found = content.get("tags")
    return found if isinstance(found, dict) else {}


async def set_tag(ctx: Context, user_id: UserId, room_id: RoomId, tag: str, data: dict[str, Any]) -> None:
    """Add a tag to a room, or replace its data. Raises `InvalidParam`, `BadJson`."""
    if not tag or "\0" in tag or len(tag.encode("utf-8", "surrogatepass")) > MAX_TAG_BYTES:
        raise InvalidParam(f"A tag holds 1 to {MAX_TAG_BYTES} bytes")
    order = data.get("order")
    if order is not None and (isinstance(order, bool) or not isinstance(order, int | float) or not 0 <= order <= 1):
        raise BadJson("'order' must be a number between 0 and 1")
    with ctx.db.batch() as batch:
        content = {"tags": {**tags(ctx, user_id, room_id), tag: data}}
        account_data.put(batch, user_id, room_id, TAGS, content)


async def remove_tag(ctx: Context, user_id: UserId, room_id: RoomId, tag: str) -> None:
    """Remove a tag from a room; one that is not there is no error."""
    known = tags(ctx, user_id, room_id)
    if tag not in known:
        return
    with ctx.db.batch() as batch:
        rest = {name: data for name, data in known.items() if name != tag}
        account_data.put(batch, user_id, room_id, TAGS, {"tags": rest})
