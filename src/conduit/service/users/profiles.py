"""Profiles: display name, avatar and further fields, and the words by which the user directory finds people.

Source: client-server API, "Profiles"; appendices, "Common Namespaced Identifier Grammar".
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.database.database import Batch
from conduit.protocol.errors import BadJson, InvalidParam, KeyTooLarge, ProfileTooLarge
from conduit.protocol.ids import UserId, localpart_of, parse_mxc

MAX_PROFILE_BYTES = 64 * 1024
MAX_KEY_BYTES = 255
MAX_NAME_LENGTH = 256
MAX_URL_LENGTH = 1000

DISPLAYNAME = "displayname"
AVATAR_URL = "avatar_url"
BLURHASH = "xyz.amorgan.blurhash"
"""Conduit stores the avatar's blurhash under this name of MSC2448; it is shown if it is there."""


class _Removed:
    """See `REMOVED`."""


REMOVED = _Removed()
"""Stands for the value of a field that is to go; `None` is a value that clients may store."""

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+", re.ASCII)
_WORD = re.compile(r"\w+")
_MAX_WORDS = 20
_MAX_WORD_LENGTH = 64


def displayname(source: CacheSource, user_id: str) -> str | None:
    """Return the display name, or `None`."""
    return trees.userid_displayname.get(source, user_id) or None


def avatar_url(source: CacheSource, user_id: str) -> str | None:
    """Return the `mxc://` URI of the avatar, or `None`."""
    return trees.userid_avatarurl.get(source, user_id) or None


def member_fields(source: CacheSource, user_id: str) -> dict[str, str]:
    """Return what a membership event of the user says of the profile; absent fields are left out."""
    fields = {DISPLAYNAME: displayname(source, user_id), AVATAR_URL: avatar_url(source, user_id)}
    return {name: value for name, value in fields.items() if value is not None}


def get(source: CacheSource, user_id: str) -> dict[str, Any]:
    """Return the whole profile; empty if nothing is set."""
    profile: dict[str, Any] = dict(member_fields(source, user_id))
    blurhash = trees.userid_blurhash.get(source, user_id)
    if blurhash:
        profile[BLURHASH] = blurhash
    for (_, name), value in trees.profile_field.scan(source, (user_id,)):
        profile[name] = value
    return profile


def check_field_name(name: str) -> None:
    """Raise `KeyTooLarge` or `InvalidParam` unless `name` can be a field of a profile."""
    if len(name.encode()) > MAX_KEY_BYTES:
        raise KeyTooLarge(f"The name of a profile field may have {MAX_KEY_BYTES} bytes")
    if name not in (DISPLAYNAME, AVATAR_URL) and not _FIELD_NAME.fullmatch(name):
        raise InvalidParam("Not a valid name of a profile field")


def check_value(name: str, value: Any) -> None:
    """Raise `BadJson` or `InvalidParam` unless `value` can be set for the field `name`."""
    if name == DISPLAYNAME:
        if not isinstance(value, str):
            raise BadJson("'displayname' must be a string")
        if len(value) > MAX_NAME_LENGTH or "\0" in value:
            raise InvalidParam(f"A display name may have {MAX_NAME_LENGTH} characters")
    elif name == AVATAR_URL:
        if not isinstance(value, str):
            raise BadJson("'avatar_url' must be a string")
        if len(value) > MAX_URL_LENGTH:
            raise InvalidParam(f"An avatar URL may have {MAX_URL_LENGTH} characters")
        if value:
            parse_mxc(value)
    elif name == "m.tz" and not isinstance(value, str):
        raise BadJson("'m.tz' must be a string")


def set_field(batch: Batch, user_id: UserId, name: str, value: Any) -> None:
    """Set a checked field. `REMOVED`, or an empty display name or avatar, removes it. Raises `ProfileTooLarge` beyond 64 KiB."""
    if value is REMOVED:
        delete_field(batch, user_id, name)
    elif name == DISPLAYNAME:
        set_displayname(batch, user_id, value)
    elif name == AVATAR_URL:
        if value:
            trees.userid_avatarurl.put(batch, user_id, value)
        else:
            trees.userid_avatarurl.delete(batch, user_id)
        # The blurhash was that of the old picture.
        trees.userid_blurhash.delete(batch, user_id)
    else:
        trees.profile_field.put(batch, (user_id, name), value)
    if len(orjson.dumps(get(batch, user_id))) > MAX_PROFILE_BYTES:
        raise ProfileTooLarge("The profile would exceed 64 KiB")


def delete_field(batch: Batch, user_id: UserId, name: str) -> None:
    """Remove a field, if it is there."""
    if name in (DISPLAYNAME, AVATAR_URL):
        set_field(batch, user_id, name, "")
    else:
        trees.profile_field.delete(batch, (user_id, name))


def set_displayname(batch: Batch, user_id: UserId, name: str) -> None:
    """Set the display name (empty removes it) and the words by which the user is found."""
    before = words(user_id, displayname(batch, user_id))
    if name:
        trees.userid_displayname.put(batch, user_id, name)
    else:
        trees.userid_displayname.delete(batch, user_id)
    after = words(user_id, name)
    for word in before - after:
        trees.user_word.delete(batch, (word, user_id))
    for word in after:
        trees.user_word.put(batch, (word, user_id), True)


def delete(batch: Batch, user_id: UserId) -> None:
    """Remove the whole profile and the user from the directory."""
    for word in words(user_id, displayname(batch, user_id)):
        trees.user_word.delete(batch, (word, user_id))
    for tree in (trees.userid_displayname, trees.userid_avatarurl, trees.userid_blurhash):
        tree.delete(batch, user_id)
    trees.profile_field.delete_prefix(batch, (user_id,))


def words(user_id: str, name: str | None) -> set[str]:
    """Return the lower-cased words by which a user is found: those of the localpart and of the display name."""
    localpart = localpart_of(user_id).lower()
    found = [localpart, *_WORD.findall(localpart)]
    if name:
        found += _WORD.findall(name.lower())
    return {word[:_MAX_WORD_LENGTH] for word in found[:_MAX_WORDS] if word}
