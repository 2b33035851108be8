"""Local media for other servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from conduit.service.media.multipart import Header, media_part
from tests.service.media.pictures import opened, picture
from tests.support.client import Response
from tests.support.federation import Network, network

DOWNLOAD = "/_matrix/federation/v1/media/download/"
THUMBNAIL = "/_matrix/federation/v1/media/thumbnail/"


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    """One homeserver."""
    async with network("one.test") as found:
        yield found


async def upload(net: Network, data: bytes, content_type: str, name: str = "") -> str:
    """Upload a file and return its id."""
    alice = await net["one.test"].register("alice")
    path = f"/_matrix/media/v3/upload?filename={name}"
    sent = await alice.raw("POST", path, data=data, headers={"Content-Type": content_type})
    return str(sent.json()["content_uri"].rpartition("/")[2])


async def ask(net: Network, target: str) -> Response:
    """Return what another server gets."""
    return await net.peer("peer.test").request("one.test", "GET", target)


async def taken_apart(response: Response) -> tuple[dict[str, str], bytes]:
    """Return the headers and the bytes of the media in an answer."""
    header = Header({"content-type": response.headers["Content-Type"]})
    assert header.kind == "multipart/mixed"

    async def pieces() -> AsyncIterator[bytes]:
        yield response.body

    headers, body = await media_part(pieces(), str(header.boundary))
    return headers, b"".join([piece async for piece in body])


async def test_file_is_handed_over_in_parts(net: Network) -> None:
    """The first describes nothing, the second has type, name and bytes."""
    data = bytes(range(256)) * 3000
    media_id = await upload(net, data, "text/html", "a.html")
    response = await ask(net, DOWNLOAD + media_id)
    assert response.status == 200
    assert int(response.headers["Content-Length"]) == len(response.body)
    assert b"Content-Type: application/json\r\n\r\n{}\r\n" in response.body[:300]
    headers, body = await taken_apart(response)
    assert body == data
    assert headers == {"content-type": "text/html", "content-disposition": 'attachment; filename="a.html"'}


async def test_thumbnail_is_handed_over_in_parts(net: Network) -> None:
    """In the size that was asked for."""
    media_id = await upload(net, picture(400, 200), "image/png")
    response = await ask(net, f"{THUMBNAIL}{media_id}?width=96&height=96&method=crop")
    headers, body = await taken_apart(response)
    assert opened(body).size == (96, 96)
    assert headers["content-type"] in ("image/png", "image/jpeg")


@pytest.mark.parametrize(
    ("target", "status", "errcode"),
    [
        (DOWNLOAD + "unknown", 404, "M_NOT_FOUND"),
        (DOWNLOAD + "..%2F..%2Fetc%2Fpasswd", 400, "M_INVALID_PARAM"),
        (DOWNLOAD + "a%00", 400, "M_INVALID_PARAM"),
        (THUMBNAIL + "unknown?width=1&height=1", 404, "M_NOT_FOUND"),
        (THUMBNAIL + "unknown?width=1", 400, "M_MISSING_PARAM"),
        (THUMBNAIL + "unknown?width=0&height=1", 400, "M_INVALID_PARAM"),
        (THUMBNAIL + "unknown?width=1&height=1&method=squeeze", 400, "M_INVALID_PARAM"),
        (DOWNLOAD + "unknown?timeout_ms=x", 400, "M_INVALID_PARAM"),
    ],
)
async def test_requests_are_checked(net: Network, target: str, status: int, errcode: str) -> None:
    """And paths lead nowhere else."""
    response = await ask(net, target)
    assert (response.status, response.json()["errcode"]) == (status, errcode)


async def test_what_is_no_picture_has_no_thumbnail(net: Network) -> None:
    """The code is the same as for clients."""
    media_id = await upload(net, b"text", "text/plain")
    response = await ask(net, f"{THUMBNAIL}{media_id}?width=32&height=32")
    assert (response.status, response.json()["errcode"]) == (400, "M_UNKNOWN")


async def test_announced_media_is_waited_for(net: Network) -> None:
    """And not longer than asked."""
    alice = await net["one.test"].register("alice")
    created = await alice.post("/_matrix/media/v1/create", {})
    media_id = created["content_uri"].rpartition("/")[2]
    response = await ask(net, f"{DOWNLOAD}{media_id}?timeout_ms=0")
    assert (response.status, response.json()["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    waiting = asyncio.ensure_future(ask(net, DOWNLOAD + media_id))
    await asyncio.sleep(0)
    sent = await alice.raw("PUT", f"/_matrix/media/v3/upload/one.test/{media_id}", data=b"data")
    assert sent.status == 200
    assert (await taken_apart(await waiting))[1] == b"data"
