"""The form in which servers hand media to each other: a description in JSON, then the bytes, as two parts of one body.

It is taken apart as it comes, so that a file of any size passes through a small buffer.

Source: server-server API, "Content Repository"; RFC 2046, section 5.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Final

MAX_HEADERS: Final = 16 * 1024
MAX_DESCRIPTION: Final = 64 * 1024
MAX_BOUNDARY: Final = 200


class Malformed(Exception):
    """The body is not what it should be; the message says why."""


class Header:
    """The parameters of `Content-Type` and `Content-Disposition`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._message = Message()
        for name in ("content-type", "content-disposition"):
            value = headers.get(name)
            if value is not None:
                self._message[name] = value.replace("\r", " ").replace("\n", " ")

    @property
    def kind(self) -> str:
        """The bare content type in lower case; empty if there is none."""
        return self._message.get_content_type() if "content-type" in self._message else ""

    @property
    def content_type(self) -> str:
        """The content type with its parameters; empty if there is none."""
        return str(self._message.get("content-type", "")).strip()

    @property
    def boundary(self) -> str | None:
        """The boundary between parts."""
        value = self._message.get_param("boundary")
        return value if isinstance(value, str) and 0 < len(value) <= MAX_BOUNDARY and value.isascii() else None

    @property
    def filename(self) -> str:
        """The name of the file in either spelling; empty if there is none."""
        try:
            return self._message.get_filename() or ""
        except (LookupError, ValueError):
            return ""


class Reader:
    """Takes the parts out of a body one by one: `await next()` gives the headers of the next, `body()` its bytes. Both raise `Malformed`."""

    def __init__(self, pieces: AsyncIterator[bytes], boundary: str) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first delimiter may stand at the very beginning.
        self._buffer = bytearray(b"\r\n")

    async def next(self) -> dict[str, str]:
        """Return the headers of the next part, their names in lower case; what is left of the part before is passed over."""
        await self._until(self._delimiter, MAX_DESCRIPTION)
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer[:2] == b"--":
            raise Malformed("a part is missing")
        line = await self._until(b"\r\n", MAX_HEADERS)
        if line.strip(b" \t"):
            raise Malformed("a boundary does not end its line")
        # So that a part without headers begins with an empty line like any other.
        self._buffer[:0] = b"\r\n"
        head = await self._until(b"\r\n\r\n", MAX_HEADERS)
        headers: dict[str, str] = {}
        for raw in head.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = raw.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        return headers

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the part whose headers were returned last."""
        keep = len(self._delimiter) - 1
        while True:
            end = self._buffer.find(self._delimiter)
            if end >= 0:
                if end:
                    yield bytes(self._buffer[:end])
                del self._buffer[:end]
                return
            ready = len(self._buffer) - keep
            if ready > 0:
                yield bytes(self._buffer[:ready])
                del self._buffer[:ready]
            await self._more()

    async def _until(self, mark: bytes, limit: int) -> bytes:
        """Return what stands before `mark`, and pass over both."""
        at = 0
        while (end := self._buffer.find(mark, at)) < 0:
            if len(self._buffer) > limit:
                raise Malformed("a part's head is too long")
            at = max(0, len(self._buffer) - len(mark))
            await self._more()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    async def _more(self) -> None:
        async for piece in self._pieces:
            self._buffer += piece
            return
        raise Malformed("the body ends too early")


async def media_part(pieces: AsyncIterator[bytes], boundary: str) -> tuple[dict[str, str], AsyncIterator[bytes]]:
    """Return the headers and the bytes of the second part: the media itself. Raises `Malformed`, then or while it is read."""
    reader = Reader(pieces, boundary)
    await reader.next()
    return await reader.next(), reader.body()


def frame(boundary: str, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Return what goes before and after the bytes of a file that is handed to another server."""
    lines = "".join(f"{name}: {_line(value)}\r\n" for name, value in headers.items())
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n{lines}\r\n"
    return head.encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode("ascii")


def _line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")
