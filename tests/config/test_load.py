from pathlib import Path

import pytest

from conduit.config.load import ConfigError, ConfigMissing, Loaded, data_directory, load
from conduit.config.schema import (
    Config,
    DirectoryStructure,
    DomainProxy,
    GlobalProxy,
    Listener,
    Proxy,
    Rate,
    RateLimits,
    Retention,
)

REQUIRED = {"CONDUIT_SERVER_NAME": "a.example", "CONDUIT_DATABASE_PATH": "/data"}


class File:
    """Writes a configuration and loads it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "conduit.toml"

    def load(self, text: str, *, required: bool = True, **environ: str) -> Loaded:
        head = '[global]\nserver_name = "a.example"\ndatabase_path = "/data"\n' if required else ""
        self.path.write_text(head + text)
        return load(str(self.path), environ)

    def faults(self, text: str, *, required: bool = True, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as failed:
            self.load(text, required=required, **environ)
        return failed.value.faults


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A configuration file to write and load."""
    return File(tmp_path)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_file_of_the_conformance_suite_loads(file: File, tmp_path: Path) -> None:
    """A configuration as sytest writes it loads; it only warns of what the suite can do without."""
    pem = tmp_path / "a.pem"
    pem.write_text("")
    loaded = file.load(
        f"""
        address = "127.0.0.1"
        port = 18800
        database_backend = "rocksdb"
        max_request_size = 20_000_000
        allow_registration = true
        allow_federation = true
        allow_check_for_updates = false
        enable_lightning_bolt = false
        default_room_version = "10"
        trusted_servers = []
        log = "info"
        federation_ca_file = "{pem}"
        appservice_registration_files = []
        ip_range_denylist = []
        [global.tls]
        certs = "{pem}"
        key = "{pem}"
        [global.rate_limits]
        enabled = false
        """
    )
    config = loaded.config
    assert (config.port, config.max_request_size, config.default_room_version) == (18800, 20_000_000, "10")
    assert config.rate_limits == RateLimits(enabled=False)
    assert config.trusted_servers == config.ip_range_denylist == ()
    assert config.tls is not None
    assert loaded.warnings == ()
    assert config.allow_federation
    assert (loaded.source, loaded.embedded) == (file.path, False)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ('proxy = "none"', Proxy()),
        (
            '[global.proxy]\nglobal = { url = "socks5h://localhost:9050" }',
            Proxy(global_=GlobalProxy(url="socks5h://localhost:9050")),
        ),
        (
            '[[global.proxy.by_domain]]\nurl = "http://[::1]:3128"\ninclude = ["*.onion"]\nexclude = ["a.onion"]',
            Proxy(by_domain=(DomainProxy(url="http://[::1]:3128", include=("*.onion",), exclude=("a.onion",)),)),
        ),
    ],
)
def test_proxy_is_written_as_in_conduit(file: File, text: str, rules: Proxy) -> None:
    """Nothing, one for everything, or some by host."""
    assert file.load(text).config.proxy == rules


def test_url_of_a_proxy_is_checked(file: File) -> None:
    """Only what can be spoken with is taken."""
    (fault,) = file.faults('[global.proxy]\nglobal = { url = "ftp://localhost" }')
    assert fault.startswith("global.proxy.global.url: expected the URL of a proxy")


def test_defaults_are_those_of_conduit(file: File) -> None:
    """A file with the required settings only."""
    config = file.load("").config
    assert config == Config(server_name="a.example", database_path=Path("/data"))
    assert (config.address, config.port, config.allow_registration, config.allow_federation) == (
        "127.0.0.1",
        6167,
        False,
        False,
    )


def test_everything_wrong_is_reported_at_once(file: File) -> None:
    """The operator mends the file once, not once for each fault."""
    faults = file.faults(
        """
        [global]
        port = 70000
        allow_encryption = "yes"
        max_request_size = "lots"
        openid_token_ttl = "soon"
        address = "here"
        trusted_servers = "matrix.org"
        ignored_keys = [1]
        turn = 5
        listeners = [1]
        [global.well_known]
        client = "matrix.example.org"
        [global.rate_limits.message]
        burst = 0
        """,
        required=False,
    )
    assert [fault.partition(": ")[0].removeprefix("global.") for fault in faults] == [
        "server_name", "database_path", "address", "port", "listeners", "max_request_size", "well_known.client",
        "rate_limits.message.burst", "openid_token_ttl", "allow_encryption", "trusted_servers", "ignored_keys", "turn",
    ]  # fmt: skip


