"""The content repository over HTTP."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from conduit.config.schema import Rate, RateLimits
from tests.support.client import Response, User
from tests.support.homeserver import Homeserver, serve
from tests.support.people import people, person

UPLOAD = "/_matrix/media/v3/upload"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


def picture(width: int, height: int, form: str = "PNG", **options: Any) -> bytes:
    """Return a picture with a gradient."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def animation(width: int, height: int, frames: int = 3) -> bytes:
    """Return an animated GIF."""
    images = [Image.new("RGB", (width, height), (80 * number, 10, 10)) for number in range(frames)]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=50, loop=0)
    return out.getvalue()


async def upload(
    user: User, data: bytes, content_type: str = "image/png", *, filename: str | None = None, expect: int = 200
) -> str:
    """Upload bytes and return `server/media id`."""
    params = {} if filename is None else {"filename": filename}
    response = await user.raw("POST", UPLOAD, data=data, headers={"Content-Type": content_type}, params=params)
    assert response.status == expect, response
    return str(response.json().get("content_uri", "")).removeprefix("mxc://")


async def fetch(user: User, path: str, **options: Any) -> Response:
    """Return the answer to a GET of media."""
    return await user.raw("GET", path, **options)


async def test_upload_comes_back_as_it_was(hs: Homeserver) -> None:
    """Bytes, type and name, and the headers that make serving safe."""
    alice, bob = await people(hs, "alice", "bob")
    data = b"\x00\xff" * 5000
    item = await upload(alice, data, filename="cat.png")
    response = await fetch(bob, f"{DOWNLOAD}/{item}")
    assert response.body == data
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["Content-Disposition"] == 'inline; filename="cat.png"'
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; script-src 'none';")
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    named = await fetch(bob, f"{DOWNLOAD}/{item}/dog.png")
    assert named.headers["Content-Disposition"] == 'inline; filename="dog.png"'


@pytest.mark.parametrize(
    ("content_type", "filename", "expected"),
    [
        ("text/html", "x.html", 'attachment; filename="x.html"'),
        ("image/svg+xml", None, "attachment"),
        ("text/plain; charset=utf-8", None, "inline"),
        ("IMAGE/PNG", None, "inline"),
        ("application/javascript", None, "attachment"),
        ("image/png", "käse.png", "inline; filename*=utf-8''k%C3%A4se.png"),
        ("image/png", 'a"b;c.png', "inline; filename*=utf-8''a%22b%3Bc.png"),
        ("image/png", "a\r\nSet-Cookie: x", "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20x"),
    ],
)
async def test_disposition_follows_the_type(
    hs: Homeserver, content_type: str, filename: str | None, expected: str
) -> None:
    """Only harmless types are shown in place, and a name cannot break out of its header."""
    alice = await person(hs)
    item = await upload(alice, b"x", content_type, filename=filename)
    response = await fetch(alice, f"{DOWNLOAD}/{item}")
    assert response.headers["Content-Disposition"] == expected
    assert "Set-Cookie" not in response.headers


