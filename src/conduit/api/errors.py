"""The one place where an exception becomes an answer."""

from __future__ import annotations

import structlog

from conduit.api.web import Reply
from conduit.protocol.errors import LimitExceeded, MatrixError, Unknown

log = structlog.get_logger(__name__)


RETRY_SECONDS = 30
"""When a client is asked to come again after an outage."""


def reply_for(error: Exception, request_id: str, outages: tuple[type[Exception], ...] = ()) -> Reply:
    """Return the answer that tells the client of `error`.

    A `MatrixError` says itself what it is. One of the `outages` (a full or failed disk) is nobody's mistake: 503. Anything else is
    a bug: it is logged with its traceback, and the client learns only the request id under which the log has it.
    """
    if isinstance(error, MatrixError):
        headers = {}
        if isinstance(error, LimitExceeded):
            headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
        return Reply(error.body(), status=error.status, headers=headers)
    if isinstance(error, outages):
        log.error("unavailable", error=str(error))
        outage = Unknown("The server cannot store anything at the moment", status=503)
        return Reply(outage.body(), status=503, headers={"Retry-After": str(RETRY_SECONDS)})
    log.error("request_failed", exc_info=error)
    bug = Unknown(f"Internal server error, request {request_id}", status=500)
    return Reply(bug.body(), status=500)
