"""Access and refresh tokens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.errors import UnknownToken, UserDeactivated, UserLocked
from conduit.protocol.ids import UserId
from conduit.service.users import accounts, devices, tokens

ALICE = UserId("@alice:localhost")
LIFETIME = 1000


def _begin(db: Database) -> tokens.Issued:
    with db.batch() as batch:
        accounts.create(batch, ALICE, "")
        devices.create(batch, ALICE, "A")
        return tokens.issue(batch, ALICE, "A", now_ms=0, lifetime_ms=LIFETIME)


def _refresh(db: Database, refresh_token: str | None) -> tokens.Issued:
    assert refresh_token is not None
    with db.batch() as batch:
        return tokens.refresh(batch, refresh_token, now_ms=0, lifetime_ms=LIFETIME)


def _rows(db: Database) -> int:
    return sum(
        len(list(tree.keys(db)))
        for tree in (trees.token_userdeviceid, trees.userdeviceid_token, trees.accesstoken, trees.refreshtoken)
    )


def test_new_token_of_a_device_ends_the_earlier_ones(db: Database) -> None:
    """Access and refresh tokens alike, and a pair that was not used yet."""
    first = _begin(db)
    second = _refresh(db, first.refresh_token)
    with db.batch() as batch:
        plain = tokens.issue(batch, ALICE, "A")
    assert plain.refresh_token is None
    assert plain.lifetime_ms is None
    for old in (first, second):
        assert tokens.find(db, old.access_token) is None
        with pytest.raises(UnknownToken):
            _refresh(db, old.refresh_token)
    assert tokens.find(db, plain.access_token) is not None
    assert _rows(db) == 2


def test_revoked_device_leaves_no_row(db: Database) -> None:
    """Also in the middle of a refresh."""
    _refresh(db, _begin(db).refresh_token)
    with db.batch() as batch:
        tokens.revoke(batch, ALICE, "A")
    assert _rows(db) == 0


def test_barred_accounts_cannot_refresh(db: Database) -> None:
    """Their token is kept: a lock may be lifted."""
    first = _begin(db)
    with db.batch() as batch:
        accounts.update(batch, ALICE, locked=True)
    with pytest.raises(UserLocked):
        _refresh(db, first.refresh_token)
    with db.batch() as batch:
        accounts.update(batch, ALICE, deactivated=True)
    with pytest.raises(UserDeactivated):
        _refresh(db, first.refresh_token)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["use", "refresh"]), st.integers(0, 5)), max_size=12))
def test_at_most_two_pairs_live_whatever_a_client_does(steps: list[tuple[str, int]]) -> None:
    """Rows never pile up, and the newest pair always works."""
    db = Database(MemoryEngine(TREE_NAMES))
    pairs = [_begin(db)]
    for act, back in steps:
        pair = pairs[max(len(pairs) - 1 - back, 0)]
        if act == "use":
            tokens.find(db, pair.access_token)
        else:
            try:
                pairs.append(_refresh(db, pair.refresh_token))
            except UnknownToken:
                continue
        assert _rows(db) <= 7
        assert sum(trees.token_userdeviceid.has(db, each.access_token) for each in pairs) <= 2
        assert trees.token_userdeviceid.has(db, pairs[-1].access_token)
