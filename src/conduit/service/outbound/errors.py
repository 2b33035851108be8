"""Why asking another server has failed."""

from __future__ import annotations

from typing import Any

from conduit.protocol.errors import BadStatus, ConnectionFailed, Forbidden, MatrixError, NotFound

_PASSED_ON = frozenset({400, 403, 404})


class RemoteError(Exception):
    """Another server has not given what it was asked for. `reason` says why, for logs and operators."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server}: {reason}")
        self.server = server
        self.reason = reason


class Unreachable(RemoteError):
    """The server could not be asked, or gave nothing that counts as an answer: name, TLS, time, 5xx, no JSON, too large, denied."""


class Refused(RemoteError):
    """The server has answered with an error of its own (4xx)."""

    def __init__(self, server: str, status: int, body: dict[str, Any]) -> None:
        errcode, error = body.get("errcode"), body.get("error")
        self.status = status
        self.errcode = errcode if isinstance(errcode, str) else "M_UNKNOWN"
        self.error = error if isinstance(error, str) else ""
        self.body = body
        super().__init__(server, f"{status} {self.errcode} {self.error}".rstrip())

    @property
    def is_unrecognised(self) -> bool:
        """Whether the server does not know the endpoint. Older ones say so without an error code."""
        return self.errcode == "M_UNRECOGNIZED" or (self.status in (404, 405) and "errcode" not in self.body)


class _PassedOn(MatrixError):
    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.error or f"{refused.server} refused", status=refused.status)
        self.code = refused.errcode

    def body(self) -> dict[str, Any]:
        return {"errcode": self.code, "error": self.error}


def as_client_error(error: RemoteError) -> MatrixError:
    """Return what a client is told of `error`: the other server's refusal in its own words, or that it cannot be reached (502)."""
    if isinstance(error, Refused):
        if error.status in _PASSED_ON and error.errcode.startswith("M_"):
            if error.errcode == "M_NOT_FOUND":
                return NotFound(error.error or "Not found")
            if error.errcode == "M_FORBIDDEN":
                return Forbidden(error.error or "Forbidden")
            return _PassedOn(error)
        return BadStatus(f"{error.server} answered {error.status}")
    return ConnectionFailed(f"{error.server} cannot be reached")


class HttpFailed(Exception):
    """A request of whatever kind has brought no answer; the message says why. Unless `connected`, nothing was sent."""

    def __init__(self, reason: str, *, connected: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.connected = connected


class NotConnected(HttpFailed):
    """Nobody has taken the connection; `errno` says why where the system has."""

    def __init__(self, reason: str, errno: int | None = None) -> None:
        super().__init__(reason, connected=False)
        self.errno = errno


class NoTls(HttpFailed):
    """What listens there speaks no TLS, or none that we speak."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, connected=False)


class BadCertificate(HttpFailed):
    """The certificate proves nothing; `code` is OpenSSL's number for why."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason, connected=False)
        self.code = code


class HttpDenied(HttpFailed):
    """The address may not be reached."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, connected=False)
