from pathlib import Path
from typing import Any

import pytest

from conduit.config import values
from conduit.config.schema import Setting
from conduit.config.values import Unfit


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (20_000_000, 20_000_000),
        (0, 0),
        ("20_000_000", 20_000_000),
        ("20MB", 20_000_000),
        ("20 MB", 20_000_000),
        ("20mb", 20_000_000),
        ("20M", 20_000_000),
        ("20MiB", 20 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("0.1TB", 10**11),
        ("512 B", 512),
    ],
)
def test_size_is_read_with_decimal_and_binary_units(given: object, expected: int) -> None:
    """Sizes are bytes, or texts with a unit."""
    assert values.size(given) == expected


@pytest.mark.parametrize("given", [-1, True, 1.5, "", "MB", "20 XB", "1e6", "-5MB", "5iB", "\u0662\u0660MB", None, [1]])
def test_size_of_another_form_is_refused(given: object) -> None:
    """What is no size is not guessed at."""
    with pytest.raises(Unfit):
        values.size(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3600, 3600),
        ("90", 90),
        ("30d", 2_592_000),
        ("1h 30m", 5400),
        ("2 weeks", 1_209_600),
        ("1y", 31_557_600),
        ("5MIN", 300),
    ],
)
def test_duration_is_read_with_units(given: object, expected: int) -> None:
    """Durations are seconds, or texts of numbers and units that add up."""
    assert values.duration(given) == expected


@pytest.mark.parametrize("given", [-1, True, 1.5, "", "d", "30 x", "1h and 2m", "-1d", None])
def test_duration_of_another_form_is_refused(given: object) -> None:
    """What is no duration is not guessed at."""
    with pytest.raises(Unfit):
        values.duration(given)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("ip", ["127.0.0.1", "::", "[::1]"], ["localhost", "1.2.3", "1.2.3.4:5"]),
        ("ranges", ["10.0.0.0/8", "10.1.2.3", "fc00::/7"], ["10.0.0.0/99", "private"]),
        ("server", ["example.org", "example.org:8448", "[::1]:80", "1.2.3.4"], ["https://example.org", "a b", "a:b"]),
        (
            "url",
            ["https://a.example", "http://1.2.3.4:8008/base"],
            ["a.example", "ftp://a", "https://", "https://a:x", "https://a/?q"],
        ),
        ("user", ["@admin:example.org"], ["admin", "@admin", "admin:example.org"]),
        ("mode", ["660", "600"], ["999", "rw-rw----", "0660"]),
        ("log", ["info", "warn,conduit::api=debug", "off,sync=info"], ["loud", "sync=loud", "a b=info"]),
    ],
)
def test_text_is_held_to_its_kind(kind: str, good: list[str], bad: list[str]) -> None:
    """Addresses, names and the like are checked when they are read."""
    setting = Setting("", kind=kind)
    for text in good:
        assert values.text(text, setting)
    for text in (*bad, "", "  "):
        with pytest.raises(Unfit):
            values.text(text, setting)


def test_text_outside_its_choices_is_refused_with_the_reason() -> None:
    """A choice that one may expect to work says why it does not."""
    setting = Setting("", choices=("a", "b"), refused_choices=(("c", "c is not built"),))
    assert values.text("a", setting) == "a"
    with pytest.raises(Unfit, match='one of "a", "b"') as refused:
        values.text("c", setting)
    assert refused.value.why == "c is not built"
    with pytest.raises(Unfit, match='one of "a", "b"'):
        values.text(1, setting)


@pytest.mark.parametrize(
    ("value", "whole", "fits"),
    [
        (5, True, True),
        (5, False, True),
        (5.5, False, True),
        (5.5, True, False),
        (True, True, False),
        (0, True, False),
        (11, True, False),
        ("5", True, False),
    ],
)
def test_number_is_held_to_its_bounds(value: Any, whole: bool, fits: bool) -> None:
    """A truth value is no number, a text neither, and bounds hold."""
    setting = Setting("", low=1, high=10)
    if fits:
        assert values.number(value, setting, whole=whole) == value
    else:
        with pytest.raises(Unfit, match="from 1 to 10"):
            values.number(value, setting, whole=whole)


def test_flag_is_only_true_or_false() -> None:
    """`1` and `"yes"` are not truth values."""
    assert values.flag(True) is True
    for other in (1, "true", None):
        with pytest.raises(Unfit):
            values.flag(other)


def test_path_expands_the_home_directory(monkeypatch) -> None:
    """`~` is the user's home."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert values.path("~/data") == Path("/home/somebody/data")
    for other in ("", "a\0b", 5):
        with pytest.raises(Unfit):
            values.path(other)


@pytest.mark.parametrize(
    ("raw", "is_text", "is_list", "expected"),
    [
        ("8008", False, False, 8008),
        ("8008", True, False, "8008"),
        ("true", False, False, True),
        ("yes", False, False, "yes"),
        ('["a", "b"]', False, True, ["a", "b"]),
        ("a.example, b.example", False, True, ["a.example", "b.example"]),
        ("", False, True, []),
        ("{ burst = 5 }", False, False, {"burst": 5}),
    ],
)
def test_environment_is_read_as_toml_where_no_text_is_wanted(
    raw: str, is_text: bool, is_list: bool, expected: Any
) -> None:
    """Variables hold texts as they stand, everything else as in the file; lists may have commas."""
    assert values.from_environment(raw, is_text=is_text, is_list=is_list) == expected
