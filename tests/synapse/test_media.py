"""Files of one side, fetched on the other."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.synapse.sides import Person, Side

MEDIA = "/_matrix/client/v1/media"


def picture() -> bytes:
    """Return a PNG of 300 by 200 pixels."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(file, "PNG")
    return file.getvalue()


async def upload(person: Person, data: bytes, kind: str, name: str) -> str:
    """Upload a file; return its server and id as in a path."""
    answer = await person.raw(
        "POST",
        "/_matrix/media/v3/upload",
        data=io.BytesIO(data),
        headers={"Content-Type": kind},
        params={"filename": name},
    )
    assert answer.status == 200, answer.body
    uri: str = answer.json()["content_uri"]
    return uri.removeprefix("mxc://")


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_download(size: int, host: Side, guest: Side) -> None:
    """A file arrives as it is, with its type and name, also the second time."""
    owner, reader = await host.register("owner"), await guest.register("reader")
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    file = await upload(owner, data, "text/plain", "notes.txt")
    for _ in range(2):
        answer = await reader.raw("GET", f"{MEDIA}/download/{file}")
        assert answer.status == 200, answer.body
        assert answer.body == data
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "notes.txt" in answer.headers["Content-Disposition"]


async def test_thumbnail(host: Side, guest: Side) -> None:
    """A picture is scaled for those on the other side."""
    owner, reader = await host.register("owner"), await guest.register("reader")
    file = await upload(owner, picture(), "image/png", "picture.png")
    params = {"width": 96, "height": 96, "method": "crop"}
    answer = await reader.raw("GET", f"{MEDIA}/thumbnail/{file}", params=params)
    assert answer.status == 200, answer.body
    assert Image.open(io.BytesIO(answer.body)).size == (96, 96)


async def test_absent_file(host: Side, guest: Side) -> None:
    """What the other side does not have is not found."""
    reader = await guest.register("reader")
    answer = await reader.raw("GET", f"{MEDIA}/download/{host.name}/nosuchfilehere")
    assert (answer.status, answer.json()["errcode"]) == (404, "M_NOT_FOUND")
