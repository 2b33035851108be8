"""What administrators can tell @conduit to do."""

from __future__ import annotations

import pytest

from conduit.protocol.ids import UserId
from conduit.service import identity
from conduit.service.admin import commands
from conduit.service.outbound.pauses import FIRST_PAUSE
from conduit.service.rooms import members, timeline
from conduit.service.users import accounts, registration_tokens
from tests.service.admin.conftest import Console
from tests.support.federation import network
from tests.support.outgoing import until


async def test_wrong_lines_are_answered_with_help(console: Console) -> None:
    """Nothing is done."""
    assert "no command `fly`" in await console.say("@conduit fly")
    assert await console.say("@conduit create-user") == "Usage: `@conduit create-user <name> [password]`"
    assert "quotes" in await console.say("@conduit create-user 'bob")
    assert await console.say("@conduit create-user B!ob") == (
        "That did not work: User names hold a-z, 0-9 and ._=-/+ only, and the whole ID at most 255 bytes"
    )
    assert "There is no user nobody here" in await console.say("@conduit reset-password nobody")


async def test_signing_key_is_changed_while_others_listen() -> None:
    """They take what the new key signs, and what the old one has signed, also if they have never met that."""
    async with network("localhost", "two.test", "three.test", first_is_admin=True) as net:
        hs = net["localhost"]
        console = Console(hs, await hs.register("alice"))
        bob = await net["two.test"].register("bob")
        room_id = await console.alice.create_room(preset="public_chat")
        await bob.post(f"/join/{room_id}?via=localhost", {})
        before = await console.alice.send(room_id, "before")
        await until(lambda: timeline.position(net["two.test"].ctx.db, before))
        # Who has just fetched keys does not ask again for half a minute.
        await net.clock.advance(FIRST_PAUSE)
        former = hs.ctx.signing_key
        answer = await console.say("@conduit rotate-signing-key")
        key = hs.ctx.signing_key
        assert answer == f"localhost signs with {key.key_id}; {former.key_id} is published as an old key"
        assert identity.signing_key(hs.ctx.db).public_key == key.public_key != former.public_key
        assert set(identity.old_keys(hs.ctx.db)) == {former.key_id}
        after = await console.alice.send(room_id, "after")
        await until(lambda: timeline.position(net["two.test"].ctx.db, after))
        carol = await net["three.test"].register("carol")
        await carol.post(f"/join/{room_id}?via=localhost", {})
        found = await carol.messages(room_id, dir="b", limit=50)
        assert {before, after} <= {event["event_id"] for event in found["chunk"]}


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
