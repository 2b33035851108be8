"""Readers for the fields of a request body: `text(body, "name")` is required, `text(body, "name", "x")` is not.

A required field that is absent raises `MissingParam`; a value of the wrong type raises `BadJson`; one out of bounds raises
`InvalidParam`. For an optional field `null` counts as absent: many clients send it so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from conduit.protocol.errors import BadJson, InvalidParam, MissingParam

T = TypeVar("T")
Body = Mapping[str, Any]

MAX_INTEGER = 2**53 - 1


class _Required:
    """The mark of a field without a default."""


REQUIRED = _Required()


def _get(body: Body, name: str, default: Any) -> Any:
    value = body.get(name)
    if value is not None:
        return value
    if default is REQUIRED:
        raise MissingParam(f"Missing required field '{name}'")
    return None


@overload
def text(body: Body, name: str) -> str: ...
@overload
def text(body: Body, name: str, default: T, *, max_length: int | None = None) -> str | T: ...
@overload
def text(body: Body, name: str, *, max_length: int | None = None) -> str: ...
def text(body: Body, name: str, default: Any = REQUIRED, *, max_length: int | None = None) -> Any:
    """Return a string; `max_length` bounds its characters."""
    value = _get(body, name, default)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadJson(f"'{name}' must be a string")
    if max_length is not None and len(value) > max_length:
        raise InvalidParam(f"'{name}' is too long")
    return value


@overload
def number(body: Body, name: str, *, low: int = 0, high: int = MAX_INTEGER) -> int: ...
@overload
def number(body: Body, name: str, default: T, *, low: int = 0, high: int = MAX_INTEGER) -> int | T: ...
def number(body: Body, name: str, default: Any = REQUIRED, *, low: int = 0, high: int = MAX_INTEGER) -> Any:
    """Return an integer with `low <= value <= high`."""
    value = _get(body, name, default)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadJson(f"'{name}' must be an integer")
    if not low <= value <= high:
        raise InvalidParam(f"'{name}' must lie between {low} and {high}")
    return value


@overload
def flag(body: Body, name: str) -> bool: ...
@overload
def flag(body: Body, name: str, default: T) -> bool | T: ...
def flag(body: Body, name: str, default: Any = REQUIRED) -> Any:
    """Return a boolean."""
    value = _get(body, name, default)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadJson(f"'{name}' must be a boolean")
    return value


@overload
def obj(body: Body, name: str) -> dict[str, Any]: ...
@overload
def obj(body: Body, name: str, default: T) -> dict[str, Any] | T: ...
def obj(body: Body, name: str, default: Any = REQUIRED) -> Any:
    """Return an object."""
    value = _get(body, name, default)
    if value is None:
        return default
    if not isinstance(value, dict):
        raise BadJson(f"'{name}' must be an object")
    return value


@overload
def array(body: Body, name: str, *, of: type | None = None) -> list[Any]: ...
@overload
def array(body: Body, name: str, default: T, *, of: type | None = None) -> list[Any] | T: ...
def array(body: Body, name: str, default: Any = REQUIRED, *, of: type | None = None) -> Any:
    """Return an array; with `of` (`str`, `dict`) every item must be of that type."""
    value = _get(body, name, default)
    if value is None:
        return default
    if not isinstance(value, list):
        raise BadJson(f"'{name}' must be an array")
    if of is not None and not all(isinstance(item, of) for item in value):
        raise BadJson(f"'{name}' must be an array of {_NAMES.get(of, of.__name__)}")
    return value


_NAMES: dict[type, str] = {str: "strings", dict: "objects", int: "integers", list: "arrays"}
