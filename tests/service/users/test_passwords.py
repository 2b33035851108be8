"""Passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import argon2
import pytest

from conduit.protocol.errors import InvalidParam, LimitExceeded, WeakPassword
from conduit.service.users import passwords
from conduit.service.users.passwords import Hasher


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    """A cheap one."""
    hasher = Hasher(threads=1, time_cost=1, memory_kib=64)
    yield hasher
    hasher.close()


async def test_password_is_verified_against_its_hash(hasher: Hasher) -> None:
    """Each hash has its own salt and is Argon2id."""
    one, two = await hasher.hash("pässword\0"), await hasher.hash("pässword\0")
    assert one != two
    assert one.startswith("$argon2id$")
    assert await hasher.verify(one, "pässword\0")
    assert not await hasher.verify(one, "password")
    assert not await hasher.verify(one, "")


@pytest.mark.parametrize("stored", [None, "", "$argon2id$broken", "plain text"])
async def test_nothing_matches_where_there_is_no_hash(hasher: Hasher, stored: str | None) -> None:
    """Not even the password of the decoy that takes the time."""
    for password in ("", "decoy", "x"):
        assert not await hasher.verify(stored, password)


async def test_hash_of_conduit_is_taken(hasher: Hasher) -> None:
    """Its parameters stand in the text; they may be outdated."""
    stored = argon2.PasswordHasher(time_cost=3, memory_cost=4096, parallelism=1).hash("secret")
    assert await hasher.verify(stored, "secret")
    assert hasher.is_outdated(stored)
    assert not hasher.is_outdated(await hasher.hash("secret"))


async def test_endless_passwords_are_not_hashed(hasher: Hasher) -> None:
    """Beyond what can be set there is no match."""
    assert not await hasher.verify(await hasher.hash("x"), "x" * 1_000_000)


async def test_flood_of_logins_is_turned_away(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those under way are finished."""
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    results = await asyncio.gather(*(hasher.hash("x") for _ in range(5)), return_exceptions=True)
    assert [isinstance(result, LimitExceeded) for result in results] == [False] * 3 + [True] * 2
    await hasher.hash("x")


def test_new_password_must_be_usable() -> None:
    """Not empty, not endless; counted in bytes."""
    assert passwords.check_new("ü" * 256) == "ü" * 256
    with pytest.raises(WeakPassword):
        passwords.check_new("")
    with pytest.raises(InvalidParam):
        passwords.check_new("ü" * 257)
