from dataclasses import MISSING
from pathlib import Path

from conduit.config.fields import Field, fields_of
from conduit.config.schema import Config, DirectoryStructure, Listener, RateLimits


def field_of(table: type, name: str) -> Field:
    """Return the field `name` of a table."""
    return next(item for item in fields_of(table) if item.name == name)


def test_required_settings_have_no_default() -> None:
    """Two settings must be given, all others need not."""
    assert [item.name for item in fields_of(Config) if item.required] == ["server_name", "database_path"]
    assert field_of(Config, "server_name").default is MISSING


def test_type_of_a_setting_is_known_through_optional_and_list() -> None:
    """`X | None` is an X, `tuple[X, ...]` a list of X."""
    assert field_of(Config, "registration_token").kind is str
    assert field_of(Config, "federation_ca_file").kind is Path
    files = field_of(Config, "appservice_registration_files")
    assert (files.kind, files.many, files.table) == (Path, True, None)
    listeners = field_of(Config, "listeners")
    assert (listeners.table, listeners.many) == (Listener, True)
    assert (field_of(Config, "rate_limits").table, field_of(Config, "rate_limits").many) == (RateLimits, False)


def test_text_of_a_variable_is_the_value_for_texts_sizes_and_durations() -> None:
    """`CONDUIT_REGISTRATION_TOKEN=123` is a text and `CONDUIT_MAX_REQUEST_SIZE=20MB` a size, without quotes."""
    for name in ("registration_token", "database_path", "max_request_size", "openid_token_ttl"):
        assert field_of(Config, name).is_text, name
    for name in ("port", "allow_federation", "trusted_servers"):
        assert not field_of(Config, name).is_text, name


def test_empty_table_of_folders_means_none() -> None:
    """As with Conduit, an empty `directory_structure` keeps all media in one folder."""
    media = field_of(Config, "media").table
    assert media is not None
    assert field_of(media, "directory_structure").empty_means == DirectoryStructure(depth=0)
