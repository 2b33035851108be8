"""What administrators can tell @conduit to do, and who is listened to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit.protocol.ids import RoomId, UserId
from conduit.service.admin import commands, room, watch
from conduit.service.rooms import members, timeline
from conduit.service.users import accounts, registration_tokens
from tests.support.client import User
from tests.support.homeserver import Homeserver, serve

ALICE = UserId("@alice:localhost")


class Console:
    """Alice, administrator, in the admin room."""

    def __init__(self, hs: Homeserver, alice: User) -> None:
        self.hs = hs
        self.alice = alice
        found = room.room_id(hs.ctx.db, hs.ctx.server_name)
        assert found is not None
        self.room_id: RoomId = found

    async def say(self, line: str, **content: Any) -> str:
        """Write a line and return @conduit's answer to it."""
        asked = await self.alice.send(self.room_id, {"msgtype": "m.text", "body": line, **content})
        with self.hs.ctx.db.watch.register([("room", self.room_id)]) as waiter:
            while (answer := self.answer_to(asked)) is None:
                assert await waiter.wait(10)
        return answer

    def answer_to(self, event_id: str) -> str | None:
        """Return what @conduit has answered to an event."""
        for _, event in timeline.scan(self.hs.ctx.db, self.room_id, reverse=True):
            relation = event.content.get("m.relates_to", {})
            if relation.get("m.in_reply_to", {}).get("event_id") == event_id:
                return str(event.content["body"])
        return None

    def answers(self) -> int:
        """Return how often @conduit has spoken."""
        events = [event for _, event in timeline.scan(self.hs.ctx.db, self.room_id)]
        return sum(event.type == "m.room.message" and event.sender == "@conduit:localhost" for event in events)


@pytest.fixture
async def console() -> AsyncIterator[Console]:
    """A server whose first account is Alice's."""
    async with serve(first_is_admin=True) as hs:
        yield Console(hs, await hs.register("alice"))


@pytest.mark.parametrize(
    "line",
    [
        "@conduit help",
        "@conduit:localhost: help",
        "@conduit:localhost help",
        "conduit: help",
        "!admin help",
        "@conduit",
    ],
)
async def test_conduit_answers_however_it_is_addressed(console: Console, line: str) -> None:
    """With all commands, each with a line about it."""
    answer = await console.say(line)
    assert "create-user <name> [password] - Make an account" in answer


async def test_conduit_answers_nobody_else(console: Console) -> None:
    """Not @conduit itself, not members who are no administrators, not what is not for it, not edits and notices."""
    before = console.answers()
    bob = await console.hs.register("bob")
    await console.alice.invite(console.room_id, bob)
    await bob.join(console.room_id)
    await bob.send(console.room_id, "@conduit make-admin bob")
    await console.alice.send(console.room_id, "hello everybody, @conduit help")
    await console.alice.send(console.room_id, "@conduitor help")
    await console.alice.send(console.room_id, {"msgtype": "m.notice", "body": "@conduit make-admin bob"})
    await console.say("@conduit help")
    assert console.answers() == before + 1
    assert not accounts.is_admin(console.hs.ctx.db, "@bob:localhost")


async def test_each_line_is_obeyed_once(console: Console) -> None:
    """Listening anew, as after a restart, repeats nothing; what was written meanwhile is answered."""
    await console.say("@conduit server-info")
    before = console.answers()
    await watch.answer_all(console.hs.ctx, console.room_id)
    assert console.answers() == before


async def test_wrong_lines_are_answered_with_help(console: Console) -> None:
    """Nothing is done."""
    assert "no command `fly`" in await console.say("@conduit fly")
    assert await console.say("@conduit create-user") == "Usage: `@conduit create-user <name> [password]`"
    assert "quotes" in await console.say("@conduit create-user 'bob")
    assert await console.say("@conduit create-user B!ob") == (
        "That did not work: User names hold a-z, 0-9 and ._=-/+ only, and the whole ID at most 255 bytes"
    )
    assert "There is no user nobody here" in await console.say("@conduit reset-password nobody")


