"""What a client or a server asks of the published room directory: the same words in both APIs."""

from __future__ import annotations

from conduit.api import fields
from conduit.api.request import Json, Request
from conduit.protocol.errors import BadJson, InvalidParam
from conduit.service.browse.public_rooms import MAX_LIMIT, Query


def from_url(req: Request) -> Query:
    """Return what the query parameters of a GET ask for. Raises `InvalidParam`."""
    network = req.query.text("third_party_instance_id")
    limit = req.query.number("limit", MAX_LIMIT, high=MAX_LIMIT) or MAX_LIMIT
    return _checked(
        Query(limit, req.query.text("since"), network=network, all_networks=req.query.flag("include_all_networks"))
    )


def from_body(body: Json) -> Query:
    """Return what the body of a POST asks for. Raises `BadJson` or `InvalidParam`."""
    wanted = fields.obj(body, "filter", {})
    types = fields.array(wanted, "room_types", None)
    if types is not None and not all(kind is None or isinstance(kind, str) for kind in types):
        raise BadJson("'room_types' must be an array of strings and nulls")
    return _checked(
        Query(
            limit=min(fields.number(body, "limit", MAX_LIMIT), MAX_LIMIT) or MAX_LIMIT,
            since=fields.text(body, "since", None),
            term=fields.text(wanted, "generic_search_term", ""),
            room_types=None if types is None else frozenset(types),
            network=fields.text(body, "third_party_instance_id", None),
            all_networks=fields.flag(body, "include_all_networks", False),
        )
    )


def _checked(query: Query) -> Query:
    if query.network is not None and query.all_networks:
        raise InvalidParam("'third_party_instance_id' cannot be used with 'include_all_networks'")
    return query
