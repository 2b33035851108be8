"""Thumbnails: their sizes, their forms, and what a hostile picture can do."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.protocol.errors import BadRequest
from conduit.service.media import thumbnails
from conduit.service.media.thumbnails import Size, Thumbnail, Thumbnailer
from tests.service.media.pictures import animation, opened, picture


@pytest.fixture
def thumbnailer() -> Iterator[Thumbnailer]:
    """A helper process, not started yet."""
    thumbnailer = Thumbnailer()
    yield thumbnailer
    thumbnailer.close()


def made(data: bytes, size: Size) -> Thumbnail | None:
    """Return what the helper process would answer, made in this one."""
    result = thumbnails._make(data, size)
    assert not isinstance(result, str), result
    return result


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1, 1, (32, 32)), (32, 33, (96, 96)), (97, 1, (320, 240)), (1, 241, (640, 480)), (800, 600, (800, 600))],
)
def test_least_size_that_is_no_smaller_is_chosen(width: int, height: int, expected: tuple[int, int]) -> None:
    """On both sides."""
    for method, animated in itertools.product(("crop", "scale"), (False, True)):
        size = thumbnails.choose(width, height, method, animated=animated)
        assert size == (*expected, method == "crop", animated)


def test_request_beyond_the_largest_thumbnail_gets_none() -> None:
    """The original serves."""
    for width, height in ((801, 1), (1, 601), (10**9, 10**9)):
        assert thumbnails.choose(width, height, "scale", animated=False) is None


def test_every_kind_of_thumbnail_has_a_key_of_its_own() -> None:
    """And those that Conduit makes have Conduit's."""
    frames = [*thumbnails.SIZES, (thumbnails.AS_LARGE, thumbnails.AS_LARGE)]
    kinds = [Size(*frame, crop, animated) for frame in frames for crop in (False, True) for animated in (False, True)]
    keys = {size.key() for size in kinds}
    assert len(keys) == len(kinds)
    assert all(max(key) < 1 << 32 for key in keys)
    for width, height in thumbnails.SIZES:
        assert Size(width, height, width <= 96, False).key() == (width, height)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.integers(1, 800),
    st.integers(1, 600),
    st.sampled_from(["crop", "scale"]),
    st.sampled_from(["PNG", "JPEG"]),
)
def test_thumbnails_are_never_smaller_than_asked_for_nor_larger_than_the_original(
    width: int, height: int, wanted_width: int, wanted_height: int, method: str, form: str
) -> None:
    """Whatever the proportions; `scale` keeps them."""
    size = thumbnails.choose(wanted_width, wanted_height, method, animated=False)
    assert size is not None
    result = made(picture(width, height, form), size)
    if result is None:
        assert width <= size.width
        assert height <= size.height
        return
    got_width, got_height = opened(result.data).size
    assert min(wanted_width, width) <= got_width <= width
    assert min(wanted_height, height) <= got_height <= height
    if method == "scale":
        assert abs(got_width * height - got_height * width) <= max(width, height)


@pytest.mark.parametrize(
    ("form", "mode", "expected"),
    [
        ("PNG", "RGBA", "image/png"),
        ("PNG", "LA", "image/png"),
        ("PNG", "P", "image/jpeg"),
        ("PNG", "1", "image/jpeg"),
        ("PNG", "I;16", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("JPEG", "L", "image/jpeg"),
        ("WEBP", "RGBA", "image/png"),
        ("GIF", "L", "image/jpeg"),
    ],
)
def test_form_follows_transparency(form: str, mode: str, expected: str) -> None:
    """What has an alpha channel stays transparent; everything else becomes a JPEG that says what it is."""
    result = made(picture(200, 100, form, mode), Size(96, 96, True, False))
    assert result is not None
    assert result.content_type == expected
    image = opened(result.data)
    assert (image.format, image.size) == (expected.partition("/")[2].upper(), (96, 96))


def test_picture_is_turned_upright() -> None:
    """A photograph says how the camera was held, and its thumbnail says nothing."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010F] = "Maker"
    result = made(picture(1000, 500, "JPEG", exif=exif), Size(320, 240, False, False))
    assert result is not None
    image = opened(result.data)
    assert image.size == (320, 640)
    assert not image.getexif()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animation_moves_only_when_it_should(form: str) -> None:
    """Frames and their number stay; asked for a still picture, even a small animation is answered with one frame."""
    data = animation(200, 100, form)
    moving = made(data, Size(32, 32, False, True))
    assert moving is not None
    assert moving.content_type == "image/webp"
    assert (opened(moving.data).size, getattr(opened(moving.data), "n_frames", 1)) == ((64, 32), 3)
    for size in (Size(32, 32, False, False), Size(thumbnails.AS_LARGE, thumbnails.AS_LARGE, False, False)):
        still = made(data, size)
        assert still is not None
        assert getattr(opened(still.data), "n_frames", 1) == 1
    assert made(data, Size(320, 240, False, True)) is None


def test_animation_of_too_many_frames_stands_still() -> None:
    """The work is bounded."""
    result = made(animation(40, 40, frames=thumbnails.MAX_FRAMES + 1), Size(32, 32, True, True))
    assert result is not None
    assert result.content_type == "image/jpeg"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "unreadable"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unreadable"),
        (picture(40, 40, "TIFF"), "unreadable"),
        (picture(40, 40, "PPM"), "unreadable"),
        (picture(400, 400)[:300], "unreadable"),
        (picture(thumbnails.MAX_PIXELS // 1000 + 1, 1000, mode="1"), "large"),
    ],
)
def test_advisory_17_other_formats_and_bombs_are_refused(data: bytes, expected: str) -> None:
    """By the four formats' decoders or before any is run."""
    assert thumbnails._make(data, Size(32, 32, True, False)) == expected


async def test_death_of_the_process_is_the_end_of_one_picture(thumbnailer: Thumbnailer) -> None:
    """Whatever ends the helper, the next picture gets a new one."""
    data, size = picture(200, 200), Size(32, 32, True, False)
    first = await thumbnailer.make(data, size)
    assert first is not None
    assert opened(first.data).size == (32, 32)
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    with pytest.raises(BadRequest):
        await thumbnailer.make(data, size)
    assert await thumbnailer.make(data, size) == first
    with pytest.raises(BadRequest):
        await thumbnailer.make(b"no picture", size)
