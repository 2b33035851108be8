"""Whether a server still has all that it acknowledged."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benches.http import Connection

from tests.durability.actor import Actor, C, segment
from tests.durability.ledger import Cell
from tests.durability.world import World

_WHOLE = {"m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.name"}
"""What a room that somebody has created cannot lack."""


async def audit(world: World, *, full: bool = False) -> None:
    """Note in the ledger whatever is lost: of what is new since the last audit, or of everything.

    Requests with a transaction id that the crash left without an answer are repeated first, and so are some that had one.
    """
    for actor in world.actors:
        in_doubt, actor.in_doubt = actor.in_doubt, []
        for sent in (*in_doubt, *actor.answered):
            await actor.repeat(sent)
    await _device_messages(world)
    await _events(world, full=full)
    await _receipts(world)
    for actor in world.actors:
        await _data(world, actor)
        await _memberships(world, actor)
        await _keys(world, actor)
    await _files(world, full=full)
    await _sessions(world)
    if doubled := [name for name, times in world.ledger.claimed.items() if times > 1]:
        world.ledger.complain("keys were given away twice:", doubled)


async def _device_messages(world: World) -> None:
    while (await world.sync(world.collector)).get("to_device", {}).get("events"):
        pass
    ledger = world.ledger
    if missing := ledger.device_messages - ledger.delivered.keys():
        ledger.complain("messages to a device are lost:", sorted(missing))
    if doubled := [note for note, times in ledger.delivered.items() if times > 1]:
        ledger.complain("messages to a device came twice:", doubled)


async def _events(world: World, *, full: bool) -> None:
    ledger = world.ledger
    wanted = set(ledger.events) if full else set(ledger.fresh)
    rooms: dict[str, set[str]] = {}
    for event_id in wanted:
        rooms.setdefault(ledger.events[event_id].room, set()).add(event_id)
    for room, event_ids in rooms.items():
        found = await world.history(world.watcher, room, None if full else event_ids)
        for event_id in event_ids:
            _compare_event(world, event_id, found.get(event_id))
        said = Counter(event["content"].get("body") for event in found.values() if event["type"] == "m.room.message")
        if doubled := [body for body, times in said.items() if body is not None and times > 1]:
            ledger.complain("messages were sent twice:", doubled)
    ledger.fresh.clear()


def _compare_event(world: World, event_id: str, found: Any) -> None:
    ledger = world.ledger
    known = ledger.events[event_id]
    if found is None:
        ledger.complain("an event is lost:", event_id, known)
        return
    if (found["type"], found["sender"]) != (known.kind, known.sender):
        ledger.complain("an event is another one:", known, found)
    redaction = ledger.redacted.get(event_id)
    is_redacted = "redacted_because" in found.get("unsigned", {})
    if is_redacted if redaction is None else not redaction.settle(is_redacted):
        ledger.complain("redacted:", is_redacted, event_id)
    if known.content is not None and found["content"] != ({} if is_redacted else known.content):
        ledger.complain("an event has another content:", known, found)


async def _receipts(world: World) -> None:
    world.forget_sync(world.watcher)
    rooms = (await world.sync(world.watcher))["rooms"]["join"]
    for actor in world.actors:
        for room in actor.rooms:
            held = None
            for event in rooms[room].get("ephemeral", {}).get("events", ()):
                for event_id, receipts in event["content"].items() if event["type"] == "m.receipt" else ():
                    if actor.user_id in receipts.get("m.read", {}):
                        held = event_id
            _settle(world, actor, ("receipt", room), held)


async def _data(world: World, actor: Actor) -> None:
    for what in [what for what in actor.cells if what[0] in ("account_data", "state", "tag", "displayname")]:
        room = segment(what[1]) if len(what) > 1 else ""
        if what[0] == "account_data":
            path = actor.account_data_path(what[1])
        elif what[0] == "state":
            path = f"{C}/rooms/{room}/state/org.example.note/{actor.name}"
        elif what[0] == "tag":
            path = f"{C}/user/{segment(actor.user_id)}/rooms/{room}/tags"
        else:
            path = f"{C}/profile/{segment(actor.user_id)}/displayname"
        answer = await actor.connection.request("GET", path)
        held = answer.json() if answer.status == 200 else None
        if held is not None and what[0] in ("tag", "displayname"):
            held = held["tags" if what[0] == "tag" else "displayname"]
        _settle(world, actor, what, held or None)


async def _memberships(world: World, actor: Actor) -> None:
    joined = set((await actor.call("GET", f"{C}/joined_rooms"))["joined_rooms"])
    ledger = world.ledger
    _settle(world, actor, ("lobby",), "join" if actor.lobby in joined else "leave")
    if missing := set(actor.rooms) - joined:
        ledger.complain(actor.name, "is no longer in", missing)
    for room, (creator, _) in ledger.rooms.items():
        if creator == actor.name and room not in joined:
            ledger.complain("a room is lost:", actor.name, room)
    for room in joined.difference(actor.rooms, [actor.lobby]):
        state = {event["type"]: event for event in await actor.call("GET", f"{C}/rooms/{segment(room)}/state")}
        if not state.keys() >= _WHOLE:
            ledger.complain("a room is half made:", room, sorted(state))
            continue
        name = state["m.room.name"]["content"]["name"]
        if ledger.rooms.setdefault(room, (actor.name, name)) != (actor.name, name) or name not in actor.asked_rooms:
            ledger.complain("a room is another one:", room, name)


async def _keys(world: World, actor: Actor) -> None:
    answer = await actor.call("POST", f"{C}/keys/upload", {})
    held = answer["one_time_key_counts"].get("curve25519", 0)
    most = actor.keys_asked - actor.keys_claimed
    least = actor.keys_uploaded - actor.keys_claimed - actor.claims_asked
    if not least <= held <= most:
        world.ledger.complain(actor.name, "has", held, "one-time keys, not", least, "to", most)
    # What was in doubt is settled now.
    actor.claims_asked = 0
    actor.keys_asked = actor.keys_uploaded = held + actor.keys_claimed


async def _files(world: World, *, full: bool) -> None:
    ledger = world.ledger
    for uri in ledger.files if full else ledger.fresh_files:
        path = f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
        answer = await world.watcher.connection.request("GET", path)
        if answer.status != 200 or answer.body != ledger.files[uri]:
            ledger.complain("a file is lost:", uri, answer.status, len(answer.body), len(ledger.files[uri]))
    ledger.fresh_files.clear()


async def _sessions(world: World) -> None:
    for token, cell in list(world.ledger.tokens.items()):
        connection = Connection(world.watcher.url, token)
        status = (await connection.request("GET", f"{C}/account/whoami")).status
        await connection.close()
        owner = cell.value or next(iter(cell.asked), None)
        if not cell.settle(owner if status == 200 else None):
            world.ledger.complain("a session:", status, owner)
        if cell.value is None:
            # Gone for good; asking once was enough.
            del world.ledger.tokens[token]


def _settle(world: World, actor: Actor, what: tuple[str, ...], held: Any) -> None:
    cell = actor.cells.setdefault(what, Cell())
    before, asked = cell.value, list(cell.asked)
    if not cell.settle(held):
        world.ledger.complain(actor.name, *what, "is", held, "and was", before, "or", asked)
