"""Copies of the device lists of other servers' users."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit.database import trees
from conduit.protocol.ids import ServerName, UserId
from conduit.service.keys import remote_devices
from tests.service.keys.remote import EVE, PEER, Eve, changed, devices_of, query, since
from tests.service.keys.signers import CrossSigner, device_keys
from tests.support.clock import settle
from tests.support.federation import network
from tests.support.visitor import Visitor


@pytest.fixture
async def eve() -> Any:
    """One homeserver and a scripted one with a user."""
    async with network("one.test") as net:
        yield Eve(net)


async def test_list_is_fetched_once_and_kept(eve: Eve) -> None:
    """The first query fetches it and tells others; the next ones are answered from the copy, also while her server is away."""
    alice, bob = await eve.hs.register("alice"), await eve.hs.register("bob")
    room = await eve.meet(alice)
    await bob.join(room)
    token = await since(bob)
    eve.names["DEV"] = "Phone"
    first = await devices_of(alice)
    assert first == {"DEV": {**device_keys(EVE, "DEV"), "unsigned": {"device_display_name": "Phone"}}}
    eve.net.board.down(PEER)
    assert await devices_of(alice) == first
    assert eve.asked() == 1
    assert await changed(bob, token) == [EVE]


async def test_queries_at_the_same_time_ask_once(eve: Eve) -> None:
    """Whoever asks while the list is being fetched waits for it."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    found = await asyncio.gather(*(devices_of(alice) for _ in range(5)))
    assert all(list(devices) == ["DEV"] for devices in found)
    assert eve.asked() == 1


async def test_update_in_the_chain_changes_the_copy(eve: Eve) -> None:
    """New keys, a new name, a new device and a deleted one, each naming the one before; nothing is fetched."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    token = await since(alice)
    eve.update(6, [5], keys=device_keys(EVE, "DEV", seed=2), device_display_name="Phone")
    assert await changed(alice, token) == [EVE]
    eve.update(7, [6], "NEW", keys=device_keys(EVE, "NEW"))
    found = await devices_of(alice)
    assert sorted(found) == ["DEV", "NEW"]
    assert found["DEV"] == {**device_keys(EVE, "DEV", seed=2), "unsigned": {"device_display_name": "Phone"}}
    eve.update(8, [7], "DEV", deleted=True)
    assert list(await devices_of(alice)) == ["NEW"]
    assert eve.asked() == 1


async def test_update_that_came_before_changes_nothing(eve: Eve) -> None:
    """A transaction may come twice, and the list that was fetched may hold the update already."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    eve.update(6, [5], "NEW", keys=device_keys(EVE, "NEW"))
    eve.update(7, [6], "NEW", deleted=True)
    token = await since(alice)
    eve.update(6, [5], "NEW", keys=device_keys(EVE, "NEW"))
    eve.update(4, [3], "OLD", keys=device_keys(EVE, "OLD"))
    assert await changed(alice, token) == []
    assert list(await devices_of(alice)) == ["DEV"]
    assert eve.asked() == 1


