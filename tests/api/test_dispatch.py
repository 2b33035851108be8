"""Which endpoint a request line means."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.api.dispatch import Match, Table
from conduit.api.request import Json, Request
from conduit.api.web import Routes
from conduit.protocol.errors import InvalidParam
from conduit.service.context import Context

ROOMS = "/_matrix/client/v3/rooms"


async def handler(ctx: Context, req: Request) -> Json:
    """Answer nothing; only found here, never called."""
    return {}


def _table() -> Table:
    routes = Routes()
    routes.get(ROOMS + "/{roomId}/state", ROOMS + "/{roomId}/members")(handler)
    routes.get(ROOMS + "/{roomId}/state/{eventType}/{stateKey}")(handler)
    routes.put(ROOMS + "/{roomId}/state/{eventType}/{stateKey}")(handler)
    routes.get("/_matrix/client/v3/devices")(handler)
    routes.get("/_matrix/client/v3/devices/{deviceId}")(handler)
    routes.get("/_matrix/client/v3/pushrules/")(handler)
    routes.get("/_matrix/client/v3/profile/{userId}/displayname")(handler)
    routes.get("/_matrix/client/v3/profile/{userId}/{keyName}")(handler)
    routes.put("/_matrix/client/v3/profile/{userId}/{keyName}")(handler)
    routes.get("/_matrix/client/v3/rooms/special/{odd}")(handler)
    routes.get("/_matrix/static/{file:path}")(handler)
    return Table([routes])


TABLE = _table()


def find(method: str, path: str) -> Match | None:
    """Return what the sample table says."""
    return TABLE.find(method, path)


def params(method: str, path: str) -> dict[str, str]:
    """Return the parameters of a request that has an endpoint."""
    match = find(method, path)
    assert match is not None
    assert match.endpoint is not None
    return match.params


def test_parameters_are_decoded_once() -> None:
    """%2525 means %25, and an encoded slash stays inside its segment."""
    assert params("GET", ROOMS + "/%21a%3Ahost/state") == {"roomId": "!a:host"}
    assert params("GET", ROOMS + "/%2525/state") == {"roomId": "%25"}
    assert params("GET", ROOMS + "/a%2Fb/state/m.x/c%2F%2Fd") == {
        "roomId": "a/b",
        "eventType": "m.x",
        "stateKey": "c//d",
    }


def test_a_plus_sign_in_a_path_is_a_plus_sign() -> None:
    """Only in queries does it mean a space."""
    assert params("GET", ROOMS + "/a+b/state") == {"roomId": "a+b"}


def test_raw_unicode_is_taken() -> None:
    """Some clients do not encode what they should."""
    assert params("GET", ROOMS + "/é/state") == {"roomId": "é"}


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_every_segment_comes_back(text: str) -> None:
    """What a client encodes is what the handler sees."""
    assert params("GET", f"/_matrix/client/v3/devices/{quote(text, safe='')}") == {"deviceId": text}


@pytest.mark.parametrize("bad", ["%", "%2", "%zz", "a%g0", "%c3%28", "%ff", "%ed%a0%80", "\udcff"])
def test_bad_escapes_and_bad_utf8_are_refused(bad: str) -> None:
    """They are an invalid parameter, not another path and not a crash."""
    with pytest.raises(InvalidParam):
        find("GET", f"{ROOMS}/{bad}/state")


def test_the_empty_state_key_ends_in_a_slash() -> None:
    """`/state/m.room.name/` has the state key that is empty."""
    assert params("PUT", ROOMS + "/r/state/m.room.name/") == {"roomId": "r", "eventType": "m.room.name", "stateKey": ""}


@pytest.mark.parametrize(
    "path",
    [
        "/_matrix/client/v3/devices/",
        ROOMS + "//state",
        ROOMS + "/r/state/",
        ROOMS + "/r/members/",
        ROOMS + "/r/state/a/b/c",
        "/_matrix/client/v3/pushrules",
        "/_matrix/client/v3//devices",
        "/_matrix/client/v3/devices/a/..",
        "/_matrix",
        "/",
        "//",
        "",
    ],
)
def test_other_slashes_make_other_paths(path: str) -> None:
    """No other parameter may be empty, and nothing is normalised away."""
    assert find("GET", path) is None


def test_a_literal_goes_before_a_parameter() -> None:
    """`displayname` is its own endpoint although any name would match."""
    assert params("GET", "/_matrix/client/v3/profile/u/displayname") == {"userId": "u"}
    assert params("GET", "/_matrix/client/v3/profile/u/tz") == {"userId": "u", "keyName": "tz"}


def test_a_method_that_the_literal_lacks_is_sought_on_the_parameter() -> None:
    """PUT exists for every key, also for the one with a GET of its own."""
    assert params("PUT", "/_matrix/client/v3/profile/u/displayname") == {"userId": "u", "keyName": "displayname"}


def test_a_literal_that_leads_nowhere_is_given_up() -> None:
    """A room that is called like a literal segment is still found."""
    assert params("GET", ROOMS + "/special/state") == {"odd": "state"}
    assert params("GET", ROOMS + "/special/state/m.x/") == {"roomId": "special", "eventType": "m.x", "stateKey": ""}


def test_another_method_is_told_from_no_path() -> None:
    """The allowed methods are known where the path exists."""
    match = find("POST", ROOMS + "/r/state/m.x/k")
    assert match is not None
    assert match.endpoint is None
    assert match.allowed == {"GET", "PUT"}
    static = find("DELETE", "/_matrix/client/v3/devices")
    assert static is not None
    assert static.allowed == {"GET"}


def test_head_is_what_get_is() -> None:
    """A HEAD finds the GET endpoint."""
    assert params("HEAD", ROOMS + "/r/state") == {"roomId": "r"}
    assert params("HEAD", "/_matrix/client/v3/devices") == {}


def test_old_paths_are_served_too() -> None:
    """Everything below v3 is below r0 as well."""
    assert params("GET", "/_matrix/client/r0/rooms/r/state") == {"roomId": "r"}


def test_the_rest_of_a_path_can_be_one_parameter() -> None:
    """`{file:path}` takes any number of segments, decoded."""
    assert params("GET", "/_matrix/static/a/b%20c/d") == {"file": "a/b c/d"}


def test_encoded_literals_match() -> None:
    """A percent-encoded letter is that letter."""
    assert params("GET", "/_matrix/client/v3/%64evices/x") == {"deviceId": "x"}


def test_declaring_a_path_twice_is_an_error() -> None:
    """Two handlers for one endpoint are a mistake that shows at the start."""
    routes = Routes()
    routes.get("/a/{b}")(handler)
    routes.get("/a/{c}")(handler)
    with pytest.raises(ValueError, match="twice"):
        Table([routes])