async def test_fault_in_a_command_is_told_and_ends_nothing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line is answered again."""

    async def broken(*_: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(commands.COMMANDS, "break", commands.Command("break", "", 0, 0, broken))
    assert "internal error" in await console.say("@conduit break")
    await console.say("@conduit help help")


async def test_users_are_made_listed_and_shown(console: Console) -> None:
    """The password is given or drawn."""
    assert await console.say("@conduit create-user bob 'a b'") == "Made @bob:localhost with the password `a b`"
    await console.hs.login("bob", "a b")
    answer = await console.say("@conduit create-user @carol:localhost")
    await console.hs.login("carol", answer.split("`")[1])
    assert "taken" in await console.say("@conduit create-user bob")
    listed = (await console.say("@conduit list-users")).splitlines()
    assert listed[1:-1] == [
        "@alice:localhost (admin)",
        "@bob:localhost",
        "@carol:localhost",
        "@conduit:localhost (server, admin)",
    ]
    assert "from 127.0.0.1" in await console.say("@conduit user-info carol")


async def test_password_is_reset(console: Console) -> None:
    """All sessions of the user end; nobody gets into @conduit that way."""
    bob = await console.hs.register("bob")
    answer = await console.say("@conduit reset-password bob")
    await bob.get("/account/whoami", "M_UNKNOWN_TOKEN")
    await console.hs.login("bob", answer.split("`")[1])
    assert "Nobody can log in" in await console.say("@conduit reset-password conduit")


async def test_users_are_deactivated(console: Console) -> None:
    """Not oneself and not @conduit."""
    bob = await console.hs.register("bob")
    assert "only option" in await console.say("@conduit deactivate-user bob --now")
    assert await console.say("@conduit deactivate-user bob --erase") == "@bob:localhost is deactivated"
    await bob.get("/account/whoami", "M_UNKNOWN_TOKEN")
    assert accounts.is_erased(console.hs.ctx.db, "@bob:localhost")
    for name in ("alice", "conduit"):
        assert "Not to yourself" in await console.say(f"@conduit deactivate-user {name}")
    assert "active account" in await console.say("@conduit make-admin bob")


async def test_administrators_are_made_and_unmade(console: Console) -> None:
    """They are brought into the room and taken out again."""
    bob = await console.hs.register("bob")
    await console.say("@conduit make-admin bob")
    assert members.is_joined(console.hs.ctx.db, console.room_id, UserId(bob.user_id))
    await console.say("@conduit remove-admin bob")
    assert not members.is_joined(console.hs.ctx.db, console.room_id, UserId(bob.user_id))
    assert "Not to yourself" in await console.say("@conduit remove-admin alice")


async def test_users_are_locked_and_suspended(console: Console) -> None:
    """And let in again."""
    bob = await console.hs.register("bob")
    assert await console.say("@conduit lock-user bob") == "@bob:localhost (locked)"
    await bob.get("/account/whoami", "M_USER_LOCKED")
    assert await console.say("@conduit unlock-user bob") == "@bob:localhost"
    await bob.get("/account/whoami")
    assert await console.say("@conduit suspend-user bob") == "@bob:localhost (suspended)"
    await console.say("@conduit unsuspend-user bob")
    assert "Not to yourself" in await console.say("@conduit lock-user alice")


async def test_registration_tokens_are_issued_listed_and_withdrawn(console: Console) -> None:
    """By default one is good for one account."""
    db = console.hs.ctx.db
    token = (await console.say("@conduit create-registration-token")).split("`")[1]
    row = dict(registration_tokens.issued(db))[token]
    assert row == {"completed": 0, "uses_allowed": 1}
    token2 = (await console.say("@conduit create-registration-token 0 24")).split("`")[1]
    row = dict(registration_tokens.issued(db))[token2]
    assert row == {"completed": 0, "expires_at": console.hs.clock.now_ms() + 24 * 3_600_000}
    listed = await console.say("@conduit list-registration-tokens")
    assert f"{token}: used 0 of 1 times" in listed
    await console.say(f"@conduit delete-registration-token {token}")
    assert "no such token" in await console.say(f"@conduit delete-registration-token {token}")
    assert list(dict(registration_tokens.issued(db))) == [token2]
    assert "is not a number" in await console.say("@conduit create-registration-token many")


async def test_server_and_rooms_are_shown(console: Console) -> None:
    """Sizes, names and members."""
    created = await console.alice.create_room(name="Tea party")
    info = await console.say("@conduit server-info")
    assert "server name: localhost" in info
    assert "rooms: 2" in info
    assert f"{created}\tmembers: 1\tTea party" in await console.say("@conduit list-rooms")
    shown = await console.say(f"@conduit room-info {created}")
    assert "room version: 12" in shown
    assert "@alice:localhost" in shown
    assert "did not work" in await console.say("@conduit room-info !nope:localhost")


async def test_long_lists_are_cut(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the answer fits into an event."""
    monkeypatch.setattr(commands, "MAX_LIST_LENGTH", 50)
    for name in ("bob", "carol"):
        await console.hs.register(name)
    assert (await console.say("@conduit list-users")).splitlines()[-2] == "..."
