"""Passwords: Argon2id in a small pool of threads, the only costly thing that an unknown caller can ask for.

An attempt at a user who does not exist, or who has no password, costs the same time as a wrong password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from conduit.protocol.errors import InvalidParam, LimitExceeded, WeakPassword
from conduit.service.users.attempts import Attempts

T = TypeVar("T")

MAX_PASSWORD_BYTES = 512
TIME_COST = 2
MEMORY_KIB = 19 * 1024
"""OWASP's recommendation for Argon2id with one lane, and what Conduit's hashes have: about 20 ms and 19 MiB."""
MAX_WAITING = 64
"""How many may wait for a thread; more are turned away, or a flood of logins would starve those under way."""


class Hasher:
    """The pool that hashes and verifies, and the count of failed attempts."""

    def __init__(self, *, threads: int = 2, time_cost: int = TIME_COST, memory_kib: int = MEMORY_KIB) -> None:
        self._argon2 = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self.attempts = Attempts()
        self._waiting = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the Argon2id text of `password`. Raises `LimitExceeded` if too many wait already."""
        return await self._run(self._argon2.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether `password` is the one that `stored` was made from; for `None` and empty it takes as long to say no."""
        if len(password.encode()) > MAX_PASSWORD_BYTES:
            return False
        return await self._run(self._verify, stored or "", password)

    def is_outdated(self, stored: str) -> bool:
        """Tell whether `stored` was made with other parameters than today's, so that the password should be hashed anew."""
        try:
            return self._argon2.check_needs_rehash(stored)
        except InvalidHashError:
            return True

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        known = stored or self._decoy
        if known is None:
            known = self._decoy = self._argon2.hash("decoy")
        try:
            return self._argon2.verify(known, password) and bool(stored)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    async def _run(self, function: Callable[..., T], *args: str) -> T:
        if self._waiting >= MAX_WAITING:
            raise LimitExceeded("Too many logins at once", retry_after_ms=2000)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self._waiting -= 1


def check_new(password: str) -> str:
    """Return `password` if it may be set: `WeakPassword` for an empty one, `InvalidParam` beyond 512 bytes."""
    if not password:
        raise WeakPassword("The password is empty")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise InvalidParam(f"The password exceeds {MAX_PASSWORD_BYTES} bytes")
    return password
