"""The specification's error codes as exceptions.

Services raise them; `conduit.api.errors` is the only place that turns one into a response. The status is a
hint: it is the one which the specification names for the code where an endpoint names none of its own.

Source: client-server API, "Standard error response" and "Other error codes".
"""

from __future__ import annotations

from typing import Any, ClassVar


class MatrixError(Exception):
    """An answer of the form `{"errcode": ..., "error": ...}`; `extra` holds further keys of the answer."""

    errcode: ClassVar[str] = "M_UNKNOWN"
    default_status: ClassVar[int] = 400

    def __init__(self, error: str, *, status: int | None = None, **extra: Any) -> None:
        super().__init__(error)
        self.error = error
        self.status = self.default_status if status is None else status
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """Return the JSON object that the client receives."""
        return {"errcode": self.errcode, "error": self.error, **self.extra}


class Unknown(MatrixError):
    """Something that has no code of its own."""


class BadRequest(MatrixError):
    """A request which is refused for its form; M_UNKNOWN with status 400."""


class Forbidden(MatrixError):
    """The caller may not do this."""

    errcode = "M_FORBIDDEN"
    default_status = 403


class MissingToken(MatrixError):
    """No access token was given."""

    errcode = "M_MISSING_TOKEN"
    default_status = 401


class UnknownToken(MatrixError):
    """The access or refresh token is not known, or has expired (`soft_logout=True`)."""

    errcode = "M_UNKNOWN_TOKEN"
    default_status = 401


class BadJson(MatrixError):
    """Valid JSON of the wrong shape."""

    errcode = "M_BAD_JSON"


class NotJson(MatrixError):
    """The body is not JSON."""

    errcode = "M_NOT_JSON"


class NotFound(MatrixError):
    """There is no such thing, or the caller may not know of it."""

    errcode = "M_NOT_FOUND"
    default_status = 404


