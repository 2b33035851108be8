"""User-interactive authentication with more stages than any endpoint here asks for yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from conduit.config.schema import Config
from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import accounts, uia_sessions, uiaa
from conduit.service.users.passwords import Hasher
from tests.support.clock import ManualClock

ALICE = UserId("@alice:localhost")
SERVER = ServerName("localhost")
FLOWS = (("m.login.dummy", "org.example.word"), ("m.login.dummy", "m.login.password"))


@dataclass
class World:
    """What the service needs of the context."""

    db: Database
    clock: ManualClock
    config: Config = field(default_factory=Config.for_tests)
    server_name: ServerName = SERVER
    hasher: Hasher = field(default_factory=lambda: Hasher(threads=1, time_cost=1, memory_kib=64))


@dataclass
class Caller:
    """Alice's phone."""

    user_id: UserId = ALICE
    device_id: str = "PHONE"


@dataclass
class Request:
    """A request with a body."""

    body: dict[str, Any]
    method: str = "POST"
    path: str = "/x"
    requester: Caller | None = field(default_factory=Caller)

    def json(self, optional: bool = False) -> dict[str, Any]:
        """Return the body."""
        return self.body


@pytest.fixture
async def world(db: Database, clock: ManualClock) -> AsyncIterator[World]:
    """A server on which Alice has the password `pw`."""
    world = World(db, clock)
    hashed = await world.hasher.hash("pw")
    with db.batch() as batch:
        accounts.create(batch, ALICE, hashed)
    yield world
    world.hasher.close()


async def _word(ctx: uiaa.Owners, auth: Mapping[str, Any], proof: uiaa.Proof) -> None:
    if auth.get("word") != "please":
        raise Forbidden("Say it nicely")
    proof.notes["said"] = auth["word"]


async def _ask(world: World, request: Request) -> uiaa.Proof | dict[str, Any]:
    try:
        return await uiaa.require(world, request, flows=FLOWS, checks={"org.example.word": _word})
    except uiaa.AuthenticationRequired as required:
        return required.body()


async def _stage(world: World, session: str, **auth: Any) -> uiaa.Proof | dict[str, Any]:
    return await _ask(world, Request({"a": 1, "auth": {"session": session, **auth}}))


async def _open(world: World) -> str:
    answer = await _ask(world, Request({"a": 1}))
    assert isinstance(answer, dict)
    return str(answer["session"])


async def test_asking_writes_nothing(world: World) -> None:
    """However often somebody asks."""
    sessions = {await _open(world) for _ in range(10)}
    assert len(sessions) == 10
    assert not list(trees.userdevicesessionid_uiaainfo.keys(world.db))


async def test_stages_are_completed_in_order(world: World) -> None:
    """One that is not due is refused; what is done is told, and need not be done again."""
    session = await _open(world)
    answer = await _stage(world, session, type="org.example.word", word="please")
    assert isinstance(answer, dict)
    assert answer["errcode"] == "M_FORBIDDEN"
    assert answer["completed"] == []
    for _ in range(2):
        answer = await _stage(world, session, type="m.login.dummy")
        assert isinstance(answer, dict)
        assert answer["completed"] == ["m.login.dummy"]
        assert "errcode" not in answer
    answer = await _stage(world, session, type="org.example.word", word="now")
    assert isinstance(answer, dict)
    assert (answer["errcode"], answer["error"]) == ("M_FORBIDDEN", "Say it nicely")
    assert answer["completed"] == ["m.login.dummy"]
    proof = await _stage(world, session, type="org.example.word", word="please")
    assert isinstance(proof, uiaa.Proof)
    assert proof.notes == {"said": "please"}
    assert not list(trees.userdevicesessionid_uiaainfo.keys(world.db))


async def test_the_other_flow_leads_to_the_end_as_well(world: World) -> None:
    """The client is free to choose."""
    session = await _open(world)
    await _stage(world, session, type="m.login.dummy")
    answer = await _stage(world, session, type="m.login.password", password="wrong")
    assert isinstance(answer, dict)
    assert isinstance(await _stage(world, session, type="m.login.password", password="pw"), uiaa.Proof)


