"""Who is listened to in the admin room."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.service.admin import commands, watch
from conduit.service.users import accounts
from tests.service.admin.conftest import Console


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


async def test_fault_in_a_command_is_told_and_ends_nothing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line is answered again."""

    async def broken(*_: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(commands.COMMANDS, "break", commands.Command("break", "", 0, 0, broken))
    assert "internal error" in await console.say("@conduit break")
    await console.say("@conduit help help")
