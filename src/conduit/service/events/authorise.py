"""Whether an event of a local user may be sent: the room's auth rules, and what this server demands beyond them.

The rules themselves are `protocol.event_auth`; they are what every server must agree on. Here is what only the sender's own server decides: sound power
levels, real targets of redactions, one reaction of a kind, and the owner's settings.
"""

from __future__ import annotations

from typing import Any

from conduit.database.cache import CacheSource
from conduit.protocol import event_auth
from conduit.protocol import relations as rules
from conduit.protocol.canonical_json import dump
from conduit.protocol.errors import BadJson, BadRequest, DuplicateAnnotation, Forbidden, InvalidParam, NotFound
from conduit.protocol.event_format import check_new
from conduit.protocol.ids import EventId, RoomId, UserId, is_event_id, is_user_id, server_name_of
from conduit.protocol.pdu import Event
from conduit.protocol.power_levels import DEFAULTS
from conduit.service.context import Context
from conduit.service.rooms import relations, state, timeline
from conduit.service.users import accounts

MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")
UNREDACTABLE = frozenset({"m.room.create", "m.room.server_acl"})
"""Types whose redaction would break the room; no local user may ask for it."""


def authorise(source: CacheSource, event: Event) -> None:
    """Raise `Forbidden`, naming the rule in words, unless the room's current state allows the event."""
    room_id = event.room_id

    def current(event_type: str, state_key: str) -> Event | None:
        return state.current(source, room_id, event_type, state_key)

    event_auth.authorise(event, event.version, current)


def check_content(ctx: Context, event_type: str, state_key: str | None, content: Any) -> None:
    """Raise unless a client may send such content at all, whatever the room: `BadJson`, `TooLarge`, `InvalidParam` or `Forbidden`."""
    check_new(event_type, state_key, content)
    if event_type == "m.room.member" and state_key is not None:
        _check_member(state_key, content)
    elif event_type == "m.room.power_levels" and state_key is not None:
        _check_power_levels(content)
    elif event_type in ("m.room.encryption", "m.room.encrypted") and not ctx.config.allow_encryption:
        raise Forbidden("Encryption is switched off on this server")


def _check_member(state_key: str, content: dict[str, Any]) -> None:
    if not is_user_id(state_key):
        raise InvalidParam("The state key of m.room.member must be a user ID")
    membership = content.get("membership")
    if not isinstance(membership, str) or membership not in MEMBERSHIPS:
        raise BadJson("'membership' must be one of join, invite, knock, leave and ban")


def _check_power_levels(content: dict[str, Any]) -> None:
    # Strings are legal in old rooms, where other servers sent them; none is made here.
    for name in DEFAULTS:
        if type(content.get(name, 0)) is not int:
            raise BadJson(f"'{name}' must be an integer")
    for name in ("users", "events", "notifications"):
        levels = content.get(name, {})
        if not isinstance(levels, dict) or any(type(level) is not int for level in levels.values()):
            raise BadJson(f"'{name}' must be an object of integers")
    if not all(is_user_id(user_id) for user_id in content.get("users", {})):
        raise BadJson("The keys of 'users' must be user IDs")


def redaction_target(content: dict[str, Any], redacts: EventId | None) -> EventId:
    """Return the event that a redaction to be sent names, by its parameter or in its content; raises `BadJson` or `InvalidParam`."""
    target = redacts if redacts is not None else content.get("redacts")
    if not isinstance(target, str):
        raise BadJson("A redaction must name the event that it redacts")
    if not is_event_id(target):
        raise InvalidParam("'redacts' must be an event ID")
    return EventId(target)


def check_redaction(source: CacheSource, room_id: RoomId, sender: UserId, target_id: EventId) -> None:
    """Raise unless `sender` may redact the event: their own, with the room's power to redact any, as an administrator of this server those of its users.

    Stricter than what is accepted from other servers, where every user of the sender's server would do.
    """
    target = timeline.event(source, target_id)
    if target is not None:
        if target.room_id != room_id:
            raise BadRequest("The event is in another room")
        if target.type in UNREDACTABLE:
            raise Forbidden(f"{target.type} cannot be redacted")
    levels = state.power_levels(source, room_id)
    if levels.user(sender) >= levels.redact:
        return
    if target is None:
        raise NotFound("There is no such event")
    if target.sender != sender and not (
        accounts.is_admin(source, sender) and target.server_name == server_name_of(sender)
    ):
        raise Forbidden("Your power level does not suffice to redact others' events")


def check_relation(source: CacheSource, event_type: str, sender: UserId, content: dict[str, Any]) -> None:
    """Raise `DuplicateAnnotation` for a reaction that the sender has made already."""
    relation = rules.relation_of(content)
    if relation is None or relation.rel_type != rules.ANNOTATION or relation.key is None:
        return
    if relations.has_annotated(source, relation.event_id, event_type, relation.key, sender):
        raise DuplicateAnnotation("You have reacted in this way already")


def is_current(
    source: CacheSource, room_id: RoomId, sender: UserId, event_type: str, state_key: str, content: dict[str, Any]
) -> Event | None:
    """Return the current event of a state key if sending this content would only repeat it, else `None`."""
    known = state.current(source, room_id, event_type, state_key)
    if known is None or known.sender != sender or dump(known.content) != dump(content):
        return None
    return known
