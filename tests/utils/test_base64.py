"""Unpadded base64."""

from __future__ import annotations

import base64 as stdlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.utils.base64 import decode, decode_urlsafe, encode, encode_urlsafe


# The appendix "Unpadded Base64" gives these.
@pytest.mark.parametrize(
    ("text", "data"),
    [("", b""), ("Zg", b"f"), ("Zm8", b"fo"), ("Zm9v", b"foo"), ("Zm9vYg", b"foob"), ("Zm9vYmFy", b"foobar")],
)
def test_examples_of_the_specification(text: str, data: bytes) -> None:
    """The specification's own examples hold both ways."""
    assert encode(data) == text
    assert decode(text) == data


@given(st.binary(max_size=200))
def test_round_trip_agrees_with_the_standard_library(data: bytes) -> None:
    """Whatever is encoded comes back, padded or not, in both alphabets."""
    assert encode(data) == stdlib.b64encode(data).decode().rstrip("=")
    assert encode_urlsafe(data) == stdlib.urlsafe_b64encode(data).decode().rstrip("=")
    assert decode(encode(data)) == decode(stdlib.b64encode(data).decode()) == data
    assert decode_urlsafe(encode_urlsafe(data)) == data


@pytest.mark.parametrize("text", ["Z", "Zm9v!", "Zm 9v", "Zm9v\n", "Zg===", "=", "Zg=Zg", "Zé", "-_-_", "٣٣٣٣"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    """White space, foreign characters, impossible lengths and the other alphabet are errors."""
    with pytest.raises(ValueError, match="base64"):
        decode(text)


@pytest.mark.parametrize("text", ["+/+/", "Z", "Zm9v!"])
def test_the_urlsafe_alphabet_excludes_the_other(text: str) -> None:
    """URL-safe base64 has `-` and `_` and not `+` and `/`."""
    with pytest.raises(ValueError, match="base64"):
        decode_urlsafe(text)
