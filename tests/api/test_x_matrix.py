"""The header that signs requests between servers."""

from __future__ import annotations

import pytest

from conduit.api.x_matrix import read_claims
from conduit.protocol.errors import InvalidParam, Unauthorized

HERE = "here.test"
GOOD = 'X-Matrix origin="a.test",destination="here.test",key="ed25519:1",sig="c2ln"'


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        'X-Matrix origin=a.test,destination=here.test,key="ed25519:1",sig="c2ln"',
        "X-Matrix origin=a.test,destination=here.test,key=ed25519:1,sig=c2ln",
        'x-matrix   ORIGIN="a.test" , Destination="here.test"\t,\tkey="ed25519:1",sig="c2ln"',
        'X-Matrix sig="c2ln",key="ed25519:1",destination="here.test",origin="a.test"',
        'X-Matrix origin="a\\.test",destination="here.t\\est",key="ed25519:1",sig="c2ln"',
        'X-Matrix ,origin="a.test",,destination="here.test",key="ed25519:1",sig="c2ln",',
        'X-Matrix origin="a.test",destination="here.test",key="ed25519:1",sig="c2ln",more="a,\\"b"',
        'X-Matrix origin="a.test",destination="here.test",key="ed25519:1",signature="c2ln"',
    ],
)
def test_every_legal_form_is_read(header: str) -> None:
    """Quoted or not, escaped, in any order and case, with spaces, empty elements and unknown parameters."""
    (claim,) = read_claims([header], HERE)
    assert (claim.origin, claim.destination, claim.key_id, claim.signature) == (
        "a.test",
        "here.test",
        "ed25519:1",
        "c2ln",
    )


def test_destination_may_be_absent() -> None:
    """Older servers do not send it, and do not sign it."""
    (claim,) = read_claims(['X-Matrix origin="a.test",key="ed25519:1",sig="c2ln"'], HERE)
    assert claim.destination is None
    assert list(claim.messages("GET", "/x", b"", None)) == [b'{"method":"GET","origin":"a.test","uri":"/x"}']


def test_ports_and_base64_need_no_quotes() -> None:
    """Colons, slashes and padding stand in values without quotes too."""
    (claim,) = read_claims(["X-Matrix origin=[::1]:8448,key=ed25519:a_b,sig=ab+/cd=="], HERE)
    assert (claim.origin, claim.key_id, claim.signature) == ("[::1]:8448", "ed25519:a_b", "ab+/cd==")


def test_several_keys_are_several_claims() -> None:
    """A server that signs with two keys sends two headers; others' schemes are passed over."""
    headers = [GOOD, "Bearer abc", GOOD.replace("ed25519:1", "ed25519:2")]
    assert [claim.key_id for claim in read_claims(headers, HERE)] == ["ed25519:1", "ed25519:2"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Bearer abc"],
        ["X-Matrix"],
        ["X-Matrixorigin=a.test"],
        ["X-Matrix origin"],
        ['X-Matrix origin="a.test'],
        ['X-Matrix origin="a.test" key="ed25519:1",sig="c2ln"'],
        [GOOD.replace("a.test", "")],
        [GOOD.replace('key="ed25519:1",', "")],
        [GOOD.replace('sig="c2ln"', 'sig=""')],
        [GOOD + ',origin="b.test"'],
        [GOOD.replace("here.test", "there.test")],
        [GOOD.replace("here.test", "")],
        [GOOD, GOOD.replace("a.test", "b.test")],
    ],
)
def test_what_does_not_authorise_is_refused(headers: list[str]) -> None:
    """Nothing, other schemes, malformed or repeated parameters, another destination, several origins."""
    with pytest.raises(Unauthorized):
        read_claims(headers, HERE)


@pytest.mark.parametrize("name", ["a test", "a.test/x", "a.test:http"])
def test_origin_that_is_no_server_name_is_bad_input(name: str) -> None:
    """No such server can exist: that is no matter of its signature."""
    with pytest.raises(InvalidParam):
        read_claims([GOOD.replace("a.test", name)], HERE)


def test_body_is_covered_as_sent_and_in_canonical_form() -> None:
    """The canonical form is only made when the body as it was sent does not fit."""
    (claim,) = read_claims([GOOD], HERE)
    messages = claim.messages("PUT", "/x", b'{ "a": 1 }', lambda: b'{"a":1}')
    tail = b',"destination":"here.test","method":"PUT","origin":"a.test","uri":"/x"}'
    assert list(messages) == [b'{"content":{ "a": 1 }' + tail, b'{"content":{"a":1}' + tail]


def test_hostile_header_costs_little() -> None:
    """A header as long as the web layer lets through is read in no time."""
    for filler in (" ", ",", "a", "a=", '"', "\\", " ,", '="'):
        with pytest.raises(Unauthorized):
            read_claims(["X-Matrix " + filler * (16_000 // len(filler)) + "!"], HERE)
