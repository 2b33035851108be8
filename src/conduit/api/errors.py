"""The one place where an exception becomes an answer."""

from __future__ import annotations

import structlog

from conduit.api.web import Reply
from conduit.protocol.errors import LimitExceeded, MatrixError, Unknown

log = structlog.get_logger(__name__)


def reply_for(error: Exception, request_id: str) -> Reply:
    """Return the answer that tells the client of `error`.

    A `MatrixError` says itself what it is. Anything else is a bug, or a failed disk: it is logged with its traceback, and
    the client learns only the request id under which the log has it.
    """
    if isinstance(error, MatrixError):
        headers = {}
        if isinstance(error, LimitExceeded):
            headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
        return Reply(error.body(), status=error.status, headers=headers)
    log.error("request_failed", exc_info=error)
    bug = Unknown(f"Internal server error, request {request_id}", status=500)
    return Reply(bug.body(), status=500)