class LimitExceeded(MatrixError):
    """Too many requests; `retry_after_ms` says when the next one will be taken."""

    errcode = "M_LIMIT_EXCEEDED"
    default_status = 429

    def __init__(self, error: str = "Too many requests", *, retry_after_ms: int, status: int | None = None) -> None:
        super().__init__(error, status=status, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms


class Unrecognized(MatrixError):
    """No such endpoint (404), or not with this method (405)."""

    errcode = "M_UNRECOGNIZED"
    default_status = 404


class Unauthorized(MatrixError):
    """The request was not correctly authorised (a failed signature, for one)."""

    errcode = "M_UNAUTHORIZED"
    default_status = 401


class UserDeactivated(MatrixError):
    """The account has been deactivated."""

    errcode = "M_USER_DEACTIVATED"
    default_status = 403


class UserLocked(MatrixError):
    """The account is locked."""

    errcode = "M_USER_LOCKED"
    default_status = 401


class UserSuspended(MatrixError):
    """The account is suspended and may only do what the specification lists."""

    errcode = "M_USER_SUSPENDED"
    default_status = 403


class UserInUse(MatrixError):
    """The user id is taken."""

    errcode = "M_USER_IN_USE"


class InvalidUsername(MatrixError):
    """The user name does not follow the grammar."""

    errcode = "M_INVALID_USERNAME"


class RoomInUse(MatrixError):
    """The room alias is taken."""

    errcode = "M_ROOM_IN_USE"


class InvalidRoomState(MatrixError):
    """The initial state asked for does not make a valid room."""

    errcode = "M_INVALID_ROOM_STATE"


class InviteBlocked(MatrixError):
    """The user does not want to be invited."""

    errcode = "M_INVITE_BLOCKED"
    default_status = 403


class ThreepidInUse(MatrixError):
    """The third-party identifier belongs to an account."""

    errcode = "M_THREEPID_IN_USE"


class ThreepidNotFound(MatrixError):
    """The third-party identifier belongs to no account."""

    errcode = "M_THREEPID_NOT_FOUND"


class ThreepidDenied(MatrixError):
    """Third-party identifiers of this kind are not accepted."""

    errcode = "M_THREEPID_DENIED"
    default_status = 403


class ThreepidMediumNotSupported(MatrixError):
    """Third-party identifiers of this kind cannot be added here."""

    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"


class UnsupportedRoomVersion(MatrixError):
    """The room version is not one that this server speaks."""

    errcode = "M_UNSUPPORTED_ROOM_VERSION"


class IncompatibleRoomVersion(MatrixError):
    """The room's version is not among those that the caller speaks."""

    errcode = "M_INCOMPATIBLE_ROOM_VERSION"


class BadState(MatrixError):
    """The state change cannot be made in this state of the room."""

    errcode = "M_BAD_STATE"


class GuestAccessForbidden(MatrixError):
    """Guests may not enter this room."""

    errcode = "M_GUEST_ACCESS_FORBIDDEN"
    default_status = 403


class MissingParam(MatrixError):
    """A required parameter is absent."""

    errcode = "M_MISSING_PARAM"


class InvalidParam(MatrixError):
    """A parameter has a value that it cannot have."""

    errcode = "M_INVALID_PARAM"


class TooLarge(MatrixError):
    """The request or the event is too large."""

    errcode = "M_TOO_LARGE"
    default_status = 413


class Exclusive(MatrixError):
    """The identifier lies in the exclusive namespace of an application service."""

    errcode = "M_EXCLUSIVE"


class ResourceLimitExceeded(MatrixError):
    """The server's owner has set a limit which is reached."""

    errcode = "M_RESOURCE_LIMIT_EXCEEDED"
    default_status = 403


class CannotLeaveServerNoticeRoom(MatrixError):
    """The server-notices room cannot be rejected."""

    errcode = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    default_status = 403


class WeakPassword(MatrixError):
    """The password is refused as too weak."""

    errcode = "M_WEAK_PASSWORD"


class UnableToAuthoriseJoin(MatrixError):
    """None of the room's conditions for a restricted join can be checked here."""

    errcode = "M_UNABLE_TO_AUTHORISE_JOIN"


class UnableToGrantJoin(MatrixError):
    """A condition is met, but nobody on this server may invite on the joining user's behalf."""

    errcode = "M_UNABLE_TO_GRANT_JOIN"


class BadAlias(MatrixError):
    """An alias in `m.room.canonical_alias` does not point to the room."""

    errcode = "M_BAD_ALIAS"


class DuplicateAnnotation(MatrixError):
    """The same user has already reacted with the same key."""

    errcode = "M_DUPLICATE_ANNOTATION"


class NotYetUploaded(MatrixError):
    """The media id is reserved but nothing was uploaded yet."""

    errcode = "M_NOT_YET_UPLOADED"
    default_status = 504


class CannotOverwriteMedia(MatrixError):
    """The media id has its content already."""

    errcode = "M_CANNOT_OVERWRITE_MEDIA"
    default_status = 409


class InvalidSignature(MatrixError):
    """A signature does not verify."""

    errcode = "M_INVALID_SIGNATURE"


class WrongRoomKeysVersion(MatrixError):
    """Not the current backup version; `current_version` names it."""

    errcode = "M_WRONG_ROOM_KEYS_VERSION"
    default_status = 403


class UrlNotSet(MatrixError):
    """The application service has no URL."""

    errcode = "M_URL_NOT_SET"


class ConnectionFailed(MatrixError):
    """The other side could not be reached."""

    errcode = "M_CONNECTION_FAILED"
    default_status = 502


class ConnectionTimeout(MatrixError):
    """The other side did not answer in time."""

    errcode = "M_CONNECTION_TIMEOUT"
    default_status = 504


class BadStatus(MatrixError):
    """The other side answered with an error."""

    errcode = "M_BAD_STATUS"
    default_status = 502


class ProfileTooLarge(MatrixError):
    """The profile would exceed 64 KiB."""

    errcode = "M_PROFILE_TOO_LARGE"


class KeyTooLarge(MatrixError):
    """The name of the profile field exceeds 255 bytes."""

    errcode = "M_KEY_TOO_LARGE"


class UnknownPos(MatrixError):
    """The sliding-sync position is not known; start anew."""

    errcode = "M_UNKNOWN_POS"


class UnsupportedContentType(MatrixError):
    """The body has a content type that is not taken here."""

    errcode = "M_UNKNOWN"
    default_status = 415
