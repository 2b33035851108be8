"""Thumbnails of images, made in a process of their own.

Decoders of pictures are where servers have been broken into: only four formats are opened, the number of pixels is looked at before any is
decoded, and all of it happens in a helper process with bounds on memory, so that a hostile picture can end nothing but that process.

Source: client-server API, "Thumbnails".
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, NamedTuple

from conduit.protocol.errors import BadRequest, TooLarge
from conduit.utils.helper_process import Helper

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
CONTENT_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/apng"})
MAX_PIXELS = 64_000_000
MAX_FRAMES = 200
MAX_ANIMATED_PIXELS = 40_000_000
"""Over all frames of a thumbnail; an animation beyond it gets a still thumbnail."""
MAX_MEMORY = 2 << 30
IDLE_SECONDS = 60.0

SIZES = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600))
"""The sizes that are made; a request is answered with the least one that is no smaller."""

AS_LARGE = 1 << 15
"""A frame around pictures of any size: what is made for it is the original, or its first frame where that moves."""

_CROP = 1 << 31
_ANIMATED = 1 << 30


class Size(NamedTuple):
    """A thumbnail to be made: one of `SIZES` and how."""

    width: int
    height: int
    crop: bool
    animated: bool

    def key(self) -> tuple[int, int]:
        """Return width and height as they stand in the thumbnail's key.

        Conduit crops up to 96x96 and scales beyond, without animation; what differs from that is marked in the width's upper bits.
        """
        usual = self.crop == (self.width <= 96)
        marks = (0 if usual else _CROP) | (_ANIMATED if self.animated else 0)
        return self.width | marks, self.height


class Thumbnail(NamedTuple):
    """A picture in one of the formats that thumbnails may have."""

    data: bytes
    content_type: str


def choose(width: int, height: int, method: str, *, animated: bool) -> Size | None:
    """Return what to make for a request; `None` if it asks for more than the largest thumbnail: then the original serves."""
    for known_width, known_height in SIZES:
        if width <= known_width and height <= known_height:
            return Size(known_width, known_height, method == "crop", animated)
    return None


class Thumbnailer:
    """The helper process. It starts with the first picture and ends when it was idle for a minute."""

    def __init__(self) -> None:
        self._helper: Helper | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._running = 0

    async def make(self, data: bytes, size: Size) -> Thumbnail | None:
        """Return a thumbnail of `data`; `None` if the original is no larger and may serve itself.

        Raises `BadRequest` for what is no picture of the known formats, `TooLarge` for one of too many pixels.
        """
        # Not cheap to import, and no part of the start.
        from concurrent.futures.process import BrokenProcessPool

        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._running += 1
        try:
            result = await loop.run_in_executor(self._start(), _make, data, size)
        except BrokenProcessPool as error:
            self.close()
            raise BadRequest("Cannot generate thumbnails for the requested content") from error
        finally:
            self._running -= 1
            if not self._running:
                self._idle = loop.call_later(IDLE_SECONDS, self.close)
        if isinstance(result, str):
            if result == "large":
                raise TooLarge("Content is too large to thumbnail")
            raise BadRequest("Cannot generate thumbnails for the requested content")
        return result

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()

    def _start(self) -> ProcessPoolExecutor:
        if self._helper is None:
            self._helper = Helper(_begin)
        return self._helper.pool


# --- in the helper process -----------------------------------------------------------------------------------------


def _begin() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _make(data: bytes, size: Size) -> Thumbnail | str | None:
    """Return the thumbnail, `None` if the original serves, "large" or "unreadable"."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # looked at here, before anything is decoded
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return "large"
            is_animation = getattr(image, "is_animated", False)
            if image.width <= size.width and image.height <= size.height and (size.animated or not is_animation):
                return None
            if size.animated and is_animation:
                animation = _animate(image, size)
                if animation is not None:
                    return animation
            image.seek(0)
            if image.format == "JPEG":
                image.draft("RGB", (size.width * 2, size.height * 2))
            upright = ImageOps.exif_transpose(image)
            return _still(_resize(upright, size))
    except MemoryError:
        return "large"
    except Exception:
        # Whatever a decoder trips over: the picture is not readable, and the caller says so.
        return "unreadable"


def _resize(image: object, size: Size) -> object:
    from PIL import Image, ImageOps

    assert isinstance(image, Image.Image)
    if image.mode not in ("RGB", "RGBA", "L"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if size.crop:
        # Never upscaled: where the picture is smaller one way, the frame shrinks with it.
        box = (min(size.width, image.width), min(size.height, image.height))
        return ImageOps.fit(image, box, Image.Resampling.LANCZOS)
    # No smaller than asked for: one side meets the frame from outside.
    factor = max(size.width / image.width, size.height / image.height)
    if factor >= 1:
        return image
    box = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(box, Image.Resampling.LANCZOS)


def _still(image: object) -> Thumbnail:
    from PIL import Image

    assert isinstance(image, Image.Image)
    out = io.BytesIO()
    if image.mode == "RGBA":
        image.save(out, "PNG", optimize=False)
        return Thumbnail(out.getvalue(), "image/png")
    image.save(out, "JPEG", quality=82)
    return Thumbnail(out.getvalue(), "image/jpeg")


def _animate(image: object, size: Size) -> Thumbnail | None:
    from PIL import Image

    assert isinstance(image, Image.Image)
    frames: list[Image.Image] = []
    durations: list[int] = []
    pixels = 0
    count = getattr(image, "n_frames", 1)
    if count > MAX_FRAMES:
        return None
    for index in range(count):
        image.seek(index)
        pixels += image.width * image.height
        if pixels > MAX_ANIMATED_PIXELS:
            return None
        frame = _resize(image.convert("RGBA"), size)
        assert isinstance(frame, Image.Image)
        frames.append(frame)
        durations.append(int(image.info.get("duration", 100)))
    out = io.BytesIO()
    loop = int(image.info.get("loop", 0))
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=loop, quality=75)
    return Thumbnail(out.getvalue(), "image/webp")
