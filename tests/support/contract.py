"""The contract: every answer that a test receives is one that the specification describes.

An answer must match the schema of its endpoint and status and hold no key which that schema does not declare; an error must be
a standard error response. What the schemas forgot but the specification's text has is listed in `GAPS`, with where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator

from tests.support import openapi
from tests.support.openapi import Operation

Schema = dict[str, Any]

ERROR: Schema = {
    "type": "object",
    "properties": {
        "errcode": {"type": "string", "pattern": "^[A-Z0-9._]+$"},
        "error": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
        "soft_logout": {"type": "boolean"},
        "current_version": {"type": "string"},
        "room_version": {"type": "string"},
        "admin_contact": {"type": "string"},
    },
    "required": ["errcode", "error"],
}

GAPS: dict[str, set[str]] = {
    # Modules "Relations between events" (aggregations) and "Reference relations"; `redacted_by` is older than the specification.
    "unsigned": {"m.relations", "redacted_by"},
    # Module "Room upgrades"; rooms/v11: `redacts` also stands at the top level for older clients.
    "event": {"redacts"},
    # Module "Presence": an `m.presence` event has a sender.
    "events": {"sender"},
    "presence": {"sender"},
    # Module "End-to-end encryption", "Extensions to /sync".
    "": {"device_unused_fallback_key_types"},
    # POST /pushers/set: clients may put custom data beside the URL.
    "data": {"custom"},
}
"""Keys by the kind of object that holds them."""

OLD_FORMS: dict[str, set[str]] = {
    "/_matrix/client/v3/initialSync": {"receipts"},
    "/_matrix/client/v3/rooms/{roomId}/initialSync": {"presence", "receipts"},
}
"""Keys of deprecated answers that older versions of the specification had, and the clients that still ask for them read."""

UNSPECIFIED_OPERATIONS = (
    re.compile(r"POST /_matrix/client/v3/rooms/[^/]+/send/[^/]+"),
    re.compile(r"POST /_matrix/client/v3/rooms/[^/]+/redact/[^/]+"),
    re.compile(r"GET /_matrix/key/v2/query/[^/]+/[^/]*"),
    re.compile(r"GET /_matrix/client/v3/pushrules/global/[^/]+/"),
    re.compile(r"(?:GET|PUT|DELETE) /_matrix/client/v3/pushrules/\{rest:path\}"),
    re.compile(r"PUT /_matrix/federation/v1/send_(?:join|leave)/[^/]+/[^/]+"),
    re.compile(r"POST /_matrix/federation/v1/3pid/onbind"),
)
"""Operations that the specification does not have, or has no longer, and which other servers have kept as well."""

AUTHENTICATED_BY_TEXT = ("/_matrix/client/v3/keys/device_signing/upload",)
"""Where only the description says that user-interactive authentication is asked for."""

OPAQUE = frozenset({"auth_data", "session_data"})
"""Keys of a backup whose values are the clients' own: the schemas describe those of the algorithm that there is."""

FEDERATION = "/_matrix/federation/"
PDU_KEYS = frozenset(
    ("auth_events", "depth", "event_id", "hashes", "prev_events", "redacts", "room_id", "signatures", "unsigned")
)
"""What the schemas of the server-server API say their events have "as required by the room version", and do not list."""

UNSPECIFIED = ("/_matrix/client/v3/auth/", "/_matrix/static/", "/_matrix/client/unstable/", "/_conduit/", "/_synapse/")
"""Paths below which the schemas know nothing; of the fallback pages the text alone tells."""


TWINS = (
    (re.compile(r"/_matrix/client/r0/(.*)"), r"/_matrix/client/v3/\1"),
    (re.compile(r"/_matrix/media/(?:r0/|v1/(?=upload))(.*)"), r"/_matrix/media/v3/\1"),
    (re.compile(r"/_matrix/client/v3/keys/upload/[^/]+"), "/_matrix/client/v3/keys/upload"),
    (re.compile(r"/_matrix/key/v2/server/[^/]*"), "/_matrix/key/v2/server"),
    (re.compile(r"(/_matrix/client/v3/rooms/[^/]+/state/[^/]+)"), r"\1/"),
)
"""Older spellings that are served too, and today's."""


def current(path: str) -> str:
    """Return today's path for one that may be of an older form."""
    for old, new in TWINS:
        if match := old.fullmatch(path):
            path = match.expand(new)
    return path


def is_older(method: str, path: str) -> bool:
    """Tell whether a request is one of those from before the specification."""
    asked = f"{method} {current(path.partition('?')[0])}"
    return any(older.fullmatch(asked) for older in UNSPECIFIED_OPERATIONS)


class Broken(AssertionError):
    """An answer breaks the contract."""