async def test_ranges_and_unchanged_files(hs: Homeserver) -> None:
    """A part of a file, and 304 for a client that has it."""
    alice = await person(hs)
    item = await upload(alice, bytes(range(100)))
    part = await fetch(alice, f"{DOWNLOAD}/{item}", headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, bytes(range(10, 20)))
    assert part.headers["Content-Range"] == "bytes 10-19/100"
    again = await fetch(alice, f"{DOWNLOAD}/{item}", headers={"If-None-Match": part.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


async def test_downloads_need_a_token_and_the_old_endpoints_are_frozen(hs: Homeserver) -> None:
    """Nothing new is served to somebody without a token."""
    alice = await person(hs)
    item = await upload(alice, b"x")
    anonymous = hs.client()
    assert (await anonymous.raw("GET", f"{DOWNLOAD}/{item}")).status == 401
    for kind in ("download", "thumbnail"):
        response = await anonymous.raw("GET", f"/_matrix/media/v3/{kind}/{item}", params={"width": 1, "height": 1})
        assert response.status == 404
    # Older clients send their token here as well; then it is a download like any other.
    assert (await fetch(alice, f"/_matrix/media/v3/download/{item}")).body == b"x"
    assert (await hs.client("nobody's").raw("GET", f"/_matrix/media/v3/download/{item}")).status == 401


@pytest.mark.parametrize(
    "item",
    [
        "localhost/unknown",
        "localhost/..%2F..%2Fetc%2Fpasswd",
        "..%2F..%2Fetc/passwd",
        "localhost/a%00b",
        "far.example/abc",
    ],
)
async def test_advisory_16_unknown_and_hostile_ids_are_refused(hs: Homeserver, item: str) -> None:
    """Whatever the path holds, nothing but a known item is served."""
    alice = await person(hs)
    for base in (DOWNLOAD, THUMBNAIL):
        response = await fetch(alice, f"{base}/{item}", params={"width": 32, "height": 32})
        assert response.status in (400, 404)


async def test_upload_beyond_the_limit_is_refused() -> None:
    """M_TOO_LARGE, and nothing is left of it."""
    async with serve(max_request_size=1000) as hs:
        alice = await person(hs)
        assert (await alice.get("/_matrix/client/v1/media/config")) == {"m.upload.size": 1000}
        await upload(alice, b"x" * 1000)
        await upload(alice, b"x" * 1001, expect=413)
        files = [path for path in hs.ctx.media_files.root.rglob("*") if path.is_file()]
        assert len(files) == 1


async def test_same_bytes_are_stored_once(hs: Homeserver) -> None:
    """Two uploads of the same bytes are two items and one file."""
    alice = await person(hs)
    items = {await upload(alice, b"same", filename=name) for name in ("a", "b")}
    assert len(items) == 2
    files = [path for path in hs.ctx.media_files.root.rglob("*") if path.is_file()]
    assert len(files) == 1


async def test_reserved_id_is_filled_once_by_its_owner(hs: Homeserver) -> None:
    """Created first, uploaded later; others, strangers and second uploads are refused."""
    alice, bob = await people(hs, "alice", "bob")
    made = await alice.post("/_matrix/media/v1/create", {})
    item = made["content_uri"].removeprefix("mxc://")
    assert made["unused_expires_at"] == hs.clock.now_ms() + 24 * 3600 * 1000
    not_yet = await fetch(bob, f"{DOWNLOAD}/{item}", params={"timeout_ms": 0})
    assert (not_yet.status, not_yet.json()["errcode"]) == (504, "M_NOT_YET_UPLOADED")
    path = f"{UPLOAD}/{item}"
    options: dict[str, Any] = {"data": b"later", "headers": {"Content-Type": "text/plain"}}
    assert (await bob.raw("PUT", path, **options)).status == 403
    assert (await alice.raw("PUT", path, **options)).status == 200
    again = await alice.raw("PUT", path, **options)
    assert (again.status, again.json()["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await fetch(bob, f"{DOWNLOAD}/{item}")).body == b"later"
    assert (await alice.raw("PUT", f"{UPLOAD}/localhost/never", **options)).status == 404


async def test_reserved_id_expires(hs: Homeserver) -> None:
    """After a day the id is unknown."""
    alice = await person(hs)
    item = (await alice.post("/_matrix/media/v1/create", {}))["content_uri"].removeprefix("mxc://")
    hs.clock.jump(25 * 3600)
    response = await alice.raw("PUT", f"{UPLOAD}/{item}", data=b"x", headers={"Content-Type": "text/plain"})
    assert response.status == 404


async def test_download_waits_for_a_pending_upload(hs: Homeserver) -> None:
    """Who asks early gets the bytes when they are there."""
    alice, bob = await people(hs, "alice", "bob")
    item = (await alice.post("/_matrix/media/v1/create", {}))["content_uri"].removeprefix("mxc://")
    waiting = bob.start(fetch(bob, f"{DOWNLOAD}/{item}", params={"timeout_ms": 20_000}))
    await asyncio.sleep(0)
    await alice.raw("PUT", f"{UPLOAD}/{item}", data=b"here", headers={"Content-Type": "text/plain"})
    assert (await waiting).body == b"here"


async def test_too_many_reserved_ids_are_refused(hs: Homeserver) -> None:
    """A user has so many uploads pending and no more."""
    alice = await person(hs)
    answers = [await alice.raw("POST", "/_matrix/media/v1/create", {}) for _ in range(51)]
    assert [answer.status for answer in answers] == [200] * 50 + [429]
    assert answers[-1].json()["errcode"] == "M_LIMIT_EXCEEDED"


async def test_asking_for_what_is_not_to_be_fetched_costs_nothing() -> None:
    """Only what other servers are asked for is counted as a read."""
    async with serve(rate_limits=RateLimits(read=Rate(per_second=0.1, burst=1))) as hs:
        alice = await person(hs)
        path = "/_matrix/media/v3/download/elsewhere.org/abc"
        kept = [await alice.raw("GET", path, params={"allow_remote": "false"}) for _ in range(3)]
        assert [answer.status for answer in kept] == [404] * 3
        asked = [await alice.raw("GET", path) for _ in range(2)]
        assert asked[-1].status == 429


async def thumbnail(user: User, item: str, width: int, height: int, **params: Any) -> Image.Image:
    """Return a decoded thumbnail."""
    query = {"width": width, "height": height, **params}
    response = await fetch(user, f"{THUMBNAIL}/{item}", params=query)
    assert response.status == 200, response
    assert response.headers["Content-Disposition"].startswith("inline")
    image = Image.open(io.BytesIO(response.body))
    assert response.headers["Content-Type"] == f"image/{str(image.format).lower()}"
    return image


async def test_thumbnails_are_no_smaller_than_asked_for(hs: Homeserver) -> None:
    """Scaled to keep the proportions, cropped to the frame, never upscaled."""
    alice = await person(hs)
    item = await upload(alice, picture(1200, 600, "JPEG"), "image/jpeg")
    scaled = await thumbnail(alice, item, 300, 200, method="scale")
    assert scaled.size == (480, 240)
    assert (await thumbnail(alice, item, 90, 90, method="crop")).size == (96, 96)
    assert (await thumbnail(alice, item, 320, 240, method="crop")).size == (320, 240)
    assert (await thumbnail(alice, item, 5000, 5000)).size == (1200, 600)
    small = await upload(alice, picture(20, 10), "image/png")
    assert (await thumbnail(alice, small, 32, 32, method="crop")).size == (20, 10)


async def test_thumbnails_move_only_if_asked_to(hs: Homeserver) -> None:
    """`animated=true` gives a moving picture of a moving one, otherwise it stands still."""
    alice = await person(hs)
    item = await upload(alice, animation(200, 200), "image/gif")
    still = await thumbnail(alice, item, 96, 96, method="crop")
    assert not getattr(still, "is_animated", False)
    moving = await thumbnail(alice, item, 96, 96, method="crop", animated="true")
    assert getattr(moving, "n_frames", 1) == 3
    large = await thumbnail(alice, item, 2000, 2000)
    assert not getattr(large, "is_animated", False)


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"not a picture", "image/png", 400),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/png", 400),
        (picture(64, 64, "TIFF"), "image/tiff", 400),
        (picture(64, 64, "BMP"), "image/png", 400),
        (picture(9000, 8000, "PNG", compress_level=9), "image/png", 413),
    ],
)
async def test_advisory_17_rare_formats_and_bombs_are_not_decoded(
    hs: Homeserver, data: bytes, content_type: str, status: int
) -> None:
    """Only four formats are opened, and no picture of too many pixels."""
    alice = await person(hs)
    item = await upload(alice, data, content_type)
    response = await fetch(alice, f"{THUMBNAIL}/{item}", params={"width": 32, "height": 32})
    assert response.status == status


async def test_malformed_thumbnail_requests_are_refused(hs: Homeserver) -> None:
    """Sizes are positive numbers and there are two methods."""
    alice = await person(hs)
    item = await upload(alice, picture(10, 10))
    for params in ({"width": 1}, {"width": "x", "height": 1}, {"width": 0, "height": 1}, {"width": -1, "height": 1}):
        assert (await fetch(alice, f"{THUMBNAIL}/{item}", params=params)).status == 400
    params = {"width": 1, "height": 1, "method": "stretch"}
    assert (await fetch(alice, f"{THUMBNAIL}/{item}", params=params)).status == 400