@pytest.mark.parametrize("previous", [[6], [5, 6], []])
async def test_missing_update_has_the_list_fetched(eve: Eve, previous: list[int]) -> None:
    """An update that names an unknown one before it, or none, shows that something was missed."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    token = await since(alice)
    eve.stream_id = 7
    eve.devices = {"DEV": device_keys(EVE, "DEV"), "MISSED": device_keys(EVE, "MISSED")}
    eve.update(7, previous, keys=device_keys(EVE, "DEV"))
    await eve.settled()
    assert eve.asked() == 2
    assert await changed(alice, token) == [EVE]
    assert sorted(await devices_of(alice)) == ["DEV", "MISSED"]
    eve.update(8, [7], "NEW", keys=device_keys(EVE, "NEW"))
    assert sorted(await devices_of(alice)) == ["DEV", "MISSED", "NEW"]
    assert eve.asked() == 2


async def test_missed_update_is_made_up_for_by_the_next_one_when_the_fetch_failed(eve: Eve) -> None:
    """Clients are told that something changed; while the server is away they get the old list, and that it is a failure."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    token = await since(alice)
    eve.net.board.down(PEER)
    eve.update(9, [8], keys=device_keys(EVE, "DEV"))
    await eve.settled()
    assert await changed(alice, token) == [EVE]
    answer = await query(alice)
    assert list(answer["device_keys"][EVE]) == ["DEV"]
    assert list(answer["failures"]) == [PEER]
    eve.net.board.heal()
    eve.ctx.outbound.backoff.alive(PEER)
    eve.stream_id = 10
    eve.devices["NEW"] = device_keys(EVE, "NEW")
    eve.update(10, [9], "NEW", keys=device_keys(EVE, "NEW"))
    await eve.settled()
    answer = await query(alice)
    assert sorted(answer["device_keys"][EVE]) == ["DEV", "NEW"]
    assert answer["failures"] == {}


async def test_update_during_a_fetch_is_not_lost(eve: Eve) -> None:
    """One that is newer than the answer has the list fetched once more; an older one does not."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)

    def answer(incoming: Any) -> Any:
        told = eve.list()
        if eve.asked() == 1:
            eve.update(6, [5], "NEW", keys=device_keys(EVE, "NEW"))
            eve.stream_id = 6
            eve.devices["NEW"] = device_keys(EVE, "NEW")
        else:
            eve.update(6, [5], "NEW", keys=device_keys(EVE, "NEW"))
        return told

    eve.answer = answer  # type: ignore[method-assign]
    assert sorted(await devices_of(alice)) == ["DEV", "NEW"]
    assert eve.asked() == 2


async def test_list_that_never_stands_still_is_fetched_a_few_times_only(eve: Eve) -> None:
    """It stays out of date, and is fetched again when it is asked for."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)

    def answer(incoming: Any) -> Any:
        eve.update(100 + eve.asked(), [99], keys=device_keys(EVE, "DEV"))
        return eve.list()

    eve.answer = answer  # type: ignore[method-assign]
    assert list(await devices_of(alice)) == ["DEV"]
    assert eve.asked() == 3
    await devices_of(alice)
    assert eve.asked() == 6


async def test_update_of_a_list_that_is_not_kept_fetches_it(eve: Eve) -> None:
    """So clients that know the user's keys from elsewhere hear of the change."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    token = await since(alice)
    eve.update(5, [], keys={"device_keys": {}})
    await eve.settled()
    assert eve.asked() == 1
    assert await changed(alice, token) == [EVE]


async def test_list_is_fetched_again_after_the_room_was_left_and_entered_again(eve: Eve) -> None:
    """No updates came in between, whoever of the two it was that left."""
    alice = await eve.hs.register("alice")
    room = await eve.meet(alice)
    await devices_of(alice)
    bob = await eve.hs.register("bob")
    await bob.join(room)
    await alice.leave(room)
    await devices_of(bob)
    assert eve.asked() == 2  # bob has come later than the list
    await bob.leave(room)
    assert not remote_devices.is_current(eve.ctx.db, EVE, ServerName("one.test"))


async def test_copy_outlives_rooms_as_long_as_one_is_shared_all_the_time(eve: Eve) -> None:
    """Further rooms that come and go change nothing."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    other = await eve.meet(alice)
    await alice.leave(other)
    await devices_of(alice)
    assert eve.asked() == 1


