"""The server's own secret."""

from __future__ import annotations

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
