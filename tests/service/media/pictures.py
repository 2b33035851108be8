"""Pictures for tests."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def picture(width: int, height: int, form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """Return a picture with a gradient."""
    image = Image.linear_gradient("L").resize((width, height)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize((width, height)))
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def animation(width: int, height: int, form: str = "GIF", frames: int = 3) -> bytes:
    """Return a moving picture."""
    images = [Image.new("RGB", (width, height), (80 * number % 256, number, 10)) for number in range(frames)]
    out = io.BytesIO()
    images[0].save(out, form, save_all=True, append_images=images[1:], duration=50, loop=0)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """Return a decoded picture."""
    return Image.open(io.BytesIO(data))
