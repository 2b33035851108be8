"""Templates, events made from them, and what a client hears when nobody helps."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import IncompatibleRoomVersion, NotFound
from conduit.protocol.ids import RoomId, ServerName, UserId
from conduit.service.events import handshake
from conduit.service.outbound.errors import Refused, RemoteError, Unreachable
from tests.support.federation import network
from tests.support.scripted_room import ScriptedRoom

BOB = UserId("@bob:two.test")
FAR = ServerName("far.test")


def refused(errcode: str, status: int = 400) -> Refused:
    """Return a refusal."""
    return Refused("far.test", status, {"errcode": errcode, "error": "words"})


@pytest.mark.parametrize(
    ("errors", "errcode", "status"),
    [
        ([Unreachable("a.test", "x")], "M_CONNECTION_FAILED", 502),
        ([Unreachable("a.test", "x"), refused("M_NOT_FOUND", 404)], "M_NOT_FOUND", 404),
        ([refused("M_NOT_FOUND", 404), refused("M_FORBIDDEN", 403)], "M_FORBIDDEN", 403),
        ([refused("M_UNABLE_TO_AUTHORISE_JOIN"), Unreachable("a.test", "x")], "M_UNABLE_TO_AUTHORISE_JOIN", 400),
        ([refused("M_UNABLE_TO_GRANT_JOIN"), refused("M_FORBIDDEN", 403)], "M_FORBIDDEN", 403),
    ],
)
def test_verdict_is_the_most_telling_refusal(errors: list[RemoteError], errcode: str, status: int) -> None:
    """A prohibition says more than a lacking room, and that more than silence."""
    error = handshake.verdict(errors)
    assert error.status == status
    if status != 502:
        assert error.body()["errcode"] == errcode


@pytest.mark.parametrize("errcode", ["M_MISSING_PARAM", "M_INVALID_PARAM", "M_BAD_JSON", "M_UNRECOGNIZED"])
def test_faults_of_our_own_request_are_no_fault_of_the_client(errcode: str) -> None:
    """The specification wants a 5xx for these."""
    assert handshake.verdict([refused(errcode)]).status == 502


async def test_event_stands_where_the_template_says() -> None:
    """References and depth are the template's, everything else ours; the result is a sound event of each version."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        for version in ("1", "3", "10", "12"):
            room = ScriptedRoom(net.peer("far.test"), version)
            room.serve()
            room_id = RoomId(room.room_id)
            template = await handshake.ask(ctx, FAR, "join", room_id, BOB)
            event = handshake.build(ctx, template, room_id, BOB, {"membership": "join"})
            assert event.prev_events == (room.events[-1].event_id,)
            assert event.depth == room.events[-1].depth + 1
            assert (event.sender, event.state_key, event.room_id) == (BOB, BOB, room_id)
            assert event.pdu["signatures"].keys() == {"two.test"}


@pytest.mark.parametrize(("version", "taken_for"), [("1", {"1"}), ("2", {"1"}), ("3", {"3", "4"}), ("10", {"4"})])
async def test_template_without_a_version_is_taken_for_the_first_that_cites_so(
    version: str, taken_for: set[str]
) -> None:
    """The oldest servers do not tell it. What the room's version is stands in its create event, which comes with the answer."""
    async with network("two.test") as net:
        room = ScriptedRoom(net.peer("far.test"), version)
        template = room.template("join", BOB)
        del template["room_version"]
        room.peer.on("GET", r".*/make_join/.*", template)
        room_id = RoomId(room.room_id)
        found = await handshake.ask(net["two.test"].ctx, FAR, "join", room_id, BOB)
        assert found.version.id in taken_for
        event = handshake.build(net["two.test"].ctx, found, room_id, BOB, {"membership": "join"})
        assert event.pdu["prev_events"] == template["event"]["prev_events"]


async def test_template_with_references_that_are_none_is_no_answer() -> None:
    """Nothing is signed that could not be an event."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        room = ScriptedRoom(net.peer("far.test"))
        template = room.template("join", BOB)
        template["event"]["prev_events"] = ["$short"]
        room.peer.on("GET", r".*/make_join/.*", template)
        made = await handshake.ask(ctx, FAR, "join", RoomId(room.room_id), BOB)
        with pytest.raises(Unreachable):
            handshake.build(ctx, made, RoomId(room.room_id), BOB, {"membership": "join"})


async def test_servers_are_tried_once_each_and_never_ourselves() -> None:
    """Those that do not answer at present come last."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        ctx.outbound.backoff.failed("a.test", "down")
        names = [ServerName(name) for name in ("a.test", "two.test", "b.test", "a.test", "c.test")]
        assert handshake.candidates(ctx, names) == ["b.test", "c.test", "a.test"]
        with pytest.raises(NotFound):
            await handshake.in_turn(ctx, [ServerName("two.test")], lambda server: _never(), nobody="nobody")


async def _never() -> None:
    raise AssertionError


async def test_version_that_is_not_spoken_ends_the_search() -> None:
    """No other server would say anything else."""
    async with network("two.test") as net:
        ctx = net["two.test"].ctx
        for name in ("a.test", "b.test"):
            net.peer(name).on("GET", r".*/make_join/.*", {"room_version": "77", "event": {}})
        servers = [ServerName("a.test"), ServerName("b.test")]

        async def attempt(server: ServerName) -> None:
            await handshake.ask(ctx, server, "join", RoomId("!r:a.test"), BOB)

        with pytest.raises(IncompatibleRoomVersion) as raised:
            await handshake.in_turn(ctx, servers, attempt, nobody="nobody")
        assert raised.value.body()["room_version"] == "77"
        assert net.peer("b.test").received == []
