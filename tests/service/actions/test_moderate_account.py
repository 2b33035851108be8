"""Locking and suspending accounts."""

from __future__ import annotations

import pytest

from conduit.protocol.errors import Forbidden, InvalidParam, MatrixError, NotFound
from conduit.protocol.ids import UserId
from conduit.service.actions import moderate_account
from conduit.service.users import accounts
from tests.support.homeserver import Homeserver


@pytest.mark.parametrize(
    ("user_id", "error"),
    [
        ("alice", InvalidParam),
        ("@alice:elsewhere.org", InvalidParam),
        ("@nobody:localhost", NotFound),
        ("@gone:localhost", NotFound),
        ("@conduit:localhost", Forbidden),
    ],
)
async def test_not_everybody_can_be_barred(hs: Homeserver, user_id: str, error: type[MatrixError]) -> None:
    """Others' users, nobody, who is gone, and administrators cannot."""
    with hs.ctx.db.batch() as batch:
        accounts.create(batch, UserId("@gone:localhost"), "")
        accounts.update(batch, UserId("@gone:localhost"), deactivated=True)
    with pytest.raises(error):
        moderate_account.target(hs.ctx, user_id)


async def test_lock_and_suspension_are_apart(hs: Homeserver) -> None:
    """One does not lift the other."""
    await hs.register("alice")
    alice = moderate_account.target(hs.ctx, "@alice:localhost")
    moderate_account.set_bar(hs.ctx, alice, "locked", True)
    moderate_account.set_bar(hs.ctx, alice, "suspended", True)
    moderate_account.set_bar(hs.ctx, alice, "locked", False)
    assert moderate_account.is_barred(hs.ctx, alice, "suspended")
    assert not moderate_account.is_barred(hs.ctx, alice, "locked")
