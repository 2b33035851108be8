"""Users by name, for tests that need several."""

from __future__ import annotations

from conduit.protocol.ids import UserId
from conduit.service.users import accounts
from tests.support.client import User
from tests.support.homeserver import Homeserver


async def people(hs: Homeserver, *names: str) -> list[User]:
    """Register users and return them in order."""
    return [await hs.register(name) for name in names]


async def person(hs: Homeserver, name: str = "alice") -> User:
    """Register one user."""
    return await hs.register(name)


async def admin(hs: Homeserver, name: str = "operator") -> User:
    """Register a user who is an administrator, without the admin room."""
    user = await hs.register(name)
    with hs.ctx.db.batch() as batch:
        accounts.update(batch, UserId(user.user_id), admin=True)
    return user
