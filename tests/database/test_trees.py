"""The catalogue: every tree's layout, by property and by example."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.database import trees
from conduit.database.database import Database
from conduit.database.engine import MAX_KEY_BYTES
from conduit.database.layouts import MediaMeta, PduId, StateDiff
from conduit.database.memory import MemoryEngine
from conduit.database.tree import Tree
from conduit.database.trees import TOMBSTONES, TREE_NAMES, TREES
from tests.database.conduit_directory import NAMES, joined, u64
from tests.database.conftest import open_engine
from tests.database.strategies import ALL, longest_key, of

MAX = (1 << 64) - 1
every_tree = pytest.mark.parametrize("name", sorted(ALL))


def test_catalogue_has_all_trees_of_conduit_and_no_name_twice() -> None:
    """Conduit's 86 names, exactly; ours are others; what is gone stays gone."""
    assert {tree.name for tree in TREES if not tree.ours} == set(NAMES)
    assert len(NAMES) == len(set(NAMES)) == 86
    assert len(TREE_NAMES) == len(set(TREE_NAMES))
    assert not {tree.name for tree in TREES if tree.ours} & set(NAMES)
    assert not set(TOMBSTONES) & set(TREE_NAMES)
    assert all(tree.doc for tree in TREES)


@every_tree
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_tree_gives_back_what_it_is_given(name: str, data: st.DataObject) -> None:
    """Keys and values of any shape come back from the database as they went in."""
    tree = ALL[name]
    db = Database(MemoryEngine(("global", name)))
    entries: dict[Any, Any] = {}
    with db.batch() as batch:
        for _ in range(data.draw(st.integers(1, 4))):
            key, value = data.draw(of(tree.key)), data.draw(of(tree.value))
            raw_key = tree.key.encode(key)
            if not 0 < len(raw_key) <= MAX_KEY_BYTES:
                continue
            tree.put(batch, key, value)
            entries[key] = value
    for key, value in entries.items():
        assert tree.get(db, key) == value
        assert tree.has(db, key)
    found = list(tree.scan(db))
    assert dict(found) == entries
    assert list(tree.keys(db, reverse=True)) == [key for key, _ in found][::-1]


@every_tree
def test_longest_keys_of_every_tree_are_found_in_every_engine(name: str, kind: str, tmp_path: Path) -> None:
    """By key, on every prefix, and from every number on, in both directions."""
    tree = ALL[name]
    db = Database(open_engine(kind, tmp_path / "db", ("global", *{name} - {"global"})))
    key = longest_key(tree.key)
    assert len(tree.key.encode(key)) <= MAX_KEY_BYTES
    lesser = _lesser(tree, key)
    assert tree.key.encode(lesser) < tree.key.encode(key)
    with db.batch() as batch:
        for entry in (key, lesser):
            batch.put(tree.name, tree.key.encode(entry), b"value")
    db.sync_now()
    for length in range(tree.key.parts):
        parts = key[:length] if isinstance(key, tuple) else ()
        if length and tree.key.prefix is None:
            continue
        expected = [entry for entry in (lesser, key) if not length or entry[:length] == parts]
        assert list(tree.keys(db, parts)) == expected
        assert list(tree.keys(db, parts, reverse=True)) == expected[::-1]
    _scan_from_numbers(tree, db, key)
    db.close_now()


def _lesser(tree: Tree[Any, Any], key: Any) -> Any:
    """Return the same key with a lesser last part."""
    if isinstance(key, PduId):
        return PduId(key.room, key.live - 1)
    if not isinstance(key, tuple):
        return {str: "a", int: 1, bytes: b"\x01" * 32}[type(key)]
    last = key[-1]
    return (*key[:-1], {str: "$a", int: 1, bytes: b"\x01" * 32}[type(last)])


def _scan_from_numbers(tree: Tree[Any, Any], db: Database, key: Any) -> None:
    if isinstance(key, PduId) or not isinstance(key, tuple):
        return
    for index, part in enumerate(tree.key.layout):
        if part.width is None or not isinstance(key[index], int):
            continue
        head = key[:index]
        assert key in list(tree.keys(db, head, start=key[index]))
        assert key in list(tree.keys(db, head, after=key[index] - 1))
        assert key not in list(tree.keys(db, head, before=key[index]))
        assert key not in list(tree.keys(db, head, after=key[index]))


