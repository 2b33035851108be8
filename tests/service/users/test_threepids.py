"""What users have bound at identity servers."""

from __future__ import annotations

from conduit.database.database import Database
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.threepids import ThreePid
from conduit.service.users import threepids
from conduit.service.users.threepids import Binding

MAIL = Binding(ThreePid("email", "a@b.c"), "id.test")
PHONE = Binding(ThreePid("msisdn", "18005552067"), "id.test:8448")


def test_bindings_are_kept_until_forgotten_each_user_for_themselves() -> None:
    """The same identifier at another server is another binding."""
    db = Database(MemoryEngine(TREE_NAMES))
    elsewhere = MAIL._replace(server="other.test")
    with db.batch() as batch:
        for binding in (PHONE, MAIL, elsewhere, MAIL):
            threepids.remember(batch, "@alice:localhost", binding, 1)
        threepids.remember(batch, "@alice:localhost.org", MAIL, 1)
    assert threepids.bindings(db, "@alice:localhost") == [MAIL, elsewhere, PHONE]
    with db.batch() as batch:
        threepids.forget(batch, "@alice:localhost", MAIL)
        threepids.forget(batch, "@bob:localhost", MAIL)
    assert threepids.bindings(db, "@alice:localhost") == [elsewhere, PHONE]
    assert threepids.bindings(db, "@alice:localhost.org") == [MAIL]
