"""The specification's OpenAPI files as plain JSON schemas: every reference resolved, every annotation gone.

Reading some seventy YAML files takes seconds, so the outcome is kept in pytest's cache directory until a file changes.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
APIS = ("client-server", "server-server")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANNOTATIONS = {"description", "title", "example", "examples", "default", "deprecated", "$schema", "externalDocs"}
# Where the keys are names and not keywords.
_MAPS = {"properties", "patternProperties", "$defs"}


@dataclass(frozen=True)
class Operation:
    """One method of one path: for each status the JSON schema of its answer, or `None` if that is no JSON."""

    method: str
    path: str
    responses: dict[str, dict[str, Any] | None]
    query: tuple[str, ...] = ()
    """The names of the query parameters."""
    body: dict[str, Any] | None = None
    """A sample JSON request body with all declared keys, or `None` if the operation takes none."""


def specification() -> Path | None:
    """Return the directory of the specification, named by MATRIX_SPEC or lying beside the repository, or `None`."""
    named = os.environ.get("MATRIX_SPEC")
    path = Path(named) if named else ROOT.parent / "shared" / "matrix-spec"
    return path if (path / "data" / "api").is_dir() else None


def load(spec: Path) -> list[Operation]:
    """Return all operations of the client-server and server-server APIs."""
    files = sorted((spec / "data").rglob("*.yaml"))
    stamp = hashlib.sha256(Path(__file__).read_bytes())
    for file in files:
        stat = file.stat()
        stamp.update(f"{file}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
    cache = ROOT / ".pytest_cache" / f"openapi-{stamp.hexdigest()[:16]}.pickle"
    if cache.exists():
        operations: list[Operation] = pickle.loads(cache.read_bytes())
        return operations
    operations = list(_operations(spec))
    cache.parent.mkdir(exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}")
    part.write_bytes(pickle.dumps(operations))
    part.replace(cache)
    return operations


def _operations(spec: Path) -> Iterator[Operation]:
    reader = _Reader()
    for api in APIS:
        for file in sorted((spec / "data" / "api" / api).glob("*.yaml")):
            document = reader.document(file)
            if "paths" not in document:
                continue
            base = document["servers"][0]["variables"].get("basePath", {}).get("default", "")
            for path, item in document["paths"].items():
                for method in ("get", "put", "post", "delete"):
                    if method in item:
                        yield reader.operation(method, base + path, item[method], file)


class _Reader:
    def __init__(self) -> None:
        self._documents: dict[Path, Any] = {}

    def document(self, file: Path) -> Any:
        file = file.resolve()
        if file not in self._documents:
            self._documents[file] = yaml.load(file.read_text(), Loader=_LOADER)
        return self._documents[file]

    def operation(self, method: str, path: str, operation: dict[str, Any], file: Path) -> Operation:
        """Return what `operation`, found in `file`, takes and answers."""
        responses = dict(self.responses(operation, file))
        parameters = [self._resolved(parameter, file)[0] for parameter in operation.get("parameters", [])]
        query = tuple(parameter["name"] for parameter in parameters if parameter["in"] == "query")
        return Operation(method.upper(), path, responses, query, self._sample_body(operation, file))

    def _sample_body(self, operation: dict[str, Any], file: Path) -> dict[str, Any] | None:
        body, where = self._resolved(operation.get("requestBody", {}), file)
        json = body.get("content", {}).get("application/json")
        if json is None:
            return None
        schema = self._sample(json.get("schema", {}), where, 0)
        sample = schema if isinstance(schema, dict) else {}
        for example in json.get("examples", {}).values():
            value = self._resolved(example, where)[0].get("value")
            if isinstance(value, dict):
                # The example goes first: what the schema's own samples make together may be contradictory.
                return {**value, **{name: child for name, child in sample.items() if name not in value}}
        return sample

    def _sample(self, schema: Any, file: Path, depth: int) -> Any:
        schema, file = self._resolved(schema, file)
        if "example" in schema:
            return schema["example"]
        if schema.get("enum"):
            return schema["enum"][0]
        kind = schema.get("type")
        if depth > 5:
            return {}
        sample: dict[str, Any] = {}
        for part in schema.get("allOf", []):
            found = self._sample(part, file, depth + 1)
            if isinstance(found, dict):
                sample.update(found)
        for name, child in schema.get("properties", {}).items():
            sample[name] = self._sample(child, file, depth + 1)
        if kind == "array":
            return [self._sample(schema.get("items", {}), file, depth + 1)]
        simple = {"string": "text", "integer": 1, "number": 1, "boolean": True}
        return simple.get(kind, sample) if isinstance(kind, str) else sample

    def _resolved(self, value: dict[str, Any], file: Path) -> tuple[dict[str, Any], Path]:
        while "$ref" in value:
            value, file = self._target(value["$ref"], file)
        return value, file

    def responses(self, operation: dict[str, Any], file: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for status, response in operation["responses"].items():
            response, where = self._resolved(response, file)
            json = response.get("content", {}).get("application/json")
            yield str(status), None if json is None else self.schema(json.get("schema", {}), where, ())

    def _target(self, reference: str, file: Path) -> tuple[Any, Path]:
        name, _, pointer = reference.partition("#")
        where = (file.parent / name).resolve() if name else file
        value = self.document(where)
        for key in pointer.split("/")[1:]:
            value = value[int(key) if isinstance(value, list) else key]
        return value, where

    def schema(self, schema: Any, file: Path, seen: tuple[str, ...]) -> Any:
        """Return `schema` without references; where one leads back to itself the schema is cut off (takes anything)."""
        if isinstance(schema, list):
            return [self.schema(item, file, seen) for item in schema]
        if not isinstance(schema, dict):
            return schema
        resolved: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _MAPS:
                resolved[key] = {name: self.schema(child, file, seen) for name, child in value.items()}
            elif key == "oneOf":
                # Meant as "one of these forms": some forms are special cases of others, which oneOf would forbid.
                resolved["anyOf"] = self.schema(value, file, seen)
            elif key != "$ref" and key not in _ANNOTATIONS and not key.startswith("x-"):
                resolved[key] = self.schema(value, file, seen)
        reference = schema.get("$ref")
        if reference is None:
            return resolved
        target, where = self._target(reference, file)
        mark = f"{where}#{reference.partition('#')[2]}"
        if mark in seen:
            return resolved
        base = self.schema(target, where, (*seen, mark))
        return {"allOf": [base, resolved]} if resolved else base