# --- timeline positions --------------------------------------------------------------------------------------------

positions = st.builds(PduId, st.integers(1, 3), st.integers(0, 4), st.integers(0, 4) | st.just(MAX - 1)).filter(
    lambda place: place.live or place.back
)


@given(positions, positions)
def test_positions_sort_as_time(one: PduId, other: PduId) -> None:
    """Within a room the bytes of positions sort as `order()`, rooms one after the other."""
    encode = trees.pduid_pdu.key.encode
    expected = (one.room, one.order()) < (other.room, other.order())
    assert (encode(one) < encode(other)) == expected


def test_positions_in_the_order_of_a_timeline() -> None:
    """History filled in lies before all live events, what is filled into a gap right after the live event before it."""
    order = [
        PduId(1, 0, 9),
        PduId(1, 0, 2),
        PduId(1, 0, 1),
        PduId(1, 1),
        PduId(1, 5),
        PduId(1, 5, 8),
        PduId(1, 5, 1),
        PduId(1, 6),
        PduId(2, 0, 1),
    ]
    encoded = [trees.pduid_pdu.key.encode(place) for place in order]
    assert all(earlier < later for earlier, later in pairwise(encoded))
    assert [len(data) for data in encoded] == [24, 24, 24, 16, 16, 32, 32, 16, 24]
    assert [place.token() for place in order[1:6]] == ["-2", "-1", "1", "5", "5~8"]


# --- byte for byte -------------------------------------------------------------------------------------------------

U, R, D, E, S = "@u:s", "!r:s", "DEV", "$e:s", "s.org"
P = u64(3) + u64(7)
H = bytes(range(32))
FF = b"\xff"

