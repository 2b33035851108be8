"""Media in two parts, as servers hand it over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.service.media.multipart import MAX_DESCRIPTION, Header, Malformed, frame, media_part


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield `data` in pieces."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def taken_apart(data: bytes, boundary: str = "b", size: int = 7) -> tuple[dict[str, str], bytes]:
    """Return the headers and bytes of the media in a body."""
    headers, body = await media_part(pieces(data, size), boundary)
    return headers, b"".join([piece async for piece in body])


@given(
    data=st.binary(max_size=200) | st.sampled_from([b"\r\n--b", b"\r\n--bX--", b"\r", b"--b--"]),
    size=st.integers(1, 50),
)
async def test_what_was_framed_comes_out_again(data: bytes, size: int) -> None:
    """However it is cut into pieces, and whatever the bytes are."""
    boundary = "boundary-that-is-not-in-there"
    before, after = frame(boundary, {"Content-Type": "text/plain", "Content-Disposition": "inline"})
    headers, body = await taken_apart(before + data + after, boundary, size)
    assert headers == {"content-type": "text/plain", "content-disposition": "inline"}
    assert body == data


async def test_lines_of_headers_cannot_be_broken() -> None:
    """What a client has called its file stays in its line."""
    before, after = frame("b", {"Content-Disposition": "inline; filename=x\r\nEvil: yes\r\n\r\n"})
    headers, body = await taken_apart(before + after)
    assert list(headers) == ["content-disposition"]
    assert body == b""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b\r\n\r\n{}\r\n--b\r\n\r\nfile\r\n--b--", ({}, b"file")),
        (
            b"preamble\r\n--b \t\r\nA: 1\r\n\r\n{}\r\n--b\r\nX-Y:  z \r\nbroken\r\n\r\nfile\r\n--b--\r\nmore",
            ({"x-y": "z"}, b"file"),
        ),
        (b"\r\n--b\r\n\r\n\r\n--b\r\nLocation: https://x\r\n\r\n\r\n--b--\r\n", ({"location": "https://x"}, b"")),
    ],
)
async def test_all_legal_forms_are_understood(body: bytes, expected: tuple[dict[str, str], bytes]) -> None:
    """With a preamble, an epilogue, white space, and parts without headers."""
    assert await taken_apart(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b\r\n\r\n{}",
        b"--b\r\n\r\n{}\r\n--b--",
        b"--b--\r\n",
        b"--bb\r\n\r\n{}\r\n--b\r\n\r\nfile\r\n--b--",
        b"--b\r\nContent-Type: x\r\n",
        b"--b\r\n\r\n{}\r\n--b\r\n\r\nfile without an end",
        b"x" * (MAX_DESCRIPTION + 100),
        b"--b\r\n\r\n" + b"x" * (MAX_DESCRIPTION + 100) + b"\r\n--b\r\n\r\nfile\r\n--b--",
        b"--b\r\n" + b"A: " + b"x" * 20_000 + b"\r\n\r\n{}\r\n--b\r\n\r\nfile\r\n--b--",
    ],
)
async def test_malformed_bodies_are_refused(body: bytes) -> None:
    """Truncated, with a part too few, or with heads that have no end."""
    with pytest.raises(Malformed):
        await taken_apart(body)


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ("multipart/mixed; boundary=abc", "abc"),
        ('Multipart/Mixed; charset=x; boundary="a b"', "a b"),
        ("multipart/mixed", None),
        ("multipart/mixed; boundary=", None),
        ("multipart/mixed; boundary=" + "x" * 300, None),
        ("multipart/mixed; boundary=é", None),
    ],
)
def test_boundary_is_read(value: str, boundary: str | None) -> None:
    """Quoted or not, of bearable length."""
    header = Header({"content-type": value})
    assert header.kind == "multipart/mixed"
    assert header.boundary == boundary


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('inline; filename="a b.txt"', "a b.txt"),
        ("attachment; filename*=utf-8''%E6%97%A5.png", "日.png"),
        ("inline; filename*=nonsense''%E6", "�"),
        ("inline", ""),
        ("", ""),
    ],
)
def test_file_name_is_read_in_both_spellings(value: str, name: str) -> None:
    """And is empty where there is none."""
    found = Header({"content-disposition": value}).filename
    assert found == name or (name == "�" and isinstance(found, str))


def test_absent_content_type_is_empty() -> None:
    """It is not taken for text."""
    assert (Header({}).kind, Header({}).content_type) == ("", "")
