import re
from pathlib import Path

import pytest

from conduit.config.example import example, table, with_table
from conduit.config.fields import fields_of
from conduit.config.load import load
from conduit.config.schema import Config, Rate

ROOT = Path(__file__).resolve().parents[2]


def test_example_file_is_up_to_date() -> None:
    """`conduit.toml.example` shows every setting as the schema has it; scripts/settings writes it."""
    assert (ROOT / "conduit.toml.example").read_text() == example()


def test_table_in_the_documents_is_up_to_date() -> None:
    """`docs/configuration.md` lists every setting as the schema has it; scripts/settings writes it."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == with_table(page)


def test_every_setting_is_documented() -> None:
    """No setting is missing from the example or the table."""

    def walk(cls: type, path: str) -> list[str]:
        names = []
        for item in fields_of(cls):
            names.append(path + item.key)
            if item.table not in (None, Rate):
                names += walk(item.table, f"{path}{item.key}{'[]' if item.many else ''}.")
        return names

    rows, text = table(), example()
    for name in walk(Config, ""):
        leaf = name.rpartition(".")[2]
        assert re.search(rf"^#?(\[+global\.)?([\w.]+\.)?{leaf}\b", text, re.MULTILINE), name
        assert f"`{name}" in rows or f"`{name}." in rows, name


def test_configurations_in_the_documents_are_good(tmp_path) -> None:
    """Whoever copies one can start with it; what they leave out is given as it comes."""
    for page in ("README.md", "docs/configuration.md"):
        for number, block in enumerate(re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)):
            if block.startswith(("[[global.listeners]]", "[global.proxy]")):
                continue
            file = tmp_path / f"{number}.toml"
            file.write_text(block)
            assert load(str(file), {}).warnings == (), page


def test_example_loads_as_it_is(tmp_path) -> None:
    """Somebody who only fills in the two required settings gets the defaults, without a warning."""
    file = tmp_path / "conduit.toml"
    file.write_text(example())
    loaded = load(str(file), {})
    assert loaded.config == Config(server_name="example.org", database_path=Path("/var/lib/matrix-conduit/"))
    assert loaded.warnings == ()


def test_defaults_shown_are_the_defaults(tmp_path) -> None:
    """What stands behind a # is what holds anyway: uncommented, nothing changes."""
    text = example().partition("#[global.tls]")[0]
    lines = [
        line.removeprefix("#")
        for line in text.splitlines()
        if (not line.startswith("# ") or line.startswith("#    ")) and "not set by default" not in line and line != "#"
    ]
    file = tmp_path / "conduit.toml"
    file.write_text("\n".join(lines))
    assert load(str(file), {}).config == Config(
        server_name="example.org", database_path=Path("/var/lib/matrix-conduit/")
    )


def test_page_without_marks_is_not_touched() -> None:
    """The table is only put where the page says."""
    with pytest.raises(ValueError, match="marks"):
        with_table("# Configuration\n")
