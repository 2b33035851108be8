"""The core of a large room: of a whole answer to a join what is needed to be in the room, so that the rest can be seen to afterwards.

A server that was asked to leave members out and does not do so answers with tens of thousands of events, and to check them takes many seconds. Here we leave the members out
ourselves: what remains is just what an answer without them holds, and passes the same checks; from then on the room is one that was joined fast.

Source: server-server API, `omit_members` of `send_join`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator
from typing import Any

from conduit.protocol.ids import is_user_id, server_name_of
from conduit.protocol.json_pieces import pieces
from conduit.protocol.pdu import Event

STEP = 250
"""How many events are looked at between two chances for others to run."""
MEMBER = "m.room.member"
MAX_EVENTS = 200_000
"""In an answer with more events no core is looked for: what is noted of each until the end of the answer would take more memory than the answer itself."""
SHOWN = 6
"""Of so many of those in the room the membership is taken as well: a room without a name is called after them."""

Parts = Iterator[tuple[str, Any]]


class _Members:
    """The memberships that an answer tells, by whom they are about: where they stand in it, and on whom else they stand."""

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[int, str, Any]]] = {}
        self.count = 0
        self.joined: list[str] = []
        self.servers: dict[str, None] = {}

    def add(self, place: int, pdu: dict[str, Any], *, current: bool) -> None:
        """Take note of a membership; `current` says that it is part of the state."""
        user_id, content = pdu["state_key"], pdu.get("content")
        content = content if isinstance(content, dict) else {}
        self._places.setdefault(user_id, []).append(
            (place, pdu.get("sender", ""), content.get("join_authorised_via_users_server"))
        )
        self.count += 1
        if current and content.get("membership") == "join" and is_user_id(user_id):
            self.servers[server_name_of(user_id)] = None
            if len(self.joined) < SHOWN:
                self.joined.append(user_id)

    def of(self, users: set[str]) -> set[int]:
        """Return the places of the memberships of the users, of those who gave them these, and so on."""
        places: set[int] = set()
        waiting, seen = list(users), set(users)
        while waiting:
            for place, *others in self._places.get(waiting.pop(), ()):
                places.add(place)
                further = {user for user in others if isinstance(user, str)} - seen
                seen |= further
                waiting += further
        return places


async def parts_of(body: bytes, arrays: Container[str], join: Event) -> list[tuple[str, Any]] | None:
    """Return of the pieces of a whole answer to `join` (`json_pieces.pieces`) those of the core, marked as lacking members.

    `None` if the answer lacks members already, too few would be left out to matter, or it holds more than any room should. Raises as `pieces` does. Nothing is checked: the pieces are
    as good as those of any answer.
    """
    members = _Members()
    users: set[str] = {join.sender}
    others: set[int] = set()
    place = 0
    for place, (key, value) in enumerate(pieces(body, arrays), 1):
        if (key == "members_omitted" and value is True) or place > MAX_EVENTS:
            return None
        if key in arrays and _is_membership(value):
            members.add(place, value, current=key == "state")
        else:
            others.add(place)
            if key in arrays and isinstance(value, dict) and isinstance(value.get("sender"), str):
                users.add(value["sender"])
        if place % STEP == 0:
            await asyncio.sleep(0)
    voucher = join.content.get("join_authorised_via_users_server")
    users.update(members.joined, [voucher] if isinstance(voucher, str) else [])
    chosen = others | members.of(users)
    if 2 * len(chosen) > place:
        return None
    found = await _at(body, arrays, chosen)
    return [*found, ("members_omitted", True), ("servers_in_room", list(members.servers))]


def _is_membership(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == MEMBER and isinstance(value.get("state_key"), str)


async def _at(body: bytes, arrays: Container[str], places: Container[int]) -> list[tuple[str, Any]]:
    found = []
    for place, piece in enumerate(pieces(body, arrays), 1):
        if place in places:
            found.append(piece)
        if place % STEP == 0:
            await asyncio.sleep(0)
    return found
