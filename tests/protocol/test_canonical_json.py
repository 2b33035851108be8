from __future__ import annotations

import json
from typing import Any

import canonicaljson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.protocol import canonical_json
from conduit.protocol.errors import BadJson, NotJson

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda child: st.lists(child, max_size=4) | st.dictionaries(TEXT, child, max_size=4),
    max_leaves=20,
)

# Appendices, "Canonical JSON", "Examples".
VECTORS = [
    ("{}", "{}"),
    ('{\n    "one": 1,\n    "two": "Two"\n}', '{"one":1,"two":"Two"}'),
    ('{\n    "b": "2",\n    "a": "1"\n}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe", '
        '"three_pids": [{"medium": "email", "address": "john.doe@example.org"}, '
        '{"medium": "msisdn", "address": "123456789"}]}}}',
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
        '"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0}', '{"a":0}'),
]


@pytest.mark.parametrize(("source", "canonical"), VECTORS)
def test_encode_gives_the_specifications_examples(source: str, canonical: str) -> None:
    """Every example of the appendix that holds integers as such."""
    assert canonical_json.encode(canonical_json.loads(source)) == canonical.encode()


@given(JSON)
def test_encode_writes_what_canonicaljson_writes(value: Any) -> None:
    """Byte for byte, over the whole of Unicode and all allowed integers."""
    assert canonical_json.encode(value) == canonicaljson.encode_canonical_json(value)


@given(JSON)
def test_loads_reads_back_what_encode_wrote(value: Any) -> None:
    """A round trip loses nothing."""
    assert canonical_json.loads(canonical_json.encode(value)) == value


@pytest.mark.parametrize(
    "number", ["1e10", "1.0", "-0.0", "0.5", "9007199254740992", "-9007199254740992", "1" + "0" * 30]
)
def test_strict_check_refuses_numbers_that_are_no_safe_integers(number: str) -> None:
    """Floats, even whole ones, and integers from 2^53 on; those beyond 64 bits reach us as floats."""
    with pytest.raises(BadJson):
        canonical_json.loads(f'{{"content":[{{"n":{number}}}]}}')


@pytest.mark.parametrize("number", ["9007199254740991", "-9007199254740991", "0"])
def test_strict_check_takes_integers_up_to_the_bound(number: str) -> None:
    """The bounds themselves are allowed."""
    assert canonical_json.loads(number) == int(number)


@pytest.mark.parametrize("number", ["1e10", "0.25", "9007199254740992", "-9223372036854775807"])
def test_lax_check_takes_floats_and_long_integers(number: str) -> None:
    """Client bodies and events of room versions 1 to 5 may hold them."""
    assert canonical_json.loads(number, strict=False) == json.loads(number)


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775808"])
def test_lax_check_refuses_integers_beyond_64_bits(number: str) -> None:
    """They fit no column and no other implementation."""
    with pytest.raises(BadJson):
        canonical_json.loads(number, strict=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nope",
        b"NaN",
        b"Infinity",
        b"1e999",
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
        b"[1,]",
        b"[" * 5000,
    ],
)
def test_loads_refuses_what_is_not_json(data: bytes) -> None:
    """NaN, lone surrogates, broken UTF-8, a byte order mark and endless nesting are no JSON."""
    with pytest.raises(NotJson):
        canonical_json.loads(data)


def _nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_check_bounds_the_depth() -> None:
    """At the limit a value still fits into an answer; beyond it is refused before anything else touches it."""
    value = canonical_json.loads(_nested(canonical_json.MAX_DEPTH))
    assert canonical_json.dump({"rooms": {"join": {"timeline": [value]}}})
    for strict in (True, False):
        with pytest.raises(BadJson):
            canonical_json.loads(_nested(canonical_json.MAX_DEPTH + 1), strict=strict)
        with pytest.raises(BadJson):
            canonical_json.loads(b"[" * 201 + b"]" * 201, strict=strict)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b'"x":0'])
def test_advisory_18_text_that_is_too_much_as_objects_is_not_taken_apart(value: bytes) -> None:
    """Ten megabytes of next to nothing would be hundreds of them in memory. As many bytes of real content are fine."""
    begin, end = (b"{", b"}") if b":" in value else (b"[", b"]")
    with pytest.raises(BadJson, match="too many"):
        canonical_json.loads(begin + b",".join([value] * (canonical_json.MAX_VALUES * 3 // 2)) + end)
    assert len(canonical_json.loads(b"[" + b",".join([b'"' + b"x" * 60 + b'"'] * 150_000) + b"]")) == 150_000
    assert len(canonical_json.loads(b'["' + b"[,{" * 100_000 + b'"]')) == 1


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {"a": object()}, b"bytes", {"a": float("nan")}, {"a": {1, 2}}])
@pytest.mark.parametrize("strict", [True, False])
def test_check_refuses_what_is_no_json_value(value: Any, strict: bool) -> None:
    """The encoder would write NaN as null and dates as text; neither may happen to something that is signed."""
    with pytest.raises(BadJson):
        canonical_json.check(value, strict=strict)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\udc00b"]])
def test_encode_refuses_lone_surrogates(value: Any) -> None:
    """They have no UTF-8 form."""
    with pytest.raises(BadJson):
        canonical_json.encode(value)


def test_true_is_no_number() -> None:
    """Booleans stay what they are."""
    assert canonical_json.encode({"a": True, "b": 1}) == b'{"a":true,"b":1}'