async def test_advisory_04_server_speaks_of_its_own_users_only(eve: Eve) -> None:
    """Neither a device list nor cross-signing keys of another server's user, or of ours, are taken from it."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    token = await since(alice)
    for origin, user in (("evil.test", EVE), ("peer.test", alice.user_id), ("one.test", alice.user_id)):
        content = {"user_id": user, "device_id": "X", "stream_id": 6, "prev_id": [5], "keys": {}}
        remote_devices.update(eve.ctx, ServerName(origin), content)
        signer = CrossSigner(UserId(user), 50)
        remote_devices.update_signing_keys(eve.ctx, ServerName(origin), {"user_id": user, **signer.body("master")})
    assert await changed(alice, token) == []
    assert "master_keys" not in await query(alice)
    assert eve.asked() == 1


async def test_advisory_13_users_out_of_sight_are_not_kept(eve: Eve) -> None:
    """Who shares no room with anybody here gets no row, whatever their server sends; who does not share one any more loses it at the next start."""
    alice = await eve.hs.register("alice")
    eve.update(6, [5], keys=device_keys(EVE, "DEV"))
    remote_devices.update_signing_keys(eve.ctx, PEER, {"user_id": EVE, **CrossSigner(EVE, 50).body("master")})
    await eve.settled()
    assert eve.asked() == 0
    assert not remote_devices.is_known(eve.ctx.db, EVE)
    room = await eve.meet(alice)
    await devices_of(alice)
    assert remote_devices.is_known(eve.ctx.db, EVE)
    await alice.leave(room)
    remote_devices.resume(eve.ctx)
    assert not remote_devices.is_known(eve.ctx.db, EVE)
    assert list(trees.devicelist_device.keys(eve.ctx.db, (EVE,))) == []


async def test_lists_that_are_fetched_are_told_of_together(eve: Eve) -> None:
    """A moment later; one that the server could not tell of before it stopped is told at the next start."""
    alice = await eve.hs.register("alice")
    room = await eve.meet(alice)
    more = [UserId(f"@m{n}:peer.test") for n in range(3)]
    for user_id in more:
        await eve.visitor.join(room, user_id)
    token = await since(alice)
    eve.answer = lambda incoming: {  # type: ignore[method-assign]
        "user_id": incoming.segments[-1],
        "stream_id": 1,
        "devices": [],
    }
    await query(alice, *more)
    before = eve.ctx.db.current_count()
    assert "device_lists" not in await alice.get("/sync", params={"since": token})
    assert await changed(alice, token) == more
    assert eve.ctx.db.current_count() == before + len(more)
    row = trees.devicelist_remote.get(eve.ctx.db, more[0])
    assert row is not None
    assert "untold" not in row
    with eve.ctx.db.batch() as batch:
        trees.devicelist_remote.put(batch, more[0], {**row, "untold": True})
    token = await since(alice)
    remote_devices.resume(eve.ctx)
    assert await changed(alice, token) == more[:1]


async def test_advisory_25_server_that_does_not_answer_takes_few_requests_only(eve: Eve) -> None:
    """It tells of changes of many users at once, and answers nothing: others are asked all the same."""
    alice = await eve.hs.register("alice")
    room = await eve.meet(alice)
    users = [UserId(f"@m{n}:peer.test") for n in range(2 * remote_devices.LANES)]
    for user_id in users:
        await eve.visitor.join(room, user_id)
    gate = asyncio.Event()

    async def answer(incoming: Any) -> Any:
        await gate.wait()
        return {"user_id": incoming.segments[-1], "stream_id": 1, "devices": []}

    eve.answer = answer  # type: ignore[method-assign]
    for user_id in users:
        content = {"user_id": user_id, "device_id": "X", "stream_id": 1, "keys": {}}
        remote_devices.update(eve.ctx, PEER, content)
    for _ in range(20):
        await settle()
    assert 0 < eve.asked() <= remote_devices.LANES
    gate.set()
    await eve.settled()
    assert eve.asked() == len(users)
    assert all(remote_devices.is_current(eve.ctx.db, user_id, ServerName("one.test")) for user_id in users)


async def test_list_fetched_while_the_last_room_is_left_is_not_kept(eve: Eve) -> None:
    """The answer comes too late."""
    alice = await eve.hs.register("alice")
    room = await eve.meet(alice)

    async def answer(incoming: Any) -> Any:
        await alice.leave(room)
        return eve.list()

    eve.answer = answer  # type: ignore[method-assign]
    await devices_of(alice)
    assert not remote_devices.is_known(eve.ctx.db, EVE)


async def test_lists_that_were_out_of_date_at_the_stop_are_told_at_the_start(eve: Eve) -> None:
    """Clients have not heard of what changed in them."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    with eve.ctx.db.batch() as batch:
        remote_devices._set_stale(batch, EVE)
    token = await since(alice)
    remote_devices.resume(eve.ctx)
    assert await changed(alice, token) == [EVE]
    await devices_of(alice)
    assert eve.asked() == 2


