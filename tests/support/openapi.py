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
                        responses = dict(reader.responses(item[method], file))
                        yield Operation(method.upper(), base + path, responses)


class _Reader:
    def __init__(self) -> None:
        self._documents: dict[Path, Any] = {}

    def document(self, file: Path) -> Any:
        file = file.resolve()
        if file not in self._documents:
            self._documents[file] = yaml.load(file.read_text(), Loader=_LOADER)
        return self._documents[file]

    def responses(self, operation: dict[str, Any], file: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for status, response in operation["responses"].items():
            where = file
            while "$ref" in response:
                response, where = self._target(response["$ref"], where)
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