EXAMPLES: list[tuple[str, Any, bytes, Any, bytes]] = [
    ("global", b"c", b"c", u64(5), u64(5)),
    ("server_signingkeys", S, b"s.org", {"server_name": "s.org"}, b'{"server_name":"s.org"}'),
    ("userid_password", U, b"@u:s", "", b""),
    ("userid_displayname", U, b"@u:s", "Ü", b"\xc3\x9c"),
    ("userid_avatarurl", U, b"@u:s", "mxc://s/a", b"mxc://s/a"),
    ("userid_blurhash", U, b"@u:s", "L", b"L"),
    ("userdeviceid_metadata", (U, D), b"@u:s\xffDEV", {"device_id": "DEV"}, b'{"device_id":"DEV"}'),
    ("userdeviceid_token", (U, D), b"@u:s\xffDEV", "tok", b"tok"),
    ("token_userdeviceid", "tok", b"tok", (U, D), b"@u:s\xffDEV"),
    ("userid_devicelistversion", U, b"@u:s", 2, u64(2)),
    ("userfilterid_filter", (U, "abcd"), b"@u:s\xffabcd", {}, b"{}"),
    ("openidtoken_expiresatuserid", "tok", b"tok", (9, U), u64(9) + b"@u:s"),
    ("userdevicesessionid_uiaainfo", (U, "", "ses"), b"@u:s\xff\xffses", {}, b"{}"),
    ("userdevicetxnid_response", (U, D, "t"), b"@u:s\xffDEV\xfft", b"$e:s", b"$e:s"),
    ("onetimekeyid_onetimekeys", (U, D, '"a:b"'), b'@u:s\xffDEV\xff"a:b"', {}, b"{}"),
    ("userid_lastonetimekeyupdate", U, b"@u:s", 4, u64(4)),
    ("keychangeid_userid", (R, 255), b"!r:s\xff" + u64(255), U, b"@u:s"),
    ("keyid_key", (U, D), b"@u:s\xffDEV", {}, b"{}"),
    ("userid_masterkeyid", U, b"@u:s", (U, "pub"), b"@u:s\xffpub"),
    ("userid_selfsigningkeyid", U, b"@u:s", (U, "pub"), b"@u:s\xffpub"),
    ("userid_usersigningkeyid", U, b"@u:s", (U, "pub"), b"@u:s\xffpub"),
    ("todeviceid_events", (U, D, 1), b"@u:s\xffDEV\xff" + u64(1), {}, b"{}"),
    ("backupid_algorithm", (U, "10"), b"@u:s\xff10", {}, b"{}"),
    ("backupid_etag", (U, "10"), b"@u:s\xff10", 3, u64(3)),
    ("backupkeyid_backup", (U, "10", R, "ses"), b"@u:s\xff10\xff!r:s\xffses", {}, b"{}"),
    ("readreceiptid_readreceipt", (R, 255, U), b"!r:s\xff" + u64(255) + b"\xff@u:s", {}, b"{}"),
    ("roomuserid_privateread", (R, U), b"!r:s\xff@u:s", 8, u64(8)),
    ("roomuserid_lastprivatereadupdate", (R, U), b"!r:s\xff@u:s", 9, u64(9)),
    ("presenceid_presence", (R, 1, U), b"!r:s\xff" + u64(1) + b"\xff@u:s", {}, b"{}"),
    ("userid_lastpresenceupdate", U, b"@u:s", 1600, u64(1600)),
    ("pduid_pdu", PduId(3, 7), P, b"{}", b"{}"),
    ("pduid_pdu", PduId(3, 0, 7), u64(3) + u64(0) + u64(MAX - 7), b"{}", b"{}"),
    ("pduid_pdu", PduId(3, 5, 7), u64(3) + u64(5) + u64(0) + u64(MAX - 7), b"{}", b"{}"),
    ("eventid_pduid", E, b"$e:s", PduId(3, 7), P),
    ("eventid_outlierpdu", E, b"$e:s", b"{}", b"{}"),
    ("softfailedeventids", E, b"$e:s", True, b""),
    ("roomid_pduleaves", (R, E), b"!r:s\xff$e:s", E, b"$e:s"),
    ("referencedevents", (R, E), b"!r:s$e:s", True, b""),
    ("tofrom_relation", (255, 2), u64(255) + u64(2), True, b""),
    ("threadid_userids", PduId(3, 7), P, b"@u:s\xff@v:s", b"@u:s\xff@v:s"),
    ("tokenids", (3, "word", P), u64(3) + b"word\xff" + P, True, b""),
    ("roomid_shortroomid", R, b"!r:s", 3, u64(3)),
    ("eventid_shorteventid", E, b"$e:s", 4, u64(4)),
    ("shorteventid_eventid", 4, u64(4), E, b"$e:s"),
    ("statekey_shortstatekey", ("m.x", ""), b"m.x\xff", 5, u64(5)),
    ("shortstatekey_statekey", 5, u64(5), ("m.x", "k"), b"m.x\xffk"),
    ("statehash_shortstatehash", H, H, 6, u64(6)),
    ("shortstatehash_statediff", 6, u64(6), StateDiff(2, P, b""), u64(2) + P),
    ("shortstatehash_statediff", 6, u64(6), StateDiff(0, P, u64(1) + u64(2)), u64(0) + P + u64(0) + u64(1) + u64(2)),
    ("roomid_shortstatehash", R, b"!r:s", 6, u64(6)),
    ("shorteventid_shortstatehash", 4, u64(4), 6, u64(6)),
    ("roomsynctoken_shortstatehash", (3, 9), u64(3) + u64(9), 6, u64(6)),
    ("shorteventid_authchain", 4, u64(4), (1, 255), u64(1) + u64(255)),
    ("userroomid_joined", (U, R), b"@u:s\xff!r:s", True, b""),
    ("roomuserid_joined", (R, U), b"!r:s\xff@u:s", True, b""),
    ("roomid_joinedcount", R, b"!r:s", 1, u64(1)),
    ("roomid_invitedcount", R, b"!r:s", 1, u64(1)),
    ("roomserverids", (R, S), b"!r:s\xffs.org", True, b""),
    ("serverroomids", (S, R), b"s.org\xff!r:s", True, b""),
    ("roomuseroncejoinedids", (U, R), b"@u:s\xff!r:s", True, b""),
    ("userroomid_invitestate", (U, R), b"@u:s\xff!r:s", [], b"[]"),
    ("roomuserid_invitecount", (R, U), b"!r:s\xff@u:s", 9, u64(9)),
    ("userroomid_knockstate", (U, R), b"@u:s\xff!r:s", [], b"[]"),
    ("roomuserid_knockcount", (R, U), b"!r:s\xff@u:s", 9, u64(9)),
    ("userroomid_leftstate", (U, R), b"@u:s\xff!r:s", [], b"[]"),
    ("roomuserid_leftcount", (R, U), b"!r:s\xff@u:s", 9, u64(9)),
    ("userroomid_notificationcount", (U, R), b"@u:s\xff!r:s", 2, u64(2)),
    ("userroomid_highlightcount", (U, R), b"@u:s\xff!r:s", 1, u64(1)),
    ("lazyloadedids", (U, D, R, "@v:s"), b"@u:s\xffDEV\xff!r:s\xff@v:s", True, b""),
    ("alias_roomid", "lobby", b"lobby", R, b"!r:s"),
    ("alias_userid", "lobby", b"lobby", U, b"@u:s"),
    ("aliasid_alias", (R, 9), b"!r:s\xff" + u64(9), "#lobby:s", b"#lobby:s"),
    ("publicroomids", R, b"!r:s", True, b""),
    ("disabledroomids", R, b"!r:s", True, b""),
    (
        "roomuserdataid_accountdata",
        ("", U, 255, "m.tag"),
        b"\xff@u:s\xff" + u64(255) + b"\xffm.tag",
        {"type": "m.tag", "content": {}},
        b'{"type":"m.tag","content":{}}',
    ),
    (
        "roomusertype_roomuserdataid",
        (R, U, "m.tag"),
        b"!r:s\xff@u:s\xffm.tag",
        (R, U, 255, "m.tag"),
        b"!r:s\xff@u:s\xff" + u64(255) + b"\xffm.tag",
    ),
    ("servernamemediaid_metadata", (S, "mid"), b"s.org\xffmid", MediaMeta(H, "a.png", "", False), H + b"a.png\xff"),
    (
        "thumbnailid_metadata",
        (S, "mid", 96, 255),
        b"s.org\xffmid\xff" + struct.pack(">II", 96, 255),
        MediaMeta(H, "", "image/png", True),
        H + b"\xffimage/png\xff",
    ),
    ("filehash_metadata", H, H, (1, 2, 3), u64(1) + u64(2) + u64(3)),
    ("filehash_servername_mediaid", (H, S, "mid"), H + b"s.org\xffmid", True, b""),
    ("filehash_thumbnailid", (H, S, "mid", 96, 255), H + b"s.org\xffmid\xff" + struct.pack(">II", 96, 255), True, b""),
    ("servername_userlocalpart_mediaid", (S, "u", "mid"), b"s.org\xffu\xffmid", True, b""),
    ("servernamemediaid_userlocalpart", (S, "mid"), b"s.org\xffmid", "u", b"u"),
    ("blocked_servername_mediaid", (S, "mid"), b"s.org\xffmid", (7, "spam"), u64(7) + b"spam"),
    ("servernameevent_data", ((S,), P), b"s.org\xff" + P, b"", b""),
    ("servernameevent_data", (("$@u:s", "key"), P), b"$@u:s\xffkey\xff" + P, b"", b""),
    ("servercurrentevent_data", (("+irc",), u64(255)), b"+irc\xff" + u64(255), b"{}", b"{}"),
    ("servername_educount", S, b"s.org", 8, u64(8)),
    ("id_appserviceregistrations", "irc", b"irc", "id: irc", b"id: irc"),
    ("senderkey_pusher", (U, "key"), b"@u:s\xffkey", {}, b"{}"),
]


def test_every_tree_of_conduit_has_an_example() -> None:
    """None is left out."""
    assert {name for name, *_ in EXAMPLES} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "key", "raw_key", "value", "data"), EXAMPLES, ids=lambda part: part if isinstance(part, str) else ""
)
def test_tree_of_conduit_is_laid_out_byte_for_byte(
    name: str, key: Any, raw_key: bytes, value: Any, data: bytes
) -> None:
    """As Conduit writes it, and as it is read back."""
    tree = ALL[name]
    assert tree.key.encode(key) == raw_key
    assert tree.key.decode(raw_key) == key
    assert tree.value.encode(value) == data
    assert tree.value.decode(data) == value


def test_tuples_are_joined_as_conduit_joins_them() -> None:
    """The helper of these tests says the same as the codecs."""
    encode: Callable[[Any], bytes] = trees.roomuserid_joined.key.encode
    assert encode((R, U)) == joined(R, U)
