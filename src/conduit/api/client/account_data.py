"""Account data and tags. Source: client-server API, "Client Config", "Room Tagging"."""

from __future__ import annotations

from conduit.api.request import Json, Request
from conduit.api.web import Limit, Reply, Routes
from conduit.protocol.errors import Forbidden, NotFound
from conduit.protocol.ids import RoomId, parse_room_id
from conduit.service.actions import set_account_data as action
from conduit.service.context import Context

routes = Routes()

_GLOBAL = "/_matrix/client/v3/user/{userId}/account_data/{type}"
_ROOM = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}"
_TAGS = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags"


def _check_own(req: Request) -> None:
    if req.params["userId"] != req.user_id:
        raise Forbidden("Account data belongs to its user alone")


def _room(req: Request) -> RoomId | str:
    return parse_room_id(req.params["roomId"]) if "roomId" in req.params else ""


@routes.put(_GLOBAL, _ROOM, limit=Limit.CHATTY)
async def put_account_data(ctx: Context, req: Request) -> Json:
    """Set account data, globally or for a room. PUT /user/{userId}/[rooms/{roomId}/]account_data/{type}."""
    _check_own(req)
    await action.set_account_data(ctx, req.user_id, _room(req), req.params["type"], req.json())
    return {}


@routes.get(_GLOBAL, _ROOM)
async def get_account_data(ctx: Context, req: Request) -> Reply:
    """Return account data, or M_NOT_FOUND. GET /user/{userId}/[rooms/{roomId}/]account_data/{type}."""
    _check_own(req)
    content = action.get_account_data(ctx, req.user_id, _room(req), req.params["type"])
    if content is None:
        raise NotFound("No such account data")
    return Reply(content)


@routes.get(_TAGS)
async def get_tags(ctx: Context, req: Request) -> Json:
    """Return the tags of a room. GET /user/{userId}/rooms/{roomId}/tags."""
    _check_own(req)
    return {"tags": action.tags(ctx, req.user_id, parse_room_id(req.params["roomId"]))}


@routes.put(_TAGS + "/{tag}", limit=Limit.CHATTY)
async def put_tag(ctx: Context, req: Request) -> Json:
    """Add a tag to a room. PUT /user/{userId}/rooms/{roomId}/tags/{tag}."""
    _check_own(req)
    room_id = parse_room_id(req.params["roomId"])
    await action.set_tag(ctx, req.user_id, room_id, req.params["tag"], req.json(optional=True))
    return {}


@routes.delete(_TAGS + "/{tag}", limit=Limit.CHATTY)
async def delete_tag(ctx: Context, req: Request) -> Json:
    """Remove a tag from a room. DELETE /user/{userId}/rooms/{roomId}/tags/{tag}."""
    _check_own(req)
    await action.remove_tag(ctx, req.user_id, parse_room_id(req.params["roomId"]), req.params["tag"])
    return {}