class Contract:
    """All operations of the specification, ready to judge answers."""

    def __init__(self, operations: list[Operation]) -> None:
        self._by_shape: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
        self._validators: dict[int, Draft202012Validator] = {}
        self.seen: set[tuple[str, str]] = set()
        """The operations that were judged so far, as (method, path)."""
        for operation in operations:
            segments = operation.path.split("/")
            self._by_shape.setdefault((operation.method, len(segments)), []).append((segments, operation))
        for same in self._by_shape.values():
            # A literal segment goes before a parameter.
            same.sort(key=lambda entry: [segment.startswith("{") for segment in entry[0]])
        self._general = Draft202012Validator(ERROR)

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation that a request belongs to, or `None`."""
        parts = [unquote(part) for part in current(path.partition("?")[0]).split("/")]
        for segments, operation in self._by_shape.get((method, len(parts)), ()):
            if all(s.startswith("{") or s == p for s, p in zip(segments, parts, strict=True)):
                return operation
        return None

    def check(self, method: str, path: str, status: int, body: Any) -> None:
        """Raise `Broken` unless `body` (decoded JSON) is what the specification lets `method path` answer with `status`."""
        if method in ("HEAD", "OPTIONS") or path.startswith(UNSPECIFIED):
            return
        is_specified = not is_older(method, path)
        operation = self.find(method, path) if is_specified else None
        where = f"{method} {path.partition('?')[0]} -> {status}"
        if status >= 400 and not (status == 401 and isinstance(body, dict) and "flows" in body):
            self._check_error(where, status, body)
            if operation is not None:
                self.seen.add((operation.method, operation.path))
            return
        if operation is None:
            if is_specified:
                raise Broken(f"{where}: the specification knows no such endpoint")
            return
        self.seen.add((operation.method, operation.path))
        if str(status) not in operation.responses:
            if status == 401 and operation.path in AUTHENTICATED_BY_TEXT:
                return
            raise Broken(f"{where}: the specification declares only {', '.join(operation.responses)}")
        schema = operation.responses[str(status)]
        if schema is None:
            return
        if operation.path == "/_matrix/client/v3/events":
            # The stream also has events without an id, such as presence; the schema describes the events of rooms.
            body = {**body, "chunk": [event for event in body["chunk"] if "event_id" in event]}
        self._validate(where, self._validator(schema), body)
        undeclared = sorted(
            set(_undeclared(body, [schema], "", "", path.startswith(FEDERATION))) - OLD_FORMS.get(operation.path, set())
        )
        if operation.path.endswith("/keys/claim"):
            # "End-to-end encryption", "Fallback keys": they say what they are. The schema of the answer has forgotten it.
            undeclared = [key for key in undeclared if not key.endswith(".fallback")]
        if status == 401:
            undeclared = [key for key in undeclared if key not in ("errcode", "error")]
        if undeclared:
            raise Broken(f"{where}: keys that the schema does not declare: {', '.join(undeclared)}\n{body}")

    def _check_error(self, where: str, status: int, body: Any) -> None:
        self._validate(where, self._general, body)
        extra = sorted(set(body) - set(ERROR["properties"]))
        if extra:
            raise Broken(f"{where}: an error with keys that the specification does not know: {', '.join(extra)}")
        if status == 429 and not isinstance(body.get("retry_after_ms"), int):
            raise Broken(f"{where}: no retry_after_ms")

    def _validator(self, schema: Schema) -> Draft202012Validator:
        validator = self._validators.get(id(schema))
        if validator is None:
            validator = self._validators[id(schema)] = Draft202012Validator(_of_any_version(schema))
        return validator

    @staticmethod
    def _validate(where: str, validator: Draft202012Validator, body: Any) -> None:
        errors = [
            f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in validator.iter_errors(body)
        ]
        if errors:
            raise Broken(f"{where}: " + "; ".join(errors[:5]))


def _flat(schemas: list[Schema]) -> Iterator[Schema]:
    for schema in schemas:
        yield schema
        yield from _flat(schema.get("allOf", []))
        for form in schema.get("anyOf", []):
            forms = list(_flat([form]))
            yield from forms
            if form.get("type") == "object" and not any(_KEYED & set(part) for part in forms):
                yield {"additionalProperties": True}


def _of_any_version(schema: Any) -> Any:
    """Return a schema that does not demand of events what only the first room versions have, `origin`, nor anything of what is `OPAQUE`."""
    if isinstance(schema, list):
        return [_of_any_version(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: {} if key in OPAQUE else _of_any_version(value) for key, value in schema.items()}
    required = schema.get("required")
    if isinstance(required, list) and {"origin", "state_key"} <= set(required):
        changed["required"] = [key for key in required if key != "origin"]
    return changed


_KEYED = {"properties", "patternProperties", "additionalProperties"}


def _undeclared(value: Any, schemas: list[Schema], path: str, kind: str, is_federation: bool) -> Iterator[str]:
    if isinstance(value, list):
        items = [schema["items"] for schema in _flat(schemas) if isinstance(schema.get("items"), dict)]
        for item in value:
            yield from _undeclared(item, items, f"{path}[]", kind, is_federation)
        return
    if not isinstance(value, dict):
        return
    flat = list(_flat(schemas))
    named = [schema["properties"] for schema in flat if "properties" in schema]
    patterns = [schema["patternProperties"] for schema in flat if "patternProperties" in schema]
    rest = [
        schema["additionalProperties"] for schema in flat if schema.get("additionalProperties") not in (None, False)
    ]
    if not named and not patterns and not rest:
        return
    if is_federation and (kind == "content" or not any((*named, *patterns, *rest))):
        return  # An event of whatever version, or what an event holds.
    if {"type", "content", "sender"} <= set().union(*named):
        kind = "event"
    for key, child in value.items():
        below = [properties[key] for properties in named if key in properties]
        if not below:
            # A key pattern is checked by the validator; here any child of the map will do.
            below = [child_schema for pattern in patterns for child_schema in pattern.values()]
            below += [schema for schema in rest if isinstance(schema, dict)]
            known = PDU_KEYS if is_federation and kind == "event" else GAPS.get(kind, ())
            if not below and not rest and key not in known:
                yield f"{path}.{key}" if path else key
                continue
        yield from _undeclared(child, below, f"{path}.{key}" if path else key, key, is_federation)


@lru_cache(maxsize=1)
def contract() -> Contract | None:
    """Return the contract, or `None` if the specification is not on this machine."""
    spec = openapi.specification()
    return None if spec is None else Contract(openapi.load(spec))
