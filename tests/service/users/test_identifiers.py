"""Who is meant by the identifier of a login."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database.database import Database
from conduit.protocol.errors import MatrixError
from conduit.protocol.ids import ServerName, UserId
from conduit.service.users import accounts, identifiers

SERVER = ServerName("localhost")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alice", "@alice:localhost"),
        ("@alice", "@alice:localhost"),
        ("ALICE", "@alice:localhost"),
        ("@Alice:localhost", "@alice:localhost"),
        ("Old", "@Old:localhost"),
        ("@alice:elsewhere.org", None),
        ("a:b", None),
        ("x" * 300, None),
        ("@:", None),
    ],
)
def test_names_are_resolved(db: Database, name: str, expected: str | None) -> None:
    """Lower case, unless a historical account has exactly that spelling; others' users are nobody here."""
    with db.batch() as batch:
        accounts.create(batch, UserId("@Old:localhost"), "")
    assert identifiers.local_user(db, SERVER, name) == expected
    assert identifiers.resolve(db, SERVER, {"identifier": {"type": "m.id.user", "user": name}}) == expected
    assert identifiers.resolve(db, SERVER, {"user": name}) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"user": 5}, "M_MISSING_PARAM"),
        ({"identifier": []}, "M_BAD_JSON"),
        ({"identifier": {"type": "m.id.phone", "country": "GB"}}, "M_MISSING_PARAM"),
        ({"identifier": {"type": "m.id.thirdparty", "medium": "email"}}, "M_MISSING_PARAM"),
        ({"identifier": {"type": ["m.id.user"], "user": "alice"}}, "M_INVALID_PARAM"),
    ],
)
def test_malformed_identifiers_are_refused(db: Database, body: dict[str, Any], code: str) -> None:
    """With what is wrong."""
    with pytest.raises(MatrixError) as error:
        identifiers.resolve(db, SERVER, body)
    assert error.value.errcode == code
