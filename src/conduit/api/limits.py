"""How often a caller may ask."""

from __future__ import annotations

from enum import Enum


class Limit(Enum):
    """The classes of requests that are counted together; each has a rate in `[global.rate_limits]`."""

    NONE = "none"
    MESSAGE = "message"
    CHATTY = "chatty"
    READ = "read"
    SEARCH = "search"
    JOIN = "join"
    INVITE = "invite"
    CREATE_ROOM = "create_room"
    UPLOAD = "upload"
    LOGIN = "login"
    REGISTRATION = "registration"
    MEDIA = "upload"
    KEY_UPLOAD = "chatty"
