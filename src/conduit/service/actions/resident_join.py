"""What a server learns of a room when it has joined it: the state before the join, and the events that authorise all of it.

Both may be tens of thousands of events, so the answer is made piece by piece, from bytes as they are stored.

Source: server-server API, `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import islice

import orjson

from conduit.database.cache import CacheSource
from conduit.protocol.errors import NotFound
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.protocol.pdu import Event
from conduit.service.context import Context
from conduit.service.rooms import federated, members, short_ids, state

MAX_HEROES = 5
_LOOKED_AT = 100
"""Among how many members those are looked for by whom a room without a name is named."""
_STEP = 2000


async def answer(ctx: Context, event: Event, *, omit_members: bool | None) -> AsyncIterator[bytes]:
    """Return the pieces of the answer to an accepted `send_join`.

    With `omit_members` memberships are left out but for those that matter to the newcomer; `None` is for the first form of the answer, which does not say whether they were.

    Raises `NotFound` if the state before the event is not known.
    """
    source = ctx.db
    before = state.before(source, event.event_id)
    short = short_ids.short_event(source, event.event_id)
    if before is None or short is None:
        raise NotFound("The state before the join is not known")
    entries = state.ids(source, before)
    chosen: list[int] = list(entries.values())
    head: dict[str, object] = {} if omit_members is None else {"members_omitted": omit_members}
    if omit_members:
        chosen = await _without_members(source, entries)
        chosen += _heroes(source, event.room_id, before, event)
        head["servers_in_room"] = _servers(source, event)
    chain = await federated.auth_chain(source, [*chosen, short])
    if omit_members:
        chain.difference_update(chosen)
    return _pieces(source, event, head, chosen, sorted(chain))


async def _pieces(
    source: CacheSource, event: Event, head: dict[str, object], chosen: Iterable[int], chain: Iterable[int]
) -> AsyncIterator[bytes]:
    yield (
        b'{"event":'
        + event.federation()
        + b"".join(b"," + orjson.dumps({name: value})[1:-1] for name, value in head.items())
        + b',"state":['
    )
    async for piece in federated.pieces(source, chosen, event.version):
        yield piece
    yield b'],"auth_chain":['
    async for piece in federated.pieces(source, chain, event.version):
        yield piece
    yield b"]}"


async def _without_members(source: CacheSource, entries: Mapping[int, int]) -> list[int]:
    pairs = list(entries.items())
    chosen = []
    for start in range(0, len(pairs), _STEP):
        step = pairs[start : start + _STEP]
        keys = short_ids.statekeys_of(source, [key for key, _ in step])
        chosen += [short for (_, short), (kind, _) in zip(step, keys, strict=True) if kind != "m.room.member"]
        await asyncio.sleep(0)
    return chosen


def _heroes(source: CacheSource, room_id: RoomId, before: int, event: Event) -> list[int]:
    """Return the memberships of those by whom the room can be named, the newcomer's own former one, and that of who vouches for it."""
    newcomer = UserId(event.sender)
    wanted: list[UserId] = [newcomer]
    if isinstance(voucher := event.content.get("join_authorised_via_users_server"), str):
        wanted.append(UserId(voucher))
    named = ((state.get(source, before, kind), key) for kind, key in _NAMES)
    if not any(event is not None and event.content.get(key) for event, key in named):
        others = (user_id for user_id in members.joined(source, room_id) if user_id != newcomer)
        present = sorted(islice(others, _LOOKED_AT)) + members.invited(source, room_id)
        wanted += present[:MAX_HEROES]
    found = [state.get_id(source, before, "m.room.member", user_id) for user_id in dict.fromkeys(wanted)]
    shorts = [short_ids.short_event(source, event_id) for event_id in found if event_id is not None]
    return [short for short in shorts if short is not None]


_NAMES = (("m.room.name", "name"), ("m.room.canonical_alias", "alias"))


def _servers(source: CacheSource, event: Event) -> list[ServerName]:
    """Return the servers that were in the room before the join."""
    origin = event.server_name
    servers = members.servers(source, event.room_id)
    if members.joined_local(source, event.room_id, origin) - {UserId(event.sender)}:
        return servers
    return [server for server in servers if server != origin]
