"""Sessions that the client keeps for us."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.protocol.errors import Forbidden, InvalidParam
from conduit.protocol.ids import UserId
from conduit.service.users import uia_sessions
from conduit.service.users.uia_sessions import Session

ALICE = UserId("@alice:localhost")


def _session(db: Database, now_ms: int = 10**12) -> Session:
    return Session(db, ALICE, "PHONE", b"subject", now_ms)


def test_session_is_resumed_with_what_it_remembers(db: Database) -> None:
    """Within half an hour."""
    first = _session(db)
    first.open({"a": "ü"})
    second = _session(db, 10**12 + uia_sessions.LIFETIME_MS)
    assert second.resume(first.text)
    assert second.remembered() == {"a": "ü"}
    assert not _session(db, 10**12 + uia_sessions.LIFETIME_MS + 1).resume(first.text)
    assert not _session(db, 10**12 - 1).resume(first.text)


def test_endless_parameters_are_not_remembered(db: Database) -> None:
    """The client repeats them; its session stays small enough for a key."""
    session = _session(db)
    session.open({"a": "x" * 5000})
    assert session.remembered() == {}
    session.open({"a": "x" * 1000})
    assert session.remembered() != {}
    session.store(uia_sessions.Proof(ALICE, ["m.login.dummy"]))
    assert session.load().completed == ["m.login.dummy"]
    assert len(session.id) < 100


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.4", "1.2.3.4.5", "x.y.z", "ü.ü.ü", "1" * 5000, "..", "-1.a.b"]
)
def test_made_up_sessions_are_refused(db: Database, text: str) -> None:
    """However they look."""
    with pytest.raises(Forbidden):
        _session(db).resume(text)


@pytest.mark.parametrize("text", [5, [], {}, True])
def test_session_is_a_text(db: Database, text: Any) -> None:
    """Anything else is malformed."""
    with pytest.raises(InvalidParam):
        _session(db).resume(text)


def test_parameters_of_one_session_cannot_be_moved_to_another(db: Database) -> None:
    """The MAC is over them as well."""
    one, two = _session(db), _session(db)
    one.open({"a": 1})
    two.open({"a": 2})
    with pytest.raises(Forbidden):
        _session(db).resume(f"{one.id}.{two.sealed}")
    with pytest.raises(Forbidden):
        _session(db).resume(one.id)


def test_sweep_takes_what_has_run_out(db: Database) -> None:
    """And what Conduit has left; not what is under way."""
    old, new = _session(db, 10**12), _session(db, 10**12 + 1)
    for session in (old, new):
        session.open({})
        session.store(uia_sessions.Proof(ALICE))
    with db.batch() as batch:
        trees.userdevicesessionid_uiaainfo.put(batch, (ALICE, "OLD", "Conduit's session"), {"flows": []})
        uia_sessions.sweep(batch, 10**12 + 1 + uia_sessions.LIFETIME_MS)
    assert list(trees.userdevicesessionid_uiaainfo.keys(db)) == [new.key]
