from __future__ import annotations

import pytest

from conduit.protocol import errors


def _all_errors() -> list[type[errors.MatrixError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MatrixError)]


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_and_a_client_status(kind: type[errors.MatrixError]) -> None:
    """Codes begin with M_; none of them stands for a fault of ours."""
    error = kind("why", retry_after_ms=1) if kind is errors.LimitExceeded else kind("why")
    assert error.errcode.startswith("M_")
    assert 400 <= error.status < 500 or error.status in {502, 504}
    assert error.body()["error"] == "why"


def test_extra_keys_and_status_are_carried() -> None:
    """What an endpoint adds appears beside errcode and error."""
    error = errors.UnknownToken("expired", soft_logout=True)
    assert error.body() == {"errcode": "M_UNKNOWN_TOKEN", "error": "expired", "soft_logout": True}
    assert errors.Forbidden("no", status=401).status == 401


def test_limit_exceeded_says_when_to_return() -> None:
    """The time is in the body and on the object, for the header."""
    error = errors.LimitExceeded(retry_after_ms=500)
    assert error.status == 429
    assert error.body()["retry_after_ms"] == error.retry_after_ms == 500
