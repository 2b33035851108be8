"""The list of endpoint files."""

from __future__ import annotations

from pathlib import Path

import pytest

import conduit.api
from conduit.api import routes
from conduit.api.dispatch import Table
from tests.support.contract import UNSPECIFIED, contract, current, is_older

FOLDER = Path(conduit.api.__file__).parent


def test_no_endpoint_file_is_forgotten() -> None:
    """Whatever file declares routes stands in the list."""
    declared = {
        ".".join(file.relative_to(FOLDER).with_suffix("").parts)
        for file in FOLDER.rglob("*.py")
        if "\nroutes = Routes()" in file.read_text()
    }
    assert declared == set(routes.MODULES)
    assert list(routes.MODULES) == sorted(routes.MODULES)


def test_all_routes_fit_into_one_table() -> None:
    """No endpoint is declared twice."""
    assert len(Table(routes.tables())) > 100


def test_every_handler_says_what_it_does_and_where_that_stands() -> None:
    """The docstring of a handler links to the specification or names its section."""
    for table in routes.tables():
        for route in table:
            assert route.handler.__doc__, route.path


def test_every_path_is_one_of_the_specification() -> None:
    """A slip in a path would otherwise only show when a client asks."""
    judge = contract()
    if judge is None:
        pytest.skip("MATRIX_SPEC names no specification")
    unknown = set()
    for table in routes.tables():
        for route in table:
            path = current(route.path)
            if path.startswith(UNSPECIFIED) or is_older(route.method, path):
                continue
            if judge.find(route.method, path) is None:
                unknown.add(f"{route.method} {path}")
    assert unknown == set()
