"""What is asked of the room directory."""

from __future__ import annotations

from typing import Any

import pytest

from conduit.api import room_list
from conduit.api.request import Request
from conduit.protocol.errors import BadJson, InvalidParam, MatrixError
from conduit.service.browse.public_rooms import MAX_LIMIT, Query


def request(query: str) -> Request:
    """Return a GET with a query."""
    return Request(method="GET", path="/", raw_query=query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Query()),
        ("limit=0", Query()),
        ("limit=5&since=x", Query(limit=5, since="x")),
        (f"limit={MAX_LIMIT * 2}", Query()),
        ("include_all_networks=true", Query(all_networks=True)),
        ("third_party_instance_id=irc", Query(network="irc")),
    ],
)
def test_query_parameters(query: str, expected: Query) -> None:
    """No limit means the largest."""
    assert room_list.from_url(request(query)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Query()),
        ({"limit": 5, "since": "x", "filter": {"generic_search_term": "t"}}, Query(5, "x", "t")),
        ({"filter": {"room_types": [None, "m.space"]}}, Query(room_types=frozenset([None, "m.space"]))),
        ({"third_party_instance_id": "irc"}, Query(network="irc")),
        ({"include_all_networks": True}, Query(all_networks=True)),
    ],
)
def test_body(body: dict[str, Any], expected: Query) -> None:
    """The same words, and a filter."""
    assert room_list.from_body(body) == expected


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"filter": []}, BadJson),
        ({"filter": {"room_types": [5]}}, BadJson),
        ({"third_party_instance_id": "irc", "include_all_networks": True}, InvalidParam),
    ],
)
def test_nonsense_is_refused(body: dict[str, Any], error: type[MatrixError]) -> None:
    """With the fitting code, in a query as well."""
    with pytest.raises(error):
        room_list.from_body(body)
    with pytest.raises(InvalidParam):
        room_list.from_url(request("third_party_instance_id=irc&include_all_networks=true"))
