"""Settings that are good each for itself and do not agree with each other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from conduit.config.schema import Config

_UNSTABLE_VERSIONS = ("1", "2", "3", "4", "5")
_MAX_DIRECTORY_DIGITS = 63


def disagreements(config: Config) -> list[str]:
    """Return what does not fit together, a line each, with the keys concerned."""
    return [
        *_registration(config),
        *_rooms(config),
        *_listeners(config),
        *_media(config),
        *_turn(config),
        *_files(config),
    ]


def _registration(config: Config) -> Iterator[str]:
    token = config.registration_token
    if token is not None and not all(char.isascii() and (char.isalnum() or char in "._~-") for char in token):
        yield "global.registration_token: expected letters, digits and ._~- only, as clients can send no others"


def _rooms(config: Config) -> Iterator[str]:
    if not config.allow_unstable_room_versions and config.default_room_version in _UNSTABLE_VERSIONS:
        yield (
            f"global.default_room_version: version {config.default_room_version} is not allowed "
            "while global.allow_unstable_room_versions is false"
        )


def _listeners(config: Config) -> Iterator[str]:
    places: Counter[str] = Counter()
    for at, listener in enumerate(config.listeners):
        if (listener.certs is None) != (listener.key is None):
            yield f"global.listeners[{at}]: certs and key are given together or not at all"
        if listener.path is not None:
            places[str(listener.path)] += 1
        elif listener.port:
            places[f"{listener.address} port {listener.port}"] += 1
    for place, times in places.items():
        if times > 1:
            yield f"global.listeners: {place} is given {times} times"
    if config.listeners and config.tls is not None:
        yield "global.tls: has no effect beside global.listeners; give certs and key to the listener instead"


def _media(config: Config) -> Iterator[str]:
    structure = config.media.directory_structure
    if structure.length * structure.depth > _MAX_DIRECTORY_DIGITS:
        yield (
            "global.media.directory_structure: length times depth must be less than "
            f"{_MAX_DIRECTORY_DIGITS + 1}, as a file's name has no more digits"
        )
    scopes = Counter(rule.scope for rule in config.media.retention)
    for scope, times in scopes.items():
        if times > 1:
            yield f"global.media.retention: {times} rules for {f'scope {scope}' if scope else 'no scope'}; one is enough"


def _turn(config: Config) -> Iterator[str]:
    turn = config.turn
    if turn.uris and turn.secret is None and (turn.username is None or turn.password is None):
        yield "global.turn: uris need either secret, or username and password"


def _files(config: Config) -> Iterator[str]:
    named: list[tuple[str, Path | None]] = [("federation_ca_file", config.federation_ca_file)]
    if config.tls is not None:
        named += [("tls.certs", config.tls.certs), ("tls.key", config.tls.key)]
    for at, listener in enumerate(config.listeners):
        named += [(f"listeners[{at}].certs", listener.certs), (f"listeners[{at}].key", listener.key)]
    named += [
        (f"appservice_registration_files[{at}]", file) for at, file in enumerate(config.appservice_registration_files)
    ]
    for name, file in named:
        if file is not None and not (file.is_file() and os.access(file, os.R_OK)):
            yield f"global.{name}: expected a file that can be read; {file} is none"
