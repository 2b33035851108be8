"""Requests as handlers see them."""

from __future__ import annotations

import pytest

from conduit.api.request import Query, Request, parse_object
from conduit.protocol.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotJson


def test_query_values_are_decoded() -> None:
    """Escapes and plus signs are resolved; the last of repeated values counts, `all` has every one."""
    query = Query("a=1&b=x%26y&c=p+q&a=2&empty=")
    assert query.text("b") == "x&y"
    assert query.text("c") == "p q"
    assert query.text("a") == "2"
    assert query.all("a") == ["1", "2"]
    assert query.text("empty") == ""
    assert "empty" in query
    assert query.text("none") is None
    assert query.text("none", "d") == "d"
    assert query.all("none") == []


def test_a_required_parameter_that_is_missing_is_named() -> None:
    """The client learns what it forgot."""
    assert Query("user_id=u").required("user_id") == "u"
    with pytest.raises(MissingParam, match="user_id"):
        Query("").required("user_id")


@pytest.mark.parametrize("raw", ["a=%ff", "a=%ed%a0%80", "%ff=1"])
def test_a_query_that_is_no_utf8_is_refused(raw: str) -> None:
    """Broken text is an invalid parameter."""
    with pytest.raises(InvalidParam):
        Query(raw)


def test_a_query_of_thousands_of_parameters_is_refused() -> None:
    """Nobody needs so many, and each costs."""
    with pytest.raises(InvalidParam):
        Query("&".join(f"a{n}=1" for n in range(5000)))


@pytest.mark.parametrize(
    "raw", ["1_000", "٣", "²", "+5", "-1", "1.0", "1e3", "0x10", "", " 7", "7 ", "ten", "9" * 500, "1\n"]
)
def test_numbers_are_ascii_digits(raw: str) -> None:
    """What Python's int() takes beyond plain digits is refused."""
    query = Query("")
    query._values["n"] = [raw]
    with pytest.raises(InvalidParam):
        query.number("n")


def test_enormous_numbers_are_clamped() -> None:
    """A limit of ten to the hundred means as many as there may be."""
    assert Query("n=" + "9" * 100).number("n", 10, high=1000) == 1000
    assert Query("n=007").number("n") == 7
    assert Query("").number("n", 10) == 10
    assert Query("").number("n") is None
    with pytest.raises(InvalidParam):
        Query("n=0").number("n", low=1)


def test_flags_are_true_or_false() -> None:
    """No other spelling is understood."""
    assert Query("f=true").flag("f") is True
    assert Query("f=false").flag("f", True) is False
    assert Query("").flag("f", True) is True
    for raw in ("f=1", "f=True", "f=", "f=yes"):
        with pytest.raises(InvalidParam):
            Query(raw).flag("f")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", NotJson),
        (b"{", NotJson),
        (b"nonsense", NotJson),
        (b'{"a": NaN}', NotJson),
        (b'{"a": Infinity}', NotJson),
        (b'\xef\xbb\xbf{"a": 1}', NotJson),
        (b'{"a": "\xff"}', NotJson),
        (b'{"a": "\\ud800"}', NotJson),
        ('{"a": 1}'.encode("utf-16"), NotJson),
        (b"[" * 100_000, NotJson),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, NotJson),
        (b"[]", BadJson),
        (b'"text"', BadJson),
        (b"17", BadJson),
        (b"null", BadJson),
        (b'{"a":' * 300 + b"1" + b"}" * 300, BadJson),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", BadJson),
        (b'{"a": 9007199254740992}', BadJson),
        (b'{"a": [-9007199254740992]}', BadJson),
        (b'{"a": {"b": [9223372036854775808]}}', BadJson),
    ],
)
def test_bodies_that_matrix_cannot_hold_are_refused(body: bytes, error: type[MatrixError]) -> None:
    """Malformed text is M_NOT_JSON; JSON of the wrong shape, depth or range is M_BAD_JSON."""
    with pytest.raises(error):
        parse_object(body)


def test_bodies_at_the_bounds_are_taken() -> None:
    """The largest integers, floats, many shallow brackets and all of Unicode are fine."""
    assert parse_object(b'{"a": 9007199254740991, "b": -9007199254740991, "c": 0.25}')["c"] == 0.25
    assert len(parse_object(b'{"a": [' + b",".join([b"[]"] * 5000) + b"]}")["a"]) == 5000
    assert parse_object('{"a": "\u0000\U0001f600"}'.encode().replace(b"\x00", b"\\u0000"))["a"] == "\0\U0001f600"
    assert parse_object(b'{"ts": "1234567890123456789012345"}')["ts"].startswith("1234")


def test_no_body_is_an_empty_object_where_it_is_optional() -> None:
    """Many clients post nothing where nothing is needed."""
    assert parse_object(b"", optional=True) == {}
    with pytest.raises(NotJson):
        parse_object(b" ", optional=True)


def test_a_body_is_parsed_once() -> None:
    """Two readers get the same object."""
    request = Request(method="POST", path="/", body=b'{"a": {}}')
    assert request.json() is request.json()


async def test_a_request_without_a_stream_has_an_empty_one() -> None:
    """A handler may always iterate."""
    assert [piece async for piece in Request(method="POST", path="/").stream()] == []


def test_advisory_18_body_that_is_too_much_as_objects_is_refused() -> None:
    """Twelve megabytes of empty lists would be hundreds of them in memory."""
    with pytest.raises(BadJson, match="too many"):
        parse_object(b'{"a": [' + b",".join([b"[]"] * 4_000_000) + b"]}")
