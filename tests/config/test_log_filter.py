import logging

import pytest

from conduit.config.log_filter import LEVELS, LogFilter
from conduit.config.schema import Config


def test_level_alone_holds_for_everything() -> None:
    """`info` lets informative lines of every part through."""
    assert LogFilter("info").level_of("conduit.api.web") == logging.INFO


def test_most_exact_part_decides() -> None:
    """A longer run of names beats a shorter one, whatever the order."""
    chosen = LogFilter("conduit.service.sync=debug,warn,service=error,conduit=info")
    assert chosen.level_of("conduit.service.sync.tokens") == logging.DEBUG
    assert chosen.level_of("conduit.service.rooms.state") == logging.INFO
    assert chosen.level_of("asyncio") == logging.WARNING


def test_later_of_two_alike_decides() -> None:
    """As in Conduit's filter, what comes last wins."""
    assert LogFilter("sync=debug,sync=error").level_of("conduit.service.sync") == logging.ERROR
    assert LogFilter("debug,error").level_of("anything") == logging.ERROR


def test_part_is_any_run_of_names() -> None:
    """Conduit's `state_res=warn` finds the module wherever it lies; half a name does not count."""
    chosen = LogFilter("off,state_res=warn")
    assert chosen.level_of("conduit.protocol.state_res.mainline") == logging.WARNING
    assert chosen.level_of("conduit.protocol.state_resolution") == LEVELS["off"]


def test_part_without_level_lets_all_of_it_through() -> None:
    """`conduit` alone means everything of it."""
    assert LogFilter("off,conduit::api").level_of("conduit.api.web") == LEVELS["trace"]


def test_nothing_means_errors_only() -> None:
    """An empty filter is not a silent server."""
    assert LogFilter("").level_of("conduit") == logging.ERROR


def test_default_of_conduit_is_understood() -> None:
    """The default filter, Conduit's own, lets warnings through."""
    chosen = LogFilter(Config.for_tests().log)
    assert chosen.level_of("conduit.server") == logging.WARNING


def test_spans_are_ignored() -> None:
    """Conduit's filters may name spans, which we have none of."""
    assert LogFilter("off,conduit[send]=info").level_of("conduit.api") == logging.INFO


@pytest.mark.parametrize("text", ["loud", "inof", "a=loud", "a b", "=info", "a=b=c", "info;debug"])
def test_faulty_directive_is_named(text: str) -> None:
    """The operator sees which part of the filter is wrong."""
    with pytest.raises(ValueError, match="neither a level"):
        LogFilter(f"info,{text}")
