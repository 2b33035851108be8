"""The contract check itself: what it lets through, and what not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.contract import Broken, Contract, contract

SYNC = "/_matrix/client/v3/sync"
EVENT = {
    "type": "m.room.message",
    "sender": "@a:x",
    "content": {"anything": {"goes": None}},
    "event_id": "$e",
    "origin_server_ts": 1,
}


@pytest.fixture
def judge() -> Contract:
    """The specification's contract."""
    found = contract()
    if found is None:
        pytest.skip("MATRIX_SPEC names no specification")
    return found


def _sync(event: dict[str, Any]) -> dict[str, Any]:
    timeline = {"events": [event], "limited": False, "prev_batch": "p"}
    return {"next_batch": "s1", "rooms": {"join": {"!r:x": {"timeline": timeline}}}}


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/_matrix/client/versions", 200, {"versions": ["v1.1"]}),
        ("GET", "/_matrix/client/r0/account/whoami", 200, {"user_id": "@a:x"}),
        ("GET", SYNC + "?since=a", 200, _sync(EVENT)),
        ("GET", SYNC, 200, _sync({**EVENT, "unsigned": {"age": 1, "m.relations": {"m.thread": {}}}})),
        ("GET", "/_matrix/client/v3/rooms/!r:x/state/m.room.name/", 200, {"name": "n", "odd": 1}),
        ("GET", "/_matrix/client/v3/nonsense", 404, {"errcode": "M_UNRECOGNIZED", "error": "e"}),
        ("POST", SYNC, 405, {"errcode": "M_UNRECOGNIZED", "error": "e"}),
        ("GET", SYNC, 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "e", "soft_logout": True}),
        ("GET", SYNC, 429, {"errcode": "M_LIMIT_EXCEEDED", "error": "e", "retry_after_ms": 5}),
        ("POST", "/_matrix/client/v3/register", 401, {"flows": [{"stages": ["m.login.dummy"]}], "session": "s"}),
        ("GET", "/_conduit/anything", 200, 17),
    ],
)
def test_what_the_specification_has_passes(judge: Contract, method: str, path: str, status: int, body: Any) -> None:
    """Declared answers, content of any shape, and standard errors."""
    judge.check(method, path, status, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/_matrix/client/versions", 200, {}),
        ("GET", "/_matrix/client/versions", 200, {"versions": "v1.1"}),
        ("GET", "/_matrix/client/versions", 200, {"versions": ["v1.1"], "extra": 1}),
        ("GET", "/_matrix/client/versions", 202, {"versions": ["v1.1"]}),
        ("GET", "/_matrix/client/v3/account/whoami", 200, {"user_id": "@a:x", "device_id": None}),
        ("GET", "/_matrix/client/v3/account/whoami", 200, {"user_id": "a"}),
        ("GET", SYNC, 200, _sync({**EVENT, "depth": 5})),
        ("GET", SYNC, 200, _sync({**EVENT, "unsigned": {"secret": 1}})),
        ("GET", SYNC, 200, _sync({key: value for key, value in EVENT.items() if key != "event_id"})),
        ("GET", "/_matrix/client/v3/nonsense", 200, {}),
        ("GET", "/_matrix/client/v3/nonsense", 404, {"error": "e"}),
        ("GET", SYNC, 404, "text"),
        ("GET", SYNC, 429, {"errcode": "M_LIMIT_EXCEEDED", "error": "e"}),
        ("GET", SYNC, 403, {"errcode": "M_FORBIDDEN", "error": "e", "traceback": "x"}),
        ("POST", "/_matrix/client/v3/register", 401, {"flows": [{}]}),
    ],
)
def test_what_the_specification_has_not_fails(judge: Contract, method: str, path: str, status: int, body: Any) -> None:
    """Missing keys, wrong types, undeclared keys at any depth, undeclared statuses, errors that are none."""
    with pytest.raises(Broken):
        judge.check(method, path, status, body)


def test_every_operation_can_be_judged(judge: Contract) -> None:
    """Each schema is a valid one, and each path finds itself."""
    for entries in judge._by_shape.values():
        for _, operation in entries:
            assert judge.find(operation.method, operation.path) is operation
            for schema in operation.responses.values():
                if schema is not None:
                    judge._validator(schema).check_schema(schema)
