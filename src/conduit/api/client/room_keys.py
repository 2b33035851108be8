"""Server-side key backups. Source: client-server API, "Server-side key backups"."""

from __future__ import annotations

from typing import Any

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.api.web import Auth, Limit, Routes
from conduit.protocol.errors import BadJson, InvalidParam, NotFound
from conduit.protocol.ids import parse_opaque
from conduit.service.context import Context
from conduit.service.keys import backups

routes = Routes()

MAX_BODY = 32 << 20
"""A client uploads its keys in chunks of some hundred; the general limit of a JSON body would refuse larger chunks."""


def _paths(rest: str) -> tuple[str, str]:
    """Return today's path, and that from before backups were specified, which clients still call."""
    return f"/_matrix/client/v3/room_keys{rest}", f"/_matrix/client/unstable/room_keys{rest}"


@routes.post(*_paths("/version"), auth=Auth.USER, limit=Limit.CHATTY)
async def create_version(ctx: Context, req: Request) -> Json:
    """Start a new backup version. POST /room_keys/version."""
    body = req.json()
    algorithm, auth_data = fields.text(body, "algorithm"), backups.parse_auth_data(body)
    with ctx.db.batch() as batch:
        return {"version": backups.create(batch, req.user_id, algorithm, auth_data)}


@routes.get(*_paths("/version"), auth=Auth.USER)
async def get_current_version(ctx: Context, req: Request) -> Json:
    """Describe the current backup version. GET /room_keys/version."""
    return backups.describe(ctx.db, req.user_id, None)


@routes.get(*_paths("/version/{version}"), auth=Auth.USER)
async def get_version(ctx: Context, req: Request) -> Json:
    """Describe a backup version. GET /room_keys/version/{version}."""
    return backups.describe(ctx.db, req.user_id, req.params["version"])


@routes.put(*_paths("/version/{version}"), auth=Auth.USER, limit=Limit.CHATTY)
async def put_version(ctx: Context, req: Request) -> Json:
    """Replace the auth_data of a version. PUT /room_keys/version/{version}."""
    body, version = req.json(), req.params["version"]
    algorithm, auth_data = fields.text(body, "algorithm"), backups.parse_auth_data(body)
    if fields.text(body, "version", version) != version:
        raise InvalidParam("The version in the body does not match the one in the path")
    with ctx.db.batch() as batch:
        backups.set_auth_data(batch, req.user_id, version, algorithm, auth_data)
    return {}


@routes.delete(*_paths("/version/{version}"), auth=Auth.USER, limit=Limit.CHATTY)
async def delete_version(ctx: Context, req: Request) -> Json:
    """Remove a version with its keys. DELETE /room_keys/version/{version}."""
    with ctx.db.batch() as batch:
        backups.delete_version(batch, req.user_id, req.params["version"])
    return {}


def _version(req: Request) -> str:
    return req.query.required("version")


def _room_id(text: str) -> str:
    # A name like that of the session: the keys may be of rooms that this server has never heard of.
    return parse_opaque(text, "room ID")


def _target(req: Request) -> tuple[str | None, str | None]:
    room_id, session_id = req.params.get("roomId"), req.params.get("sessionId")
    return (
        None if room_id is None else _room_id(room_id),
        None if session_id is None else parse_opaque(session_id, "sessionId"),
    )


def _sessions(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not isinstance(value.get("sessions"), dict):
        raise BadJson("'sessions' must be an object")
    return {parse_opaque(name, "session id"): backups.parse_key(key) for name, key in value["sessions"].items()}


def _put(ctx: Context, req: Request, rooms: backups.Rooms) -> Json:
    with ctx.db.batch() as batch:
        return backups.put_keys(batch, req.user_id, _version(req), rooms)


@routes.put(*_paths("/keys"), auth=Auth.USER, limit=Limit.CHATTY, max_body=MAX_BODY)
async def put_keys(ctx: Context, req: Request) -> Json:
    """Store keys of several rooms. PUT /room_keys/keys."""
    rooms = fields.obj(req.json(), "rooms")
    return _put(ctx, req, {_room_id(room_id): _sessions(value) for room_id, value in rooms.items()})


@routes.put(*_paths("/keys/{roomId}"), auth=Auth.USER, limit=Limit.CHATTY, max_body=MAX_BODY)
async def put_room_keys(ctx: Context, req: Request) -> Json:
    """Store keys of one room. PUT /room_keys/keys/{roomId}."""
    return _put(ctx, req, {_room_id(req.params["roomId"]): _sessions(req.json())})


@routes.put(*_paths("/keys/{roomId}/{sessionId}"), auth=Auth.USER, limit=Limit.CHATTY)
async def put_session_key(ctx: Context, req: Request) -> Json:
    """Store the key of one session. PUT /room_keys/keys/{roomId}/{sessionId}."""
    session_id = parse_opaque(req.params["sessionId"], "sessionId")
    return _put(ctx, req, {_room_id(req.params["roomId"]): {session_id: backups.parse_key(req.json())}})


@routes.get(*_paths("/keys"), auth=Auth.USER)
async def get_keys(ctx: Context, req: Request) -> Json:
    """Return all keys of a version. GET /room_keys/keys."""
    rooms = backups.keys(ctx.db, req.user_id, _version(req))
    return {"rooms": {room_id: {"sessions": sessions} for room_id, sessions in rooms.items()}}


@routes.get(*_paths("/keys/{roomId}"), auth=Auth.USER)
async def get_room_keys(ctx: Context, req: Request) -> Json:
    """Return the keys of one room; none is an empty object. GET /room_keys/keys/{roomId}."""
    room_id, _ = _target(req)
    return {"sessions": backups.keys(ctx.db, req.user_id, _version(req), room_id).get(room_id or "", {})}


@routes.get(*_paths("/keys/{roomId}/{sessionId}"), auth=Auth.USER)
async def get_session_key(ctx: Context, req: Request) -> Json:
    """Return the key of one session, or M_NOT_FOUND. GET /room_keys/keys/{roomId}/{sessionId}."""
    room_id, session_id = _target(req)
    found = backups.keys(ctx.db, req.user_id, _version(req), room_id, session_id)
    if not found:
        raise NotFound("No key of this session is stored")
    key: Json = found[room_id or ""][session_id or ""]
    return key


@routes.delete(
    *_paths("/keys"),
    *_paths("/keys/{roomId}"),
    *_paths("/keys/{roomId}/{sessionId}"),
    auth=Auth.USER,
    limit=Limit.CHATTY,
)
async def delete_keys(ctx: Context, req: Request) -> Json:
    """Remove the keys of a version, a room or a session. DELETE /room_keys/keys[/{roomId}[/{sessionId}]]."""
    room_id, session_id = _target(req)
    with ctx.db.batch() as batch:
        return backups.delete_keys(batch, req.user_id, _version(req), room_id, session_id)