# --- cross-signing -------------------------------------------------------------------------------------------------


async def test_cross_signing_keys_come_with_the_list_and_by_updates(eve: Eve) -> None:
    """A new master key brings a new self-signing key; one that the master has not signed is dropped."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.signer = CrossSigner(EVE, 50)
    first = await query(alice)
    assert first["master_keys"][EVE] == eve.signer.key("master")
    assert first["self_signing_keys"][EVE] == eve.signer.key("self_signing")
    token = await since(alice)
    second = CrossSigner(EVE, 60)
    content = {"user_id": EVE, "master_key": second.key("master"), "self_signing_key": eve.signer.key("self_signing")}
    remote_devices.update_signing_keys(eve.ctx, PEER, content)
    assert await changed(alice, token) == [EVE]
    answer = await query(alice)
    assert answer["master_keys"][EVE] == second.key("master")
    assert "self_signing_keys" not in answer
    remote_devices.update_signing_keys(eve.ctx, PEER, {"user_id": EVE, **second.body("self_signing")})
    assert (await query(alice))["self_signing_keys"][EVE] == second.key("self_signing")
    assert eve.asked() == 1


async def test_update_of_cross_signing_keys_during_a_fetch_is_not_lost(eve: Eve) -> None:
    """The answer that is under way was written before: the list is fetched once more."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.signer, second = CrossSigner(EVE, 50), CrossSigner(EVE, 60)

    def answer(incoming: Any) -> Any:
        told = eve.list()
        if eve.asked() == 1:
            eve.signer = second
            content = {"user_id": EVE, **second.body("master", "self_signing")}
            remote_devices.update_signing_keys(eve.ctx, PEER, content)
        return told

    eve.answer = answer  # type: ignore[method-assign]
    found = await query(alice)
    assert found["master_keys"][EVE] == second.key("master")
    assert found["self_signing_keys"][EVE] == second.key("self_signing")
    assert eve.asked() == 2


async def test_update_of_cross_signing_keys_is_told_even_if_there_is_no_copy(eve: Eve) -> None:
    """Clients may have asked before; what the keys are is found out when they ask again."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    token = await since(alice)
    remote_devices.update_signing_keys(eve.ctx, PEER, {"user_id": EVE, **CrossSigner(EVE, 50).body("master")})
    assert await changed(alice, token) == [EVE]
    assert not remote_devices.is_known(eve.ctx.db, EVE)


async def test_signature_of_a_local_user_on_a_remote_key_stays(eve: Eve) -> None:
    """Who has verified somebody keeps that when the other's list is fetched anew; nobody else sees it."""
    alice, bob = await eve.hs.register("alice"), await eve.hs.register("bob")
    room = await eve.meet(alice)
    await bob.join(room)
    eve.signer = CrossSigner(EVE, 50)
    await query(alice)
    own = CrossSigner(UserId(alice.user_id), 70)
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": alice.password,
    }
    await alice.post("/keys/device_signing/upload", {**own.body(), "auth": auth})
    signed = own.user_signing.sign_json(eve.signer.key("master"), alice.user_id)
    key_id = eve.signer.master.public_key
    assert (await alice.post("/keys/signatures/upload", {EVE: {key_id: signed}}))["failures"] == {}
    eve.update(9, [8], keys=device_keys(EVE, "DEV"))
    await eve.settled()
    assert eve.asked() == 2
    assert (await query(alice))["master_keys"][EVE] == signed
    assert (await query(bob))["master_keys"][EVE] == {**eve.signer.key("master"), "signatures": {}}


