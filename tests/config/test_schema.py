from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from conduit.config import schema
from conduit.config.schema import Config, Listener, Setting, Tls, WellKnown

TABLES = [value for value in vars(schema).values() if is_dataclass(value) and value is not Setting]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_setting_has_a_sentence(table: type) -> None:
    """A setting without a description cannot be added."""
    for item in fields(table):
        setting = item.metadata["setting"]
        assert setting.doc.strip().endswith("."), item.name
        assert setting.doc[0].isupper(), item.name


def test_config_is_frozen() -> None:
    """Nobody changes a setting in passing."""
    with pytest.raises(FrozenInstanceError):
        Config.for_tests().port = 1  # type: ignore[misc]


def test_configuration_for_tests_takes_changes() -> None:
    """Tests say what differs from the usual."""
    config = Config.for_tests(server_name="example.org", max_request_size=5)
    assert (config.server_name, config.max_request_size, config.allow_registration) == ("example.org", 5, True)


@pytest.mark.parametrize(
    ("server_name", "given", "expected"),
    [
        ("example.org", None, "example.org:443"),
        ("example.org:8448", None, "example.org:8448"),
        ("[::1]", None, "[::1]:443"),
        ("[::1]:8448", None, "[::1]:8448"),
        ("1.2.3.4", None, "1.2.3.4:443"),
        ("example.org", "matrix.example.org:8448", "matrix.example.org:8448"),
    ],
)
def test_well_known_server_has_a_port(server_name: str, given: str | None, expected: str) -> None:
    """Other servers are told a port, 443 unless the name has one."""
    config = Config.for_tests(server_name=server_name, well_known=WellKnown(server=given))
    assert config.well_known_server == expected


def test_well_known_client_has_no_slash_at_its_end() -> None:
    """Clients append paths to the URL."""
    assert Config.for_tests(server_name="a.example").well_known_client == "https://a.example"
    given = Config.for_tests(well_known=WellKnown(client="http://localhost:6167/"))
    assert given.well_known_client == "http://localhost:6167"


def test_listener_is_made_of_address_port_and_tls(tmp_path) -> None:
    """Conduit's way of naming the one address."""
    certs, key = tmp_path / "certs", tmp_path / "key"
    config = Config.for_tests(address="::", port=8448, tls=Tls(certs=certs, key=key))
    assert config.effective_listeners == (Listener(address="::", port=8448, certs=certs, key=key),)


def test_listeners_replace_address_and_port(tmp_path) -> None:
    """With a list of listeners the single address is not used."""
    listeners = (Listener(port=1), Listener(path=tmp_path / "socket"))
    assert Config.for_tests(port=8448, listeners=listeners).effective_listeners == listeners


def test_media_lies_beside_the_database_unless_told_otherwise(tmp_path) -> None:
    """`media.path` defaults to a folder of the database directory, as with Conduit."""
    assert Config.for_tests(database_path=tmp_path).media_path == tmp_path / "media"
    elsewhere = schema.Media(path=tmp_path / "pictures")
    assert Config.for_tests(media=elsewhere).media_path == tmp_path / "pictures"