def test_fault_says_what_is_expected_and_what_was_given(file: File) -> None:
    """A fault is a line that one can act on."""
    assert file.faults('[global.tls]\ncerts = "a.pem"') == [
        "global.tls.key: is required: PEM file with the private key."
    ]
    assert file.faults('port = "http"') == ['global.port: expected a whole number from 0 to 65535, not "http"']
    assert file.faults("registration_token = ''") == [
        'global.registration_token: expected a text that is not empty, not ""'
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('database_backend = "sqlite"', "SQLite is not supported"),
        ('[global.media]\nbackend = "s3"', "not built yet"),
        ('[global.media]\nbucket = "b"', "not built yet"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(file: File, text: str, reason: str) -> None:
    """Better no start than a server that does not do what it was told."""
    (fault,) = file.faults(text)
    assert reason in fault


def test_proxy_set_to_none_is_no_proxy(file: File) -> None:
    """Conduit's way to write that there is none."""
    assert file.load('proxy = "none"').warnings == ()


def test_unknown_keys_warn_and_name_the_nearest(file: File) -> None:
    """A typing error is found, and does not keep the server from starting."""
    loaded = file.load('allow_registraton = true\nxyzzy = 1\n[global.media]\npaht = "/x"\n[other]\na = 1')
    assert list(loaded.warnings) == [
        "other: unknown; everything is read from [global]",
        "global.allow_registraton: unknown setting; did you mean allow_registration?",
        "global.xyzzy: unknown setting",
        "global.media.paht: unknown setting; did you mean path?",
    ]


def test_setting_outside_of_global_is_a_fault(file: File) -> None:
    """A forgotten `[global]` would otherwise silently mean the defaults."""
    faults = file.faults('server_name = "a.example"\n', required=False)
    assert faults[0] == "server_name: belongs below a line [global]"


def test_what_has_no_effect_warns_only_if_it_would_matter(file: File) -> None:
    """Conduit's settings for what is different here do not disturb."""
    assert file.load("cleanup_second_interval = 60\nallow_check_for_updates = false").warnings == ()
    (warning,) = file.load("allow_jaeger = true").warnings
    assert warning.startswith("global.allow_jaeger: has no effect")


def test_old_names_of_the_turn_settings_work_and_warn(file: File) -> None:
    """As with Conduit, the flat keys of former times are taken."""
    loaded = file.load('turn_uris = ["turn:a"]\nturn_secret = "s"\nturn_ttl = 60')
    assert (loaded.config.turn.uris, loaded.config.turn.secret, loaded.config.turn.ttl) == (("turn:a",), "s", 60)
    assert len(loaded.warnings) == 3
    assert file.load('turn_ttl = 60\n[global.turn]\nttl = "2h"').config.turn.ttl == 7200


def test_class_of_rate_limits_keeps_what_is_not_given(file: File) -> None:
    """Half a rate is completed from the same class's default, not another's."""
    limits = file.load("[global.rate_limits.message]\nburst = 7").config.rate_limits
    assert limits.message == Rate(per_second=RateLimits().message.per_second, burst=7)
    assert limits.login == RateLimits().login


def test_tables_in_lists_are_read(file: File) -> None:
    """`[[global.listeners]]` and `[[global.media.retention]]`."""
    config = file.load(
        """
        [[global.listeners]]
        address = "::"
        port = 8448
        [[global.listeners]]
        path = "/run/a.sock"
        [[global.media.retention]]
        scope = "remote"
        accessed = "14d"
        space = "10GB"
        """
    ).config
    assert config.listeners == (Listener(address="::", port=8448), Listener(path=Path("/run/a.sock")))
    assert config.media.retention == (Retention(scope="remote", accessed=14 * 86400, space=10**10),)


def test_fault_in_a_list_of_tables_names_its_place(file: File) -> None:
    """The second listener is number 1."""
    (fault,) = file.faults("[[global.listeners]]\nport = 1\n[[global.listeners]]\nport = -1")
    assert fault.startswith("global.listeners[1].port:")


def test_empty_directory_structure_is_flat(file: File) -> None:
    """As with Conduit."""
    assert file.load("[global.media.directory_structure]").config.media.directory_structure == DirectoryStructure(
        depth=0
    )


def test_settings_that_contradict_each_other_are_a_fault(file: File) -> None:
    """What is right alone may be wrong together."""
    assert file.faults('[global.turn]\nuris = ["turn:a"]') == [
        "global.turn: uris need either secret, or username and password"
    ]


def test_text_that_is_no_toml_is_told_with_its_line(file: File) -> None:
    """The place of a syntax error is known."""
    (fault,) = file.faults("port = = 1")
    assert "line 4" in fault


def test_bytes_that_are_no_text_are_told(file: File) -> None:
    """A file in another encoding."""
    file.path.write_bytes(b'[global]\nserver_name = "\xff"')
    with pytest.raises(ConfigError) as failed:
        load(str(file.path), {})
    assert failed.value.faults == ["not UTF-8 at byte 24"]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that was named is never replaced by defaults."""
    for named in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigMissing):
            load(str(named), {})
        with pytest.raises(ConfigMissing):
            load(None, {"CONDUIT_CONFIG": str(named)})


# --- the environment --------------------------------------------------------------------------------------------------


def test_environment_wins_over_the_file(file: File) -> None:
    """Tables are joined by an underscore, at any depth."""
    config = file.load(
        'port = 1\n[global.well_known]\nserver = "kept.example:1"\nclient = "https://lost.example"',
        CONDUIT_PORT="2",
        CONDUIT_WELL_KNOWN_CLIENT="https://won.example",
        CONDUIT_MEDIA_DIRECTORY_STRUCTURE_DEPTH="3",
        CONDUIT_RATE_LIMITS_MESSAGE_BURST="9",
        CONDUIT_MAX_REQUEST_SIZE="5MB",
        CONDUIT_REGISTRATION_TOKEN="123",
        CONDUIT_TRUSTED_SERVERS="a.example,b.example",
        CONDUIT_ALLOW_ENCRYPTION="false",
    ).config
    assert config.port == 2
    assert (config.well_known.server, config.well_known.client) == ("kept.example:1", "https://won.example")
    assert config.media.directory_structure == DirectoryStructure(depth=3)
    assert config.rate_limits.message.burst == 9
    assert (config.max_request_size, config.registration_token) == (5_000_000, "123")
    assert config.trusted_servers == ("a.example", "b.example")
    assert config.allow_encryption is False


def test_environment_alone_is_enough() -> None:
    """A container needs no file."""
    loaded = load(None, REQUIRED)
    assert (loaded.config.server_name, loaded.source, loaded.embedded) == ("a.example", None, False)


def test_any_variable_of_a_setting_ends_the_embedded_mode() -> None:
    """Then the required settings are required."""
    with pytest.raises(ConfigError) as failed:
        load(None, {"CONDUIT_PORT": "1"})
    assert [fault.partition(":")[0] for fault in failed.value.faults] == ["global.server_name", "global.database_path"]


def test_fault_of_a_variable_names_the_variable() -> None:
    """The operator looks in the right place."""
    with pytest.raises(ConfigError) as failed:
        load(None, {**REQUIRED, "CONDUIT_PORT": "http", "CONDUIT_TURN_TTL": "soon"})
    assert [fault.partition(":")[0] for fault in failed.value.faults] == ["CONDUIT_PORT", "CONDUIT_TURN_TTL"]


def test_unknown_variables_warn() -> None:
    """With the nearest known one, whether or not there is a file."""
    (warning,) = load(None, {**REQUIRED, "CONDUIT_SERVERNAME": "x"}).warnings
    assert warning == "CONDUIT_SERVERNAME: unknown environment variable; did you mean CONDUIT_SERVER_NAME?"
    embedded = load(None, {"CONDUIT_SERVERNAME": "x"})
    assert embedded.embedded
    assert len(embedded.warnings) == 1


def test_value_in_a_tables_place_is_replaced_by_the_environment(file: File) -> None:
    """A broken table in the file does not break reading the environment."""
    assert file.load("turn = 5", CONDUIT_TURN_TTL="60").config.turn.ttl == 60


# --- embedded ---------------------------------------------------------------------------------------------------------


def test_without_configuration_the_server_is_private_and_open() -> None:
    """For this machine only, open to whoever is on it, and alone."""
    loaded = load(None, {"XDG_DATA_HOME": "/home/a/data"})
    config = loaded.config
    assert (loaded.embedded, loaded.source, loaded.warnings) == (True, None, ())
    assert (config.server_name, config.address, config.port) == ("localhost", "127.0.0.1", 6167)
    assert (config.allow_registration, config.allow_federation) == (True, False)
    assert config.database_path == Path("/home/a/data/conduit")
    assert config.well_known_client == "http://127.0.0.1:6167"


def test_data_lies_in_the_home_directory_by_default(monkeypatch) -> None:
    """As the XDG specification has it."""
    monkeypatch.setenv("HOME", "/home/b")
    assert data_directory({}) == Path("/home/b/.local/share/conduit")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_embedded_server_refuses_to_be_reached_from_elsewhere(address: str) -> None:
    """Open registration is for this machine only."""
    with pytest.raises(ConfigError, match="only listens on 127"):
        load(None, {}, address=address)


def test_embedded_server_takes_another_port() -> None:
    """The usual one may be in use."""
    config = load(None, {}, address="localhost", port=7000).config
    assert (config.address, config.port, config.well_known_client) == ("127.0.0.1", 7000, "http://127.0.0.1:7000")


def test_options_win_over_file_and_environment(file: File) -> None:
    """`--address` and `--port` replace the listeners of any configuration."""
    file.load("[[global.listeners]]\nport = 1")
    config = load(str(file.path), {"CONDUIT_PORT": "2"}, address="::1", port=3).config
    assert config.effective_listeners == (Listener(address="::1", port=3),)
    with pytest.raises(ConfigError, match="--address: expected an IP address"):
        load(str(file.path), {}, address="here")
