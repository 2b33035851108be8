from pathlib import Path
from typing import Any

import pytest

from conduit.config.checks import disagreements
from conduit.config.schema import Config, DirectoryStructure, Listener, Media, Retention, Tls, Turn

NO_FILE = Path("no/such/file")


def test_configuration_for_tests_agrees_with_itself() -> None:
    """Defaults do not contradict each other."""
    assert disagreements(Config.for_tests()) == []


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"registration_token": "two words"}, "registration_token"),
        ({"registration_token": "größe"}, "registration_token"),
        ({"allow_unstable_room_versions": False, "default_room_version": "5"}, "default_room_version"),
        ({"media": Media(directory_structure=DirectoryStructure(length=8, depth=8))}, "media.directory_structure"),
        ({"media": Media(retention=(Retention(scope="local"), Retention(scope="local")))}, "media.retention"),
        ({"turn": Turn(uris=("turn:a",))}, "turn"),
        ({"turn": Turn(uris=("turn:a",), username="only a name")}, "turn"),
        ({"listeners": (Listener(port=1), Listener(port=1))}, "listeners"),
        ({"listeners": (Listener(path=NO_FILE), Listener(path=NO_FILE))}, "listeners"),
        ({"listeners": (Listener(certs=Path(__file__)),)}, "listeners[0]"),
        ({"listeners": (Listener(certs=NO_FILE, key=Path(__file__)),)}, "listeners[0].certs"),
        ({"listeners": (Listener(),), "tls": Tls(certs=Path(__file__), key=Path(__file__))}, "tls"),
        ({"tls": Tls(certs=NO_FILE, key=Path(__file__))}, "tls.certs"),
        ({"tls": Tls(certs=Path(__file__), key=NO_FILE)}, "tls.key"),
        ({"federation_ca_file": NO_FILE}, "federation_ca_file"),
        ({"appservice_registration_files": (Path(__file__), NO_FILE)}, "appservice_registration_files[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contradiction_is_named_by_its_key(settings: dict[str, Any], key: str) -> None:
    """What is right alone and wrong together is found, and once."""
    found = disagreements(Config.for_tests(**settings))
    assert [line.partition(": ")[0] for line in found] == [f"global.{key}"]


def test_good_combinations_pass(tmp_path) -> None:
    """What looks like the above and is right."""
    here = Path(__file__)
    config = Config.for_tests(
        registration_token="a.B_c~d-9",
        turn=Turn(uris=("turn:a",), secret="s"),
        listeners=(
            Listener(port=0),
            Listener(port=0),
            Listener(port=1, certs=here, key=here),
            Listener(path=tmp_path / "s"),
        ),
        media=Media(
            directory_structure=DirectoryStructure(length=7, depth=9), retention=(Retention(), Retention(scope="local"))
        ),
    )
    assert disagreements(config) == []
