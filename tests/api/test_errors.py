"""From exceptions to answers."""

from __future__ import annotations

from structlog.testing import capture_logs

from conduit.api.errors import reply_for
from conduit.protocol.errors import Forbidden, LimitExceeded, MatrixError


def test_a_matrix_error_says_itself_what_it_is() -> None:
    """Code, text, status and further keys are its own, and the log is not bothered."""
    with capture_logs() as logs:
        reply = reply_for(Forbidden("No", extra_key=1), "r1")
    assert (reply.status, reply.body) == (403, {"errcode": "M_FORBIDDEN", "error": "No", "extra_key": 1})
    assert logs == []


def test_an_error_may_answer_with_a_body_of_its_own() -> None:
    """Interactive authentication sends its flows in place of a standard error."""

    class Flows(MatrixError):
        default_status = 401

        def body(self) -> dict[str, object]:
            return {"flows": [], "session": "s"}

    assert reply_for(Flows("auth"), "r1").body == {"flows": [], "session": "s"}


def test_a_limit_says_when_to_come_again_in_whole_seconds() -> None:
    """The header rounds up, so that nobody comes too early."""
    assert reply_for(LimitExceeded(retry_after_ms=1), "r1").headers == {"Retry-After": "1"}
    assert reply_for(LimitExceeded(retry_after_ms=2000), "r1").headers == {"Retry-After": "2"}
    assert reply_for(LimitExceeded(retry_after_ms=2001), "r1").headers == {"Retry-After": "3"}


def test_anything_else_is_logged_and_kept_from_the_client() -> None:
    """The client gets the request id, the log gets the traceback."""
    with capture_logs() as logs:
        reply = reply_for(KeyError("secret"), "r1")
    assert reply.status == 500
    assert reply.body == {"errcode": "M_UNKNOWN", "error": "Internal server error, request r1"}
    assert isinstance(logs[0]["exc_info"], KeyError)
