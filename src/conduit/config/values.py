"""Reading one value: sizes, durations, addresses, names; each either as TOML or as the text of an environment variable.

Every reader returns the value or raises `Unfit` with what is expected, in words.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conduit.config.log_filter import LogFilter
from conduit.config.schema import Setting
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import is_server_name, parse_user_id

_SIZE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"([0-9][0-9_]*)\s*([a-z]*)", re.ASCII)
_PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {
    "": 1, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600,
    "d": 86400, "day": 86400, "w": 604800, "week": 604800, "y": 31557600, "year": 31557600,
}  # fmt: skip


class Unfit(Exception):
    """A value is not what its setting takes; the message says what is, `why` the reason if there is one to tell."""

    def __init__(self, expected: str, why: str = "") -> None:
        super().__init__(expected)
        self.why = why


def size(value: object) -> int:
    """Return a number of bytes: `20_000_000`, `"20MB"` (10^6) or `"20MiB"` (2^20)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        power, binary = _POWERS[match[2].lower()], bool(match[3])
        if power or not binary:
            return int(Fraction(match[1].replace("_", "")) * (1024 if binary else 1000) ** power)
    raise Unfit('a size: a number of bytes, or "20MB", "1.5GiB"')


def duration(value: object) -> int:
    """Return a number of seconds: `3600`, `"30d"` or `"1h 30m"`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        text = value.strip().lower()
        parts = list(_DURATION.finditer(text))
        rest = _DURATION.sub("", text).strip()
        units = [_SECONDS.get(part[2], _SECONDS.get(part[2].removesuffix("s"))) for part in parts]
        if parts and not rest and None not in units:
            return sum(int(part[1].replace("_", "")) * (unit or 0) for part, unit in zip(parts, units, strict=True))
    raise Unfit('a duration: a number of seconds, or "30d", "1h 30m"')


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise Unfit('an IP address, as "127.0.0.1" or "::"') from None


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Unfit('an address or a range of addresses, as "10.0.0.0/8"') from None


def _server(text: str) -> str:
    if not is_server_name(text):
        raise Unfit('a server name, as "example.org" or "example.org:8448"')
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        good = False
    if not good:
        raise Unfit('a URL, as "https://matrix.example.org"')
    return text


def _proxy(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in _PROXIES and bool(parts.hostname)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        good = False
    if not good:
        raise Unfit('the URL of a proxy, as "socks5h://localhost:9050" or "http://proxy.example.org:3128"')
    return text


def _user(text: str) -> str:
    try:
        return parse_user_id(text)
    except MatrixError:
        raise Unfit('a user id, as "@admin:example.org"') from None


def _mode(text: str) -> str:
    if not re.fullmatch("[0-7]{3}", text, re.ASCII):
        raise Unfit('the mode of a file in octal, as "660"')
    return text


def _log(text: str) -> str:
    try:
        LogFilter(text)
    except ValueError as error:
        raise Unfit(f'a log filter, as "info" or "warn,conduit.api=debug" ({error})') from None
    return text


_TEXT_KINDS: dict[str, Callable[[str], str]] = {
    "": str,
    "ip": _ip,
    "ranges": _range,
    "server": _server,
    "url": _url,
    "proxy": _proxy,
    "user": _user,
    "mode": _mode,
    "log": _log,
}


def text(value: object, setting: Setting) -> str:
    """Return `value` as a text of the setting's kind and choices; an empty text is never one."""
    if not isinstance(value, str):
        raise Unfit("a text in quotes" if not setting.choices else _one_of(setting))
    if setting.choices and value not in setting.choices:
        for name, reason in setting.refused_choices:
            if value == name:
                raise Unfit(_one_of(setting), reason)
        raise Unfit(_one_of(setting))
    if not value.strip():
        raise Unfit("a text that is not empty")
    return _TEXT_KINDS[setting.kind](value)


def number(value: object, setting: Setting, *, whole: bool) -> float:
    """Return `value` as a number within the setting's bounds."""
    fits = isinstance(value, int) or (isinstance(value, float) and not whole)
    if setting.kind == "bytes":
        value, fits = size(value), True
    elif setting.kind == "seconds":
        value, fits = duration(value), True
    if isinstance(value, bool) or not fits or not setting.low <= value <= setting.high:  # type: ignore[operator]
        kind = "a whole number" if whole else "a number"
        bounds = (
            f" of at least {setting.low:g}" if setting.high == 2**53 else f" from {setting.low:g} to {setting.high:g}"
        )
        raise Unfit(f"{kind}{bounds}")
    return value if whole else float(value)  # type: ignore[return-value, arg-type]


def flag(value: object) -> bool:
    """Return `value` as true or false."""
    if not isinstance(value, bool):
        raise Unfit("true or false")
    return value


def path(value: object) -> Path:
    """Return `value` as a path, `~` expanded."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Unfit("a path in quotes")
    return Path(value).expanduser()


def _one_of(setting: Setting) -> str:
    return ("one of " if len(setting.choices) > 1 else "") + ", ".join(f'"{choice}"' for choice in setting.choices)


def from_environment(raw: str, *, is_text: bool, is_list: bool) -> Any:
    """Return what the environment variable's text stands for: itself where a text is wanted, otherwise its value in TOML.

    Lists may also be written with commas.
    """
    if is_text:
        return raw
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return [part.strip() for part in raw.split(",") if part.strip()] if is_list else raw
