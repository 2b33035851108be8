"""How often a caller may ask."""

from __future__ import annotations

from enum import Enum


class Limit(Enum):
    """The classes of requests that are counted together; each has a rate in `[global.rate_limits]`."""

    NONE = "none"
    LOGIN = "login"
    REGISTRATION = "registration"
    MESSAGE = "message"
    JOIN = "join"
    INVITE = "invite"
    CREATE_ROOM = "create_room"
    CHATTY = "chatty"
    MEDIA = "media"
    KEY_UPLOAD = "key_upload"
    SEARCH = "search"