async def test_cross_signing_keys_that_are_gone_are_dropped(eve: Eve) -> None:
    """The user has reset them."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.signer = CrossSigner(EVE, 50)
    await query(alice)
    eve.signer = None
    eve.update(9, [8], keys=device_keys(EVE, "DEV"))
    await eve.settled()
    assert "master_keys" not in await query(alice)


# --- hostile answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"user_id": 5},
        {"user_id": EVE},
        {"user_id": EVE, "device_id": "X"},
        {"user_id": EVE, "device_id": "", "stream_id": 6},
        {"user_id": EVE, "device_id": "X" * 300, "stream_id": 6},
        {"user_id": EVE, "device_id": "a\0b", "stream_id": 6},
        {"user_id": EVE, "device_id": "X", "stream_id": "6"},
        {"user_id": EVE, "device_id": "X", "stream_id": True},
        {"user_id": EVE, "device_id": "X", "stream_id": -1},
        {"user_id": EVE, "device_id": "X", "stream_id": 6, "prev_id": 5},
        {"user_id": EVE, "device_id": "X", "stream_id": 6, "prev_id": ["5"]},
        {"user_id": EVE, "device_id": "X", "stream_id": 6, "prev_id": [5] * 101},
    ],
)
async def test_update_of_the_wrong_shape_is_passed_over(eve: Eve, content: Any) -> None:
    """It neither changes nor fetches anything."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    await devices_of(alice)
    remote_devices.update(eve.ctx, PEER, content)
    await eve.settled()
    assert remote_devices.is_current(eve.ctx.db, EVE, ServerName("one.test"))
    assert eve.asked() == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"user_id": "@other:peer.test", "stream_id": 1, "devices": []},
        {"user_id": EVE, "stream_id": "1", "devices": []},
        {"user_id": EVE, "stream_id": 1, "devices": {}},
        (500, {"errcode": "M_UNKNOWN", "error": "Oh"}),
    ],
)
async def test_list_of_the_wrong_shape_is_a_failure(eve: Eve, answer: Any) -> None:
    """The client is told that the server has failed, and nothing is kept."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.answer = lambda incoming: answer  # type: ignore[method-assign]
    found = await query(alice)
    assert list(found["failures"]) == [PEER]
    assert EVE not in found["device_keys"]
    assert not remote_devices.is_known(eve.ctx.db, EVE)


async def test_user_whom_their_server_does_not_know_is_no_failure(eve: Eve) -> None:
    """The user is just not in the answer."""
    alice = await eve.hs.register("alice")
    await eve.meet(alice)
    eve.answer = lambda incoming: (404, {"errcode": "M_NOT_FOUND", "error": "No"})  # type: ignore[method-assign]
    assert await query(alice) == {"device_keys": {}, "failures": {}}


async def test_leave_of_the_remote_user_ends_the_copy(eve: Eve) -> None:
    """Once she is out, her list is asked for directly, and not kept."""
    alice = await eve.hs.register("alice")
    room = await eve.meet(alice)
    await devices_of(alice)
    visitor = Visitor(eve.peer, "one.test")
    await visitor.send("leave", await visitor.signed("leave", room, EVE))
    eve.peer.on(
        "POST",
        "/_matrix/federation/v1/user/keys/query",
        {"device_keys": {EVE: {"DIRECT": device_keys(EVE, "DIRECT")}}},
    )
    assert list(await devices_of(alice)) == ["DIRECT"]
    assert eve.asked() == 1
