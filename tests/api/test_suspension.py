"""Who is suspended is told so."""

from __future__ import annotations

import pytest

from conduit.api.request import Request
from conduit.api.suspension import is_suspended, require_unsuspended
from conduit.protocol.errors import UserSuspended
from conduit.protocol.ids import UserId
from conduit.service.users.requester import Requester


def request(*, suspended: bool) -> Request:
    """Return a request of a user."""
    requester = Requester(UserId("@alice:localhost"), "D", "token", suspended=suspended)
    return Request(method="GET", path="/", requester=requester)


def test_suspended_callers_are_refused() -> None:
    """The account's state decides; anonymous callers are nobody's account."""
    require_unsuspended(request(suspended=False))
    require_unsuspended(Request(method="GET", path="/"))
    assert is_suspended(request(suspended=True))
    with pytest.raises(UserSuspended):
        require_unsuspended(request(suspended=True))
