import pytest

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.errors import Corrupt, Foreign
from conduit.database.memory import MemoryEngine
from conduit.database.trees import TREE_NAMES
from conduit.protocol.ids import ServerName
from conduit.protocol.signing import OldKey, SigningKey
from conduit.service import identity

HERE = ServerName("here.example")
THERE = ServerName("there.example")


@pytest.fixture
def db() -> Database:
    """An empty database."""
    return Database(MemoryEngine(TREE_NAMES))


def put(db: Database, key: bytes, value: bytes) -> None:
    """Store a global value."""
    with db.batch() as batch:
        trees.global_.put(batch, key, value)


def test_signing_key_is_made_once(db: Database) -> None:
    """The same key at every start, stored as Conduit stores it."""
    key = identity.signing_key(db)
    again = identity.signing_key(db)
    assert (again.key_id, again.public_key) == (key.key_id, key.public_key)
    version, separator, der = (trees.global_.get(db, identity.KEYPAIR) or b"").partition(b"\xff")
    assert (f"ed25519:{version.decode()}", separator, der) == (key.key_id, b"\xff", key.to_pkcs8())
    assert len(version) == 8


def test_two_servers_have_different_keys(db: Database) -> None:
    """Keys are drawn at random."""
    other = Database(MemoryEngine(TREE_NAMES))
    assert identity.signing_key(db).public_key != identity.signing_key(other).public_key


def test_key_that_conduit_made_is_used(db: Database) -> None:
    """A server that moves here goes on signing with its key."""
    old = SigningKey(bytes(range(32)), "AbCd1234")
    put(db, identity.KEYPAIR, b"AbCd1234\xff" + old.to_pkcs8())
    assert identity.signing_key(db).public_key == old.public_key
    assert identity.signing_key(db).key_id == "ed25519:AbCd1234"


@pytest.mark.parametrize(
    "stored", [b"", b"AbCd1234", b"AbCd1234\xffrubbish", b"\xc3\xa4\xff" + SigningKey(bytes(32), "a").to_pkcs8()]
)
def test_key_that_is_none_is_damage(db: Database, stored: bytes) -> None:
    """A server must not silently get a new key: others know the old one."""
    put(db, identity.KEYPAIR, stored)
    with pytest.raises(Corrupt, match="tree global"):
        identity.signing_key(db)


def test_name_is_kept_and_cannot_change(db: Database) -> None:
    """The first start decides."""
    identity.settle_server_name(db, HERE)
    identity.settle_server_name(db, HERE)
    with pytest.raises(Foreign, match=r"belongs to the server here\.example"):
        identity.settle_server_name(db, THERE)


@pytest.mark.parametrize("user_id", ["@conduit:here.example", "@alice:here.example"])
def test_name_is_known_from_accounts_of_conduit(db: Database, user_id: str) -> None:
    """Conduit stores no name; its accounts tell."""
    with db.batch() as batch:
        trees.userid_password.put(batch, user_id, "")
    with pytest.raises(Foreign, match=r"here\.example"):
        identity.settle_server_name(db, THERE)
    identity.settle_server_name(db, HERE)
    assert trees.global_.get(db, identity.SERVER_NAME) == HERE.encode()


def test_old_keys_are_kept_when_the_key_is_changed(db: Database) -> None:
    """Each with when it ended; the signing key is a new one."""
    assert identity.old_keys(db) == {}
    first = identity.signing_key(db)
    second = identity.rotate_signing_key(db, 1000)
    assert identity.signing_key(db).public_key == second.public_key != first.public_key
    identity.rotate_signing_key(db, 2000)
    assert identity.old_keys(db) == {
        first.key_id: OldKey(first.public_key, 1000),
        second.key_id: OldKey(second.public_key, 2000),
    }


@pytest.mark.parametrize("stored", [b"", b"[]", b"{", b'{"ed25519:a":{}}', b'{"ed25519:a":1}'])
def test_old_keys_that_cannot_be_read_are_damage(db: Database, stored: bytes) -> None:
    """They are not forgotten in silence."""
    put(db, identity.OLD_KEYS, stored)
    with pytest.raises(Corrupt, match="tree global"):
        identity.old_keys(db)
