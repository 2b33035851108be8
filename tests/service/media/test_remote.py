"""Media of other servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from multidict import CIMultiDict

from conduit.database import trees
from conduit.service.media import items
from conduit.service.media.multipart import frame
from conduit.service.media.remote import FAILED_MS
from conduit.service.outbound.wire import WireAnswer
from tests.service.media.pictures import opened, picture
from tests.support.client import User
from tests.support.federation import Network, network

DOWNLOAD = "/_matrix/federation/v1/media/download/.*"
OLD = "/_matrix/media/v3/download/.*"
CLIENT = "/_matrix/client/v1/media"
UNKNOWN = (404, {"errcode": "M_UNRECOGNIZED", "error": "No such endpoint"})
LIMIT = 100_000


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """Two homeservers that keep small files only."""
    async with network("one.test", "two.test", max_request_size=LIMIT) as found:
        yield found


@pytest.fixture
async def alice(net: Network) -> User:
    """A user of the first."""
    return await net["one.test"].register("alice")


def parts(
    data: bytes, content_type: str = "text/plain", name: str = 'inline; filename="a.txt"', **more: str
) -> WireAnswer:
    """Return an answer of today's endpoint."""
    before, after = frame("b", {"Content-Type": content_type, "Content-Disposition": name, **more})
    headers = CIMultiDict({"Content-Type": "multipart/mixed; boundary=b"})
    return WireAnswer(200, headers, before + data + after)


