"""The server's own secret."""

from __future__ import annotations

import pytest

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.service.users import secret


def test_mac_depends_on_server_purpose_and_data(db: Database) -> None:
    """The same again for the same, and nothing else."""
    other = Database(MemoryEngine(TREE_NAMES))
    made = secret.mac(db, "uia", b"data")
    assert made == secret.mac(db, "uia", b"data")
    assert (
        len({made, secret.mac(db, "uia", b"date"), secret.mac(db, "x", b"data"), secret.mac(other, "uia", b"data")})
        == 4
    )


def test_sealed_text_is_read_by_its_server_and_purpose_only(db: Database) -> None:
    """Twice the same looks different; what was touched is not read."""
    other = Database(MemoryEngine(TREE_NAMES))
    sealed = secret.seal(db, "uia", b"data")
    assert sealed != secret.seal(db, "uia", b"data")
    assert secret.unseal(db, "uia", sealed) == b"data"
    for source, purpose, text in ((other, "uia", sealed), (db, "x", sealed), (db, "uia", sealed[:-1]), (db, "uia", "")):
        with pytest.raises(ValueError, match="sealed"):
            secret.unseal(source, purpose, text)
