import io
import json
import logging

import pytest
import structlog

from conduit import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before():
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(stream: io.StringIO) -> list[dict]:
    """Return the JSON lines in `stream`."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_lines_are_json() -> None:
    """A line is an object with time, level, part, event and what belongs to it."""
    stream = io.StringIO()
    logs.set_up("info", stream=stream)
    structlog.get_logger("conduit.a").info("happened", room="!a:b", number=2)
    (line,) = written(stream)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "conduit.a", "event": "happened", "room": "!a:b", "number": 2}


def test_on_a_terminal_lines_are_for_reading() -> None:
    """Time, level in colour, part, event, fields."""
    stream = Terminal()
    logs.set_up("info", stream=stream)
    structlog.get_logger("conduit.a").warning("happened", room="!a:b")
    assert "\x1b[33mwarning \x1b[0m conduit.a: happened  room=!a:b\n" in stream.getvalue()


def test_format_can_be_chosen() -> None:
    """`log_format` wins over what the stream is."""
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    structlog.get_logger("conduit.a").info("happened")
    assert stream.getvalue().endswith("info     conduit.a: happened\n")


def test_what_is_logged_cannot_break_a_line() -> None:
    """Texts from outside with line breaks or escape sequences stay in their line."""
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    structlog.get_logger("conduit.a").info("happened", name="a\nb\x1b[31m")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_filter_holds_for_parts() -> None:
    """What is below the level of its part is not written."""
    stream = io.StringIO()
    logs.set_up("warn,conduit.loud=debug", stream=stream)
    structlog.get_logger("conduit.quiet").info("no")
    structlog.get_logger("conduit.quiet").warning("yes")
    structlog.get_logger("conduit.loud").debug("yes")
    assert [line["event"] for line in written(stream)] == ["yes", "yes"]


def test_filter_can_change_under_loggers_in_use() -> None:
    """A reload reaches loggers that have been used before."""
    stream = io.StringIO()
    logger = structlog.get_logger("conduit.a")
    logs.set_up("error", stream=stream)
    logger.info("no")
    logs.set_up("info", stream=stream)
    logger.info("yes")
    assert [line["event"] for line in written(stream)] == ["yes"]


def test_notice_is_written_whatever_the_filter() -> None:
    """The operator must see where the server listens, even with `log = "off"`."""
    stream = io.StringIO()
    logs.set_up("off", stream=stream)
    structlog.get_logger("conduit.a").critical("no")
    logs.notice("conduit.a", "yes", port=1)
    (line,) = written(stream)
    assert (line["event"], line["port"], "_always" in line) == ("yes", 1, False)


def test_lines_of_a_request_bear_its_id() -> None:
    """What is bound to the context is on every line."""
    stream = io.StringIO()
    logs.set_up("info", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="a-1"):
        structlog.get_logger("conduit.a").info("within")
    structlog.get_logger("conduit.a").info("without")
    assert [line.get("request_id") for line in written(stream)] == ["a-1", None]


@pytest.mark.parametrize("form", ["json", "text"])
def test_exception_is_written_with_its_traceback(form: str) -> None:
    """A bug can be found from the log."""
    stream = io.StringIO()
    logs.set_up("info", form, stream)
    logger = structlog.get_logger("conduit.a")
    try:
        raise ValueError("wrong")
    except ValueError as error:
        logger.exception("one")
        logger.error("two", exc_info=error)
        logger.error("three", exc_info=True)
    assert stream.getvalue().count("ValueError: wrong") == 3
    assert stream.getvalue().count("Traceback") == 3


def test_what_json_cannot_hold_is_written_all_the_same() -> None:
    """A lone surrogate, a huge integer, an object of our own."""
    stream = io.StringIO()
    logs.set_up("info", stream=stream)
    structlog.get_logger("conduit.a").info("odd", text="\ud800", number=2**70, thing=object())
    (line,) = written(stream)
    assert (line["text"], line["number"]) == ("\ud800", 2**70)


def test_loggers_of_the_standard_library_come_through() -> None:
    """Loggers of asyncio and aiohttp are filtered and written like our own."""
    stream = io.StringIO()
    logs.set_up("warn,quiet=off", stream=stream)
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("no")
    logging.getLogger("quiet.part").error("no")
    (line,) = written(stream)
    assert (line["logger"], line["event"], line["level"]) == ("asyncio", "slow callback", "warning")


def test_closed_stream_does_not_stop_the_server() -> None:
    """The terminal may go away."""
    stream = io.StringIO()
    logs.set_up("info", stream=stream)
    stream.close()
    structlog.get_logger("conduit.a").info("nobody reads this")
