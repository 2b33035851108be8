"""Base64 as Matrix writes it: without padding. Decoding takes either form and is strict about everything else.

Source: appendices, "Unpadded Base64".
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URLSAFE = str.maketrans("-_", "+/")


def encode(data: bytes) -> str:
    """Return `data` as unpadded base64."""
    return b2a_base64(data, newline=False).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes that `text`, padded or not, stands for; raise `ValueError` if it is not base64."""
    bare = text.rstrip("=")
    padding = len(text) - len(bare)
    if not bare.isascii() or (padding and (padding > 2 or len(text) % 4)):
        raise ValueError("not base64")
    try:
        return a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except Error as error:
        raise ValueError("not base64") from error


def encode_urlsafe(data: bytes) -> str:
    """Return `data` as unpadded base64 in the URL-safe alphabet."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URLSAFE).decode()


def decode_urlsafe(text: str) -> bytes:
    """Return the bytes that URL-safe `text` stands for; raise `ValueError` if it is not base64."""
    if "+" in text or "/" in text:
        raise ValueError("not URL-safe base64")
    return decode(text.translate(_FROM_URLSAFE))
