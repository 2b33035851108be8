"""Who is meant by the user identifier of a login. Source: client-server API, "Identifier types"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol.errors import BadJson, InvalidParam, MissingParam
from conduit.protocol.ids import ServerName, UserId, is_user_id, server_name_of
from conduit.service.users import accounts


def resolve(source: CacheSource, server_name: ServerName, body: Mapping[str, Any]) -> UserId | None:
    """Return the user whom `body` names by `identifier` or by the deprecated `user` or `medium` and `address`.

    `None` stands for nobody whom this server could know: a third-party identifier (none can be bound here yet) or a user of another
    server. The user returned need not exist. Raises `MissingParam`, `BadJson` or `InvalidParam` if nobody is named.
    """
    identifier = body.get("identifier")
    if identifier is None:
        if isinstance(body.get("user"), str):
            return local_user(source, server_name, body["user"])
        if isinstance(body.get("address"), str):
            return None
        raise MissingParam("Missing required field 'identifier'")
    if not isinstance(identifier, dict):
        raise BadJson("'identifier' must be an object")
    kind = identifier.get("type")
    if kind == "m.id.user":
        return local_user(source, server_name, _text(identifier, "user"))
    if kind == "m.id.thirdparty" or (kind is None and "medium" in identifier):
        _text(identifier, "medium")
        _text(identifier, "address")
        return None
    if kind == "m.id.phone":
        _text(identifier, "country")
        # Older clients say `number`.
        _text(identifier, "phone" if "phone" in identifier else "number")
        return None
    raise InvalidParam("Unknown type of identifier")


def local_user(source: CacheSource, server_name: ServerName, name: str) -> UserId | None:
    """Return the user whom a full id or a localpart names, in lower case unless that very spelling exists."""
    if name.startswith("@") and ":" in name:
        if not is_user_id(name) or server_name_of(name) != server_name:
            return None
        user_id = name
    else:
        user_id = f"@{name.removeprefix('@')}:{server_name}"
        if not is_user_id(user_id):
            return None
    if accounts.exists(source, user_id):
        return UserId(user_id)
    return UserId(user_id.lower())


def _text(identifier: Mapping[str, Any], name: str) -> str:
    value = identifier.get(name)
    if value is None:
        raise MissingParam(f"Missing required field 'identifier.{name}'")
    if not isinstance(value, str):
        raise BadJson(f"'identifier.{name}' must be a string")
    return value
