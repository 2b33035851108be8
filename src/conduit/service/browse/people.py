"""The user directory, and the rooms that two users share.

Somebody is found only by those who could meet them anyway: who shares a room with them, and everybody if they are in a room that anybody may
join or read. Names told are those of the profile; what somebody calls themselves in one private room stays there. Users of other servers without a compliant user id are not found.

Source: client-server API, "User Directory", "Mutual Rooms".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final

from conduit.database import trees
from conduit.database.cache import CacheSource
from conduit.protocol.errors import InvalidParam
from conduit.protocol.ids import RoomId, UserId, is_compliant, server_name_of
from conduit.service.context import Context
from conduit.service.rooms import directory, members, state, visibility
from conduit.service.users import accounts, profiles

Json = dict[str, Any]

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 100
MAX_CANDIDATES: Final = 10_000
MAX_ELSEWHERE: Final = 5_000
"""Members of other servers that are looked at for one search."""
MAX_PUBLISHED: Final = 500
"""Published rooms that are looked into for one search."""
STEP: Final = 100
ROOMS_A_PAGE: Final = 500

MAX_PIECE: Final = 64

_WORDS = re.compile(r"\w+")
_BATCH = re.compile(r"m([0-9]{1,9})", re.ASCII)


async def search(ctx: Context, seeker: UserId, term: str, limit: int) -> Json:
    """Return the users whose id or display name has a word beginning with each word of `term`; the closest first."""
    # Of a whole user id only the name counts.
    parts = [part.partition(":")[0] if part.startswith("@") else part for part in term.lower().split()]
    wanted = [piece[:MAX_PIECE] for part in parts for piece in _WORDS.findall(part)]
    if not wanted:
        return {"results": [], "limited": False}
    ranked: list[tuple[int, UserId, str | None]] = []
    for number, user_id in enumerate(_candidates(ctx.db, wanted)):
        name = profiles.displayname(ctx.db, user_id)
        exact = _exact(wanted, user_id, name)
        if exact is not None and _may_meet(ctx, seeker, user_id):
            ranked.append((-exact, user_id, name))
        if number % STEP == STEP - 1:
            await asyncio.sleep(0)
    found = {user_id for _, user_id, _ in ranked}
    avatars: dict[UserId, str] = {}
    async for user_id, name, avatar_url in _people_elsewhere(ctx, seeker):
        exact = None if user_id in found else _exact(wanted, user_id, name)
        if exact is not None:
            found.add(user_id)
            ranked.append((-exact, user_id, name))
            if avatar_url is not None:
                avatars[user_id] = avatar_url
    ranked.sort(key=lambda one: (one[0], one[2] is None, one[1]))
    results = [_result(ctx.db, user_id, name, avatars.get(user_id)) for _, user_id, name in ranked[:limit]]
    return {"results": results, "limited": len(ranked) > limit}


def _exact(wanted: list[str], user_id: UserId, name: str | None) -> int | None:
    """Return how many of the wanted pieces are whole words of the user's; `None` unless each begins one."""
    own = profiles.words(user_id, name)
    if not all(any(word.startswith(piece) for word in own) for piece in wanted):
        return None
    return sum(piece in own for piece in wanted)


async def _people_elsewhere(ctx: Context, seeker: UserId) -> AsyncIterator[tuple[UserId, str | None, str | None]]:
    """Return the users of other servers who share a room with the seeker, or are in a published one that anybody may enter or read.

    Name and avatar are those that they have there; small rooms come first. Their profiles are not kept here, so that nothing is known of them but what
    they have told in rooms. One may come more than once.
    """
    looked = 0
    for room_id in await _rooms_in_sight(ctx.db, seeker):
        if members.servers(ctx.db, room_id) == [ctx.server_name]:
            continue
        for member in members.joined(ctx.db, room_id):
            if server_name_of(member) == ctx.server_name or not is_compliant(member):
                continue
            looked += 1
            if looked > MAX_ELSEWHERE:
                return
            if looked % STEP == 0:
                await asyncio.sleep(0)
            event = state.current(ctx.db, room_id, "m.room.member", member)
            content = event.content if event is not None else {}
            yield member, _text(content.get("displayname")), _text(content.get("avatar_url"))


async def _rooms_in_sight(source: CacheSource, seeker: UserId) -> list[RoomId]:
    """Return the seeker's rooms, and then published ones that anybody may enter or read, each kind with the small ones first."""
    own: list[tuple[int, RoomId]] = []
    published: list[tuple[int, RoomId]] = []
    candidates = [*members.rooms(source, seeker), *directory.public_rooms(source)[:MAX_PUBLISHED]]
    for number, room_id in enumerate(candidates, 1):
        sized = (members.joined_count(source, room_id), room_id)
        if members.is_joined(source, room_id, seeker):
            own.append(sized)
        elif _is_open(source, room_id):
            published.append(sized)
        if number % STEP == 0:
            await asyncio.sleep(0)
    return list(dict.fromkeys(room_id for _, room_id in [*sorted(own), *sorted(published)]))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _candidates(source: CacheSource, wanted: list[str]) -> list[UserId]:
    """Return the users with a word that begins with the longest of those wanted, at most `MAX_CANDIDATES`."""
    longest = max(wanted, key=len)
    found: dict[UserId, None] = {}
    for _, user_id in trees.user_word.beginning(source, longest):
        if len(found) == MAX_CANDIDATES:
            break
        found[UserId(user_id)] = None
    return list(found)


def _may_meet(ctx: Context, seeker: UserId, user_id: UserId) -> bool:
    if server_name_of(user_id) == ctx.server_name and not accounts.is_active(ctx.db, user_id):
        return False
    # Everybody shares all their rooms with themselves; they find themselves where others could, too.
    if user_id != seeker and members.share_room(ctx.db, seeker, user_id):
        return True
    return any(_is_open(ctx.db, room_id) for room_id in members.rooms(ctx.db, user_id))


def _is_open(source: CacheSource, room_id: RoomId) -> bool:
    rules = state.current(source, room_id, "m.room.join_rules")
    if rules is not None and rules.content.get("join_rule") == "public":
        return True
    return visibility.is_world_readable(source, room_id)


def _result(source: CacheSource, user_id: UserId, name: str | None, avatar_url: str | None) -> Json:
    avatar_url = profiles.avatar_url(source, user_id) if avatar_url is None else avatar_url
    result: Json = {"user_id": user_id}
    if name is not None:
        result["display_name"] = name
    if avatar_url is not None:
        result["avatar_url"] = avatar_url
    return result


def mutual_rooms(source: CacheSource, one: UserId, other: UserId, batch: str | None) -> Json:
    """Return a page of the rooms that both users are in."""
    if one == other:
        raise InvalidParam("You cannot ask for the rooms that you share with yourself")
    match = None if batch is None else _BATCH.fullmatch(batch)
    if batch is not None and match is None:
        raise InvalidParam("Unknown pagination token")
    shared = sorted(members.shared_rooms(source, one, other))
    start = 0 if match is None else int(match[1])
    answer: Json = {"joined": shared[start : start + ROOMS_A_PAGE], "count": len(shared)}
    if len(shared) > start + ROOMS_A_PAGE:
        answer["next_batch"] = f"m{start + ROOMS_A_PAGE}"
    return answer
