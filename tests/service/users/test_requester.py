"""The look-up that every authenticated request begins with."""

from __future__ import annotations

from conduit.database.database import Database
from conduit.protocol.ids import UserId
from conduit.service.users import accounts, devices, requester, tokens

ALICE = UserId("@alice:localhost")


def _session(db: Database, device_id: str = "A", lifetime_ms: int | None = None) -> str:
    with db.batch() as batch:
        if not accounts.exists(batch, ALICE):
            accounts.create(batch, ALICE, "")
        devices.create(batch, ALICE, device_id)
        return tokens.issue(batch, ALICE, device_id, now_ms=1000, lifetime_ms=lifetime_ms).access_token


def test_token_names_its_owner(db: Database) -> None:
    """User and device; an unknown token names nobody and is not remembered."""
    token = _session(db)
    found = requester.find(db, token)
    assert found is not None
    assert (found.user_id, found.device_id, found.token) == (ALICE, "A", token)
    assert found is requester.find(db, token)
    before = db.cache_pool.used_bytes
    for guess in ("", "nobody's", token + "x", "x" * 100_000):
        assert requester.find(db, guess) is None
    assert db.cache_pool.used_bytes == before


def test_expiry_is_told(db: Database) -> None:
    """To the millisecond; a token without an end never expires."""
    found = requester.find(db, _session(db, lifetime_ms=500))
    assert found is not None
    assert not found.expired(1499)
    assert found.expired(1500)
    endless = requester.find(db, _session(db, "B"))
    assert endless is not None
    assert not endless.expired(2**60)


def test_state_of_the_account_is_felt_at_once(db: Database) -> None:
    """By every session, and not before the batch commits."""
    sessions = [_session(db, "A"), _session(db, "B", lifetime_ms=500)]
    for flag in ("locked", "suspended", "deactivated"):
        assert not any(getattr(requester.find(db, token), flag) for token in sessions)
        with db.batch() as batch:
            accounts.update(batch, ALICE, **{flag: True})
            assert not getattr(requester.find(db, sessions[0]), flag)
        assert all(getattr(requester.find(db, token), flag) for token in sessions)


def test_administrators_and_guests_are_told(db: Database) -> None:
    """From the account's row."""
    token = _session(db)
    found = requester.find(db, token)
    assert found is not None
    assert not found.is_admin
    assert not found.is_guest
    guest = UserId("@1:localhost")
    with db.batch() as batch:
        accounts.create(batch, guest, "", kind="guest", admin=False)
        devices.create(batch, guest, "G")
        guest_token = tokens.issue(batch, guest, "G").access_token
        accounts.update(batch, ALICE, admin=True)
    found = requester.find(db, guest_token)
    assert found is not None
    assert found.is_guest
    found = requester.find(db, token)
    assert found is not None
    assert found.is_admin
