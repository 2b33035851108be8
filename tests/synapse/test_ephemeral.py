"""What passes: who types, who has read what, who is there."""

from __future__ import annotations

from tests.support.client import segment
from tests.synapse.rooms import met
from tests.synapse.sides import Person, Side


async def types(person: Person, room_id: str, is_typing: bool) -> None:
    """Start or stop typing."""
    path = f"/rooms/{segment(room_id)}/typing/{segment(person.user_id)}"
    await person.put(path, {"typing": is_typing, "timeout": 30_000} if is_typing else {"typing": False})


async def sees_typing(person: Person, room_id: str, *users: Person) -> None:
    """Wait until exactly these type."""
    wanted = sorted(user.user_id for user in users)

    def told() -> bool:
        lists = person.seen.typing[room_id]
        return bool(lists) and sorted(lists[-1]) == wanted

    await person.until(told, f"{wanted} typing")


async def test_typing_starts_and_stops(host: Side, guest: Side) -> None:
    """Both ways, with two people of one side; a message does not end it, a stop and a leave do."""
    room = await met(host, guest)
    await types(room.host, room.id, True)
    await sees_typing(room.guest, room.id, room.host)
    await types(room.host, room.id, False)
    await sees_typing(room.guest, room.id)
    second = await guest.register("second")
    await second.join(room.id)
    await room.host.sees_member(room.id, second, "join")
    await types(room.guest, room.id, True)
    await sees_typing(room.host, room.id, room.guest)
    await types(second, room.id, True)
    await sees_typing(room.host, room.id, room.guest, second)
    await types(room.guest, room.id, False)
    await sees_typing(room.host, room.id, second)
    await second.leave(room.id)
    await sees_typing(room.host, room.id)


async def test_receipts(host: Side, guest: Side) -> None:
    """Public ones are seen on the other side, also of a thread; private ones are not."""
    room = await met(host, guest)
    first = await room.host.send(room.id, "first")
    second = await room.host.send(room.id, "second")
    third = await room.guest.send(room.id, "third")
    await room.guest.sees(room.id, second)
    await room.host.sees(room.id, third)

    def readers(person: Person, event_id: str, kind: str = "m.read") -> dict[str, object]:
        found: dict[str, object] = {}
        for content in person.seen.receipts[room.id]:
            found |= content.get(event_id, {}).get(kind, {})
        return found

    path = f"/rooms/{segment(room.id)}/receipt"
    await room.guest.post(f"{path}/m.read.private/{segment(first)}", {})
    await room.guest.post(f"{path}/m.read/{segment(second)}", {"thread_id": "main"})
    await room.host.until(lambda: room.guest.user_id in readers(room.host, second), "the receipt")
    assert readers(room.host, first) == {}
    assert readers(room.host, first, "m.read.private") == {}
    receipt = readers(room.host, second)[room.guest.user_id]
    assert isinstance(receipt, dict)
    assert receipt["thread_id"] == "main"
    assert isinstance(receipt["ts"], int)
    await room.host.post(f"{path}/m.read/{segment(third)}", {})
    await room.guest.until(lambda: room.host.user_id in readers(room.guest, third), "the receipt")


async def test_presence(host: Side, guest: Side) -> None:
    """Who shares a room sees whether the other is there, and the status message."""
    room = await met(host, guest)
    for person, other in ((room.host, room.guest), (room.guest, room.host)):
        status = f"hello from {person.user_id}"
        path = f"/presence/{segment(person.user_id)}/status"
        await person.put(path, {"presence": "online", "status_msg": status})
        told = await other.until(
            lambda other=other, person=person: next(  # type: ignore[misc]
                (
                    event["content"]
                    for event in other.seen.presence
                    if event["sender"] == person.user_id and event["content"].get("status_msg")
                ),
                None,
            ),
            "the status message",
        )
        assert (told["presence"], told["status_msg"]) == ("online", status)