def plain(data: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> WireAnswer:
    """Return an answer of the old endpoint."""
    return WireAnswer(status, CIMultiDict({"Content-Type": "text/plain", **(headers or {})}), data)


async def get(user: User, path: str = "/download/peer.test/abc") -> Any:
    """Return the raw answer to a request for media."""
    return await user.raw("GET", CLIENT + path)


async def test_media_goes_from_server_to_server(net: Network, alice: User) -> None:
    """With its type and name; the second request for it finds it here."""
    bob = await net["two.test"].register("bob")
    data = bytes(range(256)) * 200
    sent = await bob.raw(
        "POST", "/_matrix/media/v3/upload?filename=%E6%97%A5.bin", data=data, headers={"Content-Type": "image/png"}
    )
    media_id = sent.json()["content_uri"].rpartition("/")[2]
    for _ in range(2):
        got = await get(alice, f"/download/two.test/{media_id}")
        assert (got.status, got.body) == (200, data)
        assert got.headers["Content-Type"] == "image/png"
        assert got.headers["Content-Disposition"] == "inline; filename*=utf-8''%E6%97%A5.bin"
    fetched = [incoming for incoming in net.board.requests if "/media/" in incoming.target]
    assert len(fetched) == 1
    assert items.uploader(net["one.test"].ctx.db, "two.test", media_id) is None


async def test_thumbnail_of_remote_media_is_made_here(net: Network, alice: User) -> None:
    """From the original, which is fetched for it."""
    net.peer("peer.test").on("GET", DOWNLOAD, parts(picture(400, 200), "image/png"))
    got = await get(alice, "/thumbnail/peer.test/abc?width=30&height=30&method=crop")
    assert got.status == 200
    assert opened(got.body).size == (32, 32)


async def test_item_is_fetched_once_for_all_who_want_it(net: Network, alice: User) -> None:
    """At the same time."""
    peer, asked, gate = net.peer("peer.test"), asyncio.Event(), asyncio.Event()

    async def answer(incoming: Any) -> WireAnswer:
        asked.set()
        await gate.wait()
        return parts(b"data")

    peer.on("GET", DOWNLOAD, answer)
    waiting = [asyncio.ensure_future(get(alice)) for _ in range(4)]
    await asked.wait()
    gate.set()
    assert {(await one).body for one in waiting} == {b"data"}
    assert len(peer.received) == 1


async def test_server_without_todays_endpoint_is_asked_by_the_old_one(net: Network, alice: User) -> None:
    """It is told not to ask a third server in turn."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, UNKNOWN)
    peer.on("GET", OLD, plain(b"old", headers={"Content-Disposition": "inline; filename=o.txt"}))
    got = await get(alice)
    assert (got.body, got.headers["Content-Disposition"]) == (b"old", 'inline; filename="o.txt"')
    asked = peer.received[-1]
    assert asked.path == "/_matrix/media/v3/download/peer.test/abc"
    assert ("allow_remote", "false") in asked.query


async def test_missing_media_is_not_sought_by_the_old_endpoint(net: Network, alice: User) -> None:
    """A server that knows the endpoint knows its media; that is remembered for a minute."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, (404, {"errcode": "M_NOT_FOUND", "error": "No"}))
    for _ in range(3):
        assert (await get(alice)).json()["errcode"] == "M_NOT_FOUND"
    assert len(peer.received) == 1
    net.clock.jump(FAILED_MS / 1000)
    peer.on("GET", DOWNLOAD, parts(b"there now"))
    assert (await get(alice)).body == b"there now"


async def test_announced_media_may_be_asked_for_again_at_once(net: Network, alice: User) -> None:
    """The server is not taken to be ill."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, (504, {"errcode": "M_NOT_YET_UPLOADED", "error": "Wait"}))
    got = await get(alice, "/download/peer.test/abc?timeout_ms=10")
    assert (got.status, got.json()["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    assert ("timeout_ms", "10") in peer.received[0].query
    peer.on("GET", DOWNLOAD, parts(b"here"))
    assert (await get(alice)).body == b"here"


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"errcode": "M_UNKNOWN", "error": "Oh"}),
        plain(b"no parts"),
        WireAnswer(200, CIMultiDict({"Content-Type": "multipart/mixed"}), b"no boundary"),
        WireAnswer(
            200, CIMultiDict({"Content-Type": "multipart/mixed; boundary=b"}), b"--b\r\n\r\n{}\r\n--b\r\n\r\ncut"
        ),
    ],
)
async def test_broken_answers_are_a_bad_gateway_and_leave_nothing(net: Network, alice: User, answer: Any) -> None:
    """Neither a row nor a file."""
    net.peer("peer.test").on("GET", DOWNLOAD, answer)
    assert (await get(alice)).status == 502
    ctx = net["one.test"].ctx
    assert items.get(ctx.db, "peer.test", "abc") is None
    root = ctx.media_files.root
    assert [path for path in root.rglob("*") if path.is_file()] == [] if root.exists() else True


async def test_advisory_16_media_that_is_too_large_is_not_kept(net: Network, alice: User) -> None:
    """The answer is cut off at the size that users may upload; the server is not taken to be ill."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, parts(b"x" * (LIMIT + 1)))
    got = await get(alice)
    assert (got.status, got.json()["errcode"]) == (502, "M_TOO_LARGE")
    assert net["one.test"].ctx.outbound.backoff.may_try("peer.test")
    peer.on("GET", DOWNLOAD, parts(b"x" * LIMIT))
    assert len((await get(alice, "/download/peer.test/small")).body) == LIMIT


async def test_old_path_fetches_for_who_sends_a_token(net: Network, alice: User) -> None:
    """Unless `allow_remote` says not to."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, parts(b"data"))
    old = "/_matrix/media/v3/download/peer.test/abc"
    assert (await alice.raw("GET", f"{old}?allow_remote=false")).status == 404
    assert peer.received == []
    assert (await alice.raw("GET", old)).body == b"data"


async def test_advisory_16_nobody_without_a_token_makes_the_server_fetch(net: Network, alice: User) -> None:
    """The old endpoints serve what was there when they were frozen, and other servers get our own media only."""
    peer, stranger = net.peer("peer.test"), net["one.test"].client()
    peer.on("GET", DOWNLOAD, parts(b"data"))
    for query in ("", "?allow_remote=true", "?allow_remote=false"):
        got = await stranger.raw("GET", f"/_matrix/media/v3/download/peer.test/abc{query}")
        assert (got.status, got.json()["errcode"]) == (404, "M_NOT_FOUND")
    await stranger.get("/_matrix/media/v3/download/peer.test/abc?allow_remote=maybe", "M_INVALID_PARAM")
    await net.peer("other.test").get("one.test", "/_matrix/federation/v1/media/download/abc", "M_NOT_FOUND")
    assert peer.received == []
    assert (await get(alice)).status == 200
    got = await stranger.raw("GET", "/_matrix/media/v3/download/peer.test/abc")
    assert got.status == 404  # it is here now, and newer than the freeze


@pytest.mark.parametrize(
    "path",
    [
        "/download/peer.test/..%2F..%2Fetc%2Fpasswd",
        "/download/..%2F..%2Fpeer.test/abc",
        "/download/peer.test%2F..%2F../abc",
        "/download/peer.test/..",
        "/download/peer.test/a%00b",
        "/download/peer.test/a.b",
        "/download/peer%20test/abc",
        "/thumbnail/peer.test/..%2Fabc?width=1&height=1",
    ],
)
async def test_advisory_16_names_cannot_lead_elsewhere(net: Network, alice: User, path: str) -> None:
    """Server names and media ids have their grammar; nothing is asked for with others."""
    assert (await get(alice, path)).status in (400, 404)
    assert all("/media/" not in incoming.target for incoming in net.board.requests)


async def test_advisory_16_redirect_to_a_private_address_is_not_followed(net: Network, alice: User) -> None:
    """Neither one in a part nor one by status; an address is looked at before anything is sent there."""
    peer = net.peer("peer.test")
    for media_id, target in (
        ("a", "https://127.0.0.1/secret"),
        ("b", "http://[::ffff:10.0.0.1]/secret"),
        ("c", "file:///etc/passwd"),
        ("d", ""),
    ):
        peer.on("GET", DOWNLOAD, parts(b"", Location=target))
        assert (await get(alice, f"/download/peer.test/{media_id}")).status == 502
        peer.on("GET", DOWNLOAD, UNKNOWN)
        peer.on("GET", OLD, plain(b"", 307, {"Location": target}))
        assert (await get(alice, f"/download/peer.test/{media_id}2")).status == 502


async def test_blocked_remote_media_is_not_fetched(net: Network, alice: User) -> None:
    """Nor shown."""
    peer = net.peer("peer.test")
    peer.on("GET", DOWNLOAD, parts(b"data"))
    with net["one.test"].ctx.db.batch() as batch:
        trees.blocked_servername_mediaid.put(batch, ("peer.test", "abc"), (0, "bad"))
    assert (await get(alice)).status == 404
    assert peer.received == []


async def test_names_and_types_that_cannot_be_kept_are_dropped(net: Network, alice: User) -> None:
    """The bytes are not."""
    name = 'inline; filename="' + "x" * 300 + '"'
    net.peer("peer.test").on("GET", DOWNLOAD, parts(b"data", "x" * 300, name))
    got = await get(alice)
    assert got.body == b"data"
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"] == "attachment"


async def test_script_from_another_server_is_never_shown_in_place(net: Network, alice: User) -> None:
    """Whatever that server says."""
    net.peer("peer.test").on("GET", DOWNLOAD, parts(b"<script>", "text/html", "inline"))
    got = await get(alice)
    assert got.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in got.headers["Content-Security-Policy"]
