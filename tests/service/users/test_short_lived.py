"""Login and OpenID tokens."""

from __future__ import annotations

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden
from conduit.protocol.ids import UserId
from conduit.service.users import short_lived

ALICE = UserId("@alice:localhost")
BOB = UserId("@bob:localhost")


def test_sweep_takes_what_has_run_out(db: Database) -> None:
    """And leaves the rest."""
    with db.batch() as batch:
        old = short_lived.issue_login(batch, ALICE, 0)
        new = short_lived.issue_login(batch, ALICE, 60_000)
        short_lived.issue_openid(batch, ALICE, short_lived.LOGIN_LIFETIME_MS)
        openid = short_lived.issue_openid(batch, ALICE, short_lived.LOGIN_LIFETIME_MS + 1)
        short_lived.sweep(batch, short_lived.LOGIN_LIFETIME_MS)
    assert list(trees.login_token.keys(db)) == [new] != [old]
    assert list(trees.openidtoken_expiresatuserid.keys(db)) == [openid]


def test_tokens_of_a_user_can_be_ended(db: Database) -> None:
    """Others' stay."""
    with db.batch() as batch:
        hers, his = (short_lived.issue_login(batch, user, 0) for user in (ALICE, BOB))
        openid = [short_lived.issue_openid(batch, user, 10) for user in (ALICE, BOB)]
        short_lived.forget_user(batch, ALICE)
    with pytest.raises(Forbidden), db.batch() as batch:
        short_lived.redeem_login(batch, hers, 0)
    with db.batch() as batch:
        assert short_lived.redeem_login(batch, his, 0) == BOB
    assert [short_lived.openid_user(db, token, 0) for token in openid] == [None, BOB]
