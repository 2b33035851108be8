"""What clients are told when another server cannot be asked or refuses."""

from __future__ import annotations

import pytest

from conduit.service.outbound.errors import Refused, Unreachable, as_client_error


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, {"errcode": "M_FORBIDDEN", "error": "no"}, (403, "M_FORBIDDEN", "no")),
        (404, {"errcode": "M_NOT_FOUND", "error": "none"}, (404, "M_NOT_FOUND", "none")),
        (400, {"errcode": "M_UNABLE_TO_GRANT_JOIN", "error": "x"}, (400, "M_UNABLE_TO_GRANT_JOIN", "x")),
        (401, {"errcode": "M_UNAUTHORIZED", "error": "x"}, (502, "M_BAD_STATUS", "a.test answered 401")),
        (400, {"errcode": 1}, (400, "M_UNKNOWN", "a.test refused")),
        (400, {"errcode": "<script>"}, (502, "M_BAD_STATUS", "a.test answered 400")),
        (404, {}, (404, "M_UNKNOWN", "a.test refused")),
    ],
)
def test_refusal_is_passed_on_where_it_concerns_the_client(status: int, body: object, told: object) -> None:
    """In the other server's words for 400, 403 and 404; the rest is between servers."""
    assert isinstance(body, dict)
    error = as_client_error(Refused("a.test", status, body))
    assert (error.status, error.body()["errcode"], error.error) == told


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, {"errcode": "M_UNRECOGNIZED", "error": ""}, True),
        (400, {"errcode": "M_UNRECOGNIZED", "error": ""}, True),
        (404, {}, True),
        (405, {}, True),
        (400, {}, False),
        (404, {"errcode": "M_NOT_FOUND", "error": ""}, False),
    ],
)
def test_unknown_endpoint_is_told_apart(status: int, body: dict[str, str], told: bool) -> None:
    """By the error code; of a 404 or 405 without one it is likely."""
    assert Refused("a.test", status, body).is_unrecognised is told


def test_silence_is_a_bad_gateway() -> None:
    """The reason is for the log only: it may tell about networks."""
    error = as_client_error(Unreachable("a.test", "no connection to 10.0.0.1"))
    assert (error.status, error.body()["errcode"]) == (502, "M_CONNECTION_FAILED")
    assert "10.0.0.1" not in error.error