async def test_session_alone_tells_how_far_it_is(world: World) -> None:
    """As after a stage that was completed elsewhere."""
    session = await _open(world)
    await _stage(world, session, type="m.login.dummy")
    answer = await _stage(world, session)
    assert isinstance(answer, dict)
    assert answer["completed"] == ["m.login.dummy"]


async def test_session_is_bound_to_its_request(world: World) -> None:
    """Another body, path, method, device or user cannot use it."""
    session = await _open(world)
    auth = {"session": session, "type": "m.login.dummy"}
    for other in (
        Request({"a": 2, "auth": auth}),
        Request({"auth": auth}),
        Request({"a": 1, "auth": auth}, path="/y"),
        Request({"a": 1, "auth": auth}, method="PUT"),
        Request({"a": 1, "auth": auth}, requester=Caller(device_id="LAPTOP")),
        Request({"a": 1, "auth": auth}, requester=Caller(user_id=UserId("@bob:localhost"))),
        Request({"a": 1, "auth": auth}, requester=None),
        Request({"a": 1, "auth": {**auth, "session": session[:-1] + "x"}}),
        Request({"a": 1, "auth": {**auth, "session": "f" + session}}),
    ):
        with pytest.raises(Forbidden):
            await _ask(world, other)


async def test_sessions_run_out(world: World) -> None:
    """Then the client begins anew."""
    session = await _open(world)
    await _stage(world, session, type="m.login.dummy")
    world.clock.jump(uia_sessions.LIFETIME_MS / 1000 + 1)
    answer = await _stage(world, session, type="m.login.dummy")
    assert isinstance(answer, dict)
    assert answer["session"] != session
    assert "completed" not in answer


async def test_remembered_parameters_need_not_be_repeated(world: World) -> None:
    """They may be changed, too; nobody else can read them out of the session, and nothing is stored."""

    async def ask(body: dict[str, Any]) -> uiaa.Proof | str:
        try:
            return await uiaa.require(world, Request(body), flows=(("m.login.dummy",),), remember=True)
        except uiaa.AuthenticationRequired as required:
            return str(required.body()["session"])

    session = await ask({"name": "x", "password": "hush"})
    assert isinstance(session, str)
    assert "hush" not in session
    auth = {"session": session, "type": "m.login.dummy"}
    proof = await ask({"name": "y", "auth": auth})
    assert isinstance(proof, uiaa.Proof)
    assert proof.params == {"name": "y", "password": "hush"}
    assert not list(trees.userdevicesessionid_uiaainfo.keys(world.db))
    with pytest.raises(Forbidden):
        await ask({"auth": {**auth, "session": session[:-2] + "xx"}})


async def test_result_is_given_again_to_who_repeats_the_request(world: World) -> None:
    """The stages need not be gone through again."""
    request = Request({"a": 1, "auth": {"session": await _open(world), "type": "m.login.dummy"}})
    flows = (("m.login.dummy",),)
    proof = await uiaa.require(world, request, flows=flows)
    assert proof.result is None
    with world.db.batch() as batch:
        uiaa.keep_result(batch, proof, {"made": 1})
    again = await uiaa.require(world, request, flows=flows)
    assert again.result == {"made": 1}


async def test_who_proves_to_be_another_is_refused_for_good(world: World) -> None:
    """With the right password of another; a wrong one may be tried again."""
    hashed = await world.hasher.hash("bobs")
    with world.db.batch() as batch:
        accounts.create(batch, UserId("@bob:localhost"), hashed)
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}, "password": "wrong"}
    with pytest.raises(uiaa.AuthenticationRequired):
        await uiaa.require(world, Request({"auth": auth}))
    with pytest.raises(Forbidden):
        await uiaa.require(world, Request({"auth": {**auth, "password": "bobs"}}))


async def test_password_changed_meanwhile_is_not_accepted(world: World) -> None:
    """The proof would be one of yesterday."""

    class Slow(Hasher):
        async def verify(self, stored: str | None, password: str) -> bool:
            good = await super().verify(stored, password)
            with world.db.batch() as batch:
                accounts.set_password(batch, ALICE, "")
            return good

    world.hasher.close()
    world.hasher = Slow(threads=1, time_cost=1, memory_kib=64)
    with pytest.raises(Forbidden):
        await uiaa.check_password(world, ALICE, "pw")
