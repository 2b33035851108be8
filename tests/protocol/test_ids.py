from __future__ import annotations

import pytest

from conduit.protocol import ids
from conduit.protocol.errors import InvalidParam, InvalidUsername

HASH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO_-"
LONG = "a" * 255


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "MATRIX.org",
        "a" * 255,
    ],
)
def test_server_name_of_the_grammar_is_taken(name: str) -> None:
    """The specification's own examples, and the longest name."""
    assert ids.parse_server_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a/b",
        "a..\n",
        "matrix.org:",
        "matrix.org:123456",
        "[::1",
        "::1",
        "mätrix.org",
        "a_b",
        "a" * 256,
        None,
        5,
    ],
)
def test_server_name_outside_the_grammar_is_refused(name: object) -> None:
    """Slashes, white space and letters beyond ASCII never reach a path or a URL."""
    with pytest.raises(InvalidParam):
        ids.parse_server_name(name)


@pytest.mark.parametrize(
    "user", ["@alice:one", "@:one", "@Ünïcode 1!:one:8448", "@a=b/c+d:[::1]", "@" + "a" * 250 + ":one"]
)
def test_user_id_is_taken_with_historical_localparts(user: str) -> None:
    """Any Unicode but NUL and the colon may stand in the localpart of another server's user."""
    assert ids.parse_user_id(user) == user


@pytest.mark.parametrize(
    "user",
    [
        "alice:one",
        "@alice",
        "@alice:",
        "@al\0ice:one",
        "@al\ud800ice:one",
        "@" + "a" * 251 + ":one",
        "@" + "ä" * 126 + ":one",
        "",
        1,
    ],
)
def test_user_id_outside_the_grammar_is_refused(user: object) -> None:
    """No sigil, no server, forbidden characters, or more than 255 bytes (not characters)."""
    with pytest.raises(InvalidParam):
        ids.parse_user_id(user)


@pytest.mark.parametrize("room", ["!abc:one", "!ä b:one:80", "!" + HASH])
def test_room_id_is_taken_with_and_without_server(room: str) -> None:
    """Up to version 11 a server follows; from 12 on the id is a hash."""
    assert ids.parse_room_id(room) == room


@pytest.mark.parametrize(
    "room", ["!abc", "abc:one", "!:one", "!a\0:one", "!" + HASH + "a", "!" + "+" * 43, "!" + LONG + ":one", [], None]
)
def test_room_id_outside_the_grammar_is_refused(room: object) -> None:
    """A hash must be one in the URL-safe alphabet."""
    with pytest.raises(InvalidParam):
        ids.parse_room_id(room)


@pytest.mark.parametrize("alias", ["#room:one", "#räum 1:one:80"])
def test_room_alias_of_the_grammar_is_taken(alias: str) -> None:
    """Anything but NUL and the colon."""
    assert ids.parse_room_alias(alias) == alias


@pytest.mark.parametrize("alias", ["#:one", "room:one", "#room", "#a\0b:one", "#" + LONG + ":one", {}])
def test_room_alias_outside_the_grammar_is_refused(alias: object) -> None:
    """An alias without a name is none."""
    with pytest.raises(InvalidParam):
        ids.parse_room_alias(alias)


@pytest.mark.parametrize("event", ["$abc:one", "$" + HASH, "$" + "+/" + HASH[:41]])
def test_event_id_of_every_room_version_is_taken(event: str) -> None:
    """Given ids, and hashes in both alphabets."""
    assert ids.parse_event_id(event) == event


@pytest.mark.parametrize("event", ["$abc", "abc:one", "$" + HASH + "a", "$a b", "", None, True])
def test_event_id_outside_the_grammar_is_refused(event: object) -> None:
    """Neither a server nor the length of a hash."""
    with pytest.raises(InvalidParam):
        ids.parse_event_id(event)


@pytest.mark.parametrize("text", ["", "a\0", "a" * 256, "ä" * 128, 3, None])
def test_opaque_identifier_is_bounded(text: object) -> None:
    """Device ids and the like hold 1 to 255 bytes without NUL; the message names the parameter."""
    with pytest.raises(InvalidParam, match="device_id"):
        ids.parse_opaque(text, "device_id")


def test_opaque_identifier_may_hold_any_other_text() -> None:
    """Clients choose them freely."""
    assert ids.parse_opaque("my phone ☎", "device_id") == "my phone ☎"


def test_mxc_uri_is_split() -> None:
    """The parts are safe for a path."""
    assert ids.parse_mxc("mxc://one:8448/Abc-1_2") == ("one:8448", "Abc-1_2")


@pytest.mark.parametrize(
    "uri", ["mxc://one", "mxc://one/", "mxc://one/a/b", "mxc://one/..", "mxc:///a", "http://one/a", "mxc://a b/c", None]
)
def test_mxc_uri_that_leads_elsewhere_is_refused(uri: object) -> None:
    """No dots, slashes or white space: the media id becomes part of a path."""
    with pytest.raises(InvalidParam):
        ids.parse_mxc(uri)


def test_parts_of_an_identifier() -> None:
    """The first colon divides; a room id of version 12 names no server."""
    assert ids.server_name_of("@a:one:8448") == "one:8448"
    assert ids.localpart_of("@a:one:8448") == "a"
    with pytest.raises(InvalidParam):
        ids.server_name_of("!" + HASH)


def test_new_user_id_follows_todays_grammar() -> None:
    """Accounts made here hold lower case, digits and six signs."""
    server = ids.parse_server_name("one")
    assert ids.new_user_id("a.b_c=d-e/f+9", server) == "@a.b_c=d-e/f+9:one"
    for bad in ("", "Alice", "älice", "a b", "a:b", "a" * 251):
        with pytest.raises(InvalidUsername):
            ids.new_user_id(bad, server)
