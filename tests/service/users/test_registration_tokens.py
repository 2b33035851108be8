"""Registration tokens."""

from __future__ import annotations

import pytest

from conduit.database.database import Database
from conduit.protocol.errors import Forbidden, InvalidParam
from conduit.service.users import accounts, registration_tokens


def _valid(db: Database, token: str, configured: str | None = None, now_ms: int = 0) -> bool:
    return registration_tokens.is_valid(db, token, configured=configured, now_ms=now_ms)


def test_token_of_the_configuration_is_good_for_ever(db: Database) -> None:
    """An absent one is not the empty text."""
    assert _valid(db, "sesame", "sesame")
    assert not _valid(db, "", None)
    assert not _valid(db, "", "")
    assert not _valid(db, "sesam", "sesame")


def test_issued_token_is_good_so_often_and_so_long(db: Database) -> None:
    """Whatever ends first."""
    with db.batch() as batch:
        registration_tokens.create(batch, "twice", uses_allowed=2, expires_at=100)
        endless = registration_tokens.create(batch)
    assert len(endless) == registration_tokens.NEW_LENGTH
    assert _valid(db, "twice", now_ms=99)
    assert not _valid(db, "twice", now_ms=100)
    for _ in range(2):
        with db.batch() as batch:
            registration_tokens.use(batch, "twice", configured=None, now_ms=0)
    assert not _valid(db, "twice")
    with pytest.raises(Forbidden), db.batch() as batch:
        registration_tokens.use(batch, "twice", configured=None, now_ms=0)
    assert _valid(db, endless, now_ms=2**60)
    assert registration_tokens.any_issued(db, 0)


def test_withdrawn_token_is_no_good(db: Database) -> None:
    """Withdrawing tells whether there was one."""
    with db.batch() as batch:
        token = registration_tokens.create(batch)
        assert registration_tokens.delete(batch, token)
        assert not registration_tokens.delete(batch, token)
    assert not _valid(db, token)
    assert not registration_tokens.any_issued(db, 0)


@pytest.mark.parametrize("token", ["", "x" * 65, "a b", "ü", "a\n", "a/b"])
def test_malformed_tokens_are_not_issued(db: Database, token: str) -> None:
    """Nor twice the same; asking for one is no error."""
    with db.batch() as batch, pytest.raises(InvalidParam):
        registration_tokens.create(batch, token)
    assert not _valid(db, token)


def test_token_is_issued_once(db: Database) -> None:
    """The uses of the first would be forgotten."""
    with db.batch() as batch:
        registration_tokens.create(batch, "abc")
    with pytest.raises(InvalidParam), db.batch() as batch:
        registration_tokens.create(batch, "abc")
    assert [token for token, _ in registration_tokens.issued(db)] == ["abc"]


def test_first_accounts_token_counts_until_it_is_taken(db: Database) -> None:
    """It makes one account only."""
    with db.batch() as batch:
        accounts.offer_first_token(batch, "first")
    assert _valid(db, "first")
    assert registration_tokens.any_issued(db, 0)
    with db.batch() as batch:
        registration_tokens.use(batch, "first", configured=None, now_ms=0)
        accounts.take_first_token(batch)
    assert not _valid(db, "first")
