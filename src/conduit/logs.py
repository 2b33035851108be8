"""Logs: one line an event, readable on a terminal, JSON elsewhere; filtered as the setting `log` says.

Every module takes `structlog.get_logger(__name__)`; what is bound with `structlog.contextvars` (the request's id) is on every line
of that request. The standard library's loggers (asyncio, aiohttp) come through the same door.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog

from conduit.config.log_filter import LEVELS, LogFilter

_RANKS = LEVELS | {"critical": logging.CRITICAL, "exception": logging.ERROR, "fatal": logging.CRITICAL}
_ALWAYS = "_always"
_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_PLAIN = "\x1b[0m"


def set_up(log_filter: str, log_format: str = "auto", stream: TextIO | None = None) -> None:
    """Write logs to `stream` (standard error by default) from now on. Calling it again changes filter and format at once."""
    out = stream or sys.stderr
    on_terminal = out.isatty()
    _state.set_filter(LogFilter(log_filter))
    _state.write = out.write
    _state.flush = out.flush
    as_text = log_format == "text" or (log_format == "auto" and on_terminal)
    _state.render = _Text(coloured=on_terminal) if as_text else _json
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _finish],
        wrapper_class=_Logger,
        logger_factory=_Sink,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_FromStandardLibrary()]
    root.setLevel(logging.NOTSET + 1)
    logging.captureWarnings(True)


def notice(name: str, event: str, **fields: Any) -> None:
    """Log what an operator must see whatever the filter says: where the server listens, the token for the first account."""
    structlog.get_logger(name).info(event, **{_ALWAYS: True}, **fields)


class _State:
    """Where lines go and which are wanted; one object, so that a reload reaches loggers that were made before."""

    def __init__(self) -> None:
        self._filter = LogFilter("warn")
        self._levels: dict[str, int] = {}
        self.write: Any = sys.stderr.write
        self.flush: Any = sys.stderr.flush
        self.render: Any = _json

    def set_filter(self, log_filter: LogFilter) -> None:
        """Let `log_filter` decide from now on."""
        self._filter = log_filter
        self._levels = {}

    def level_of(self, name: str) -> int:
        """Return the least level of which the logger `name` writes lines."""
        level = self._levels.get(name)
        if level is None:
            level = self._levels[name] = self._filter.level_of(name)
        return level


_Base = structlog.make_filtering_bound_logger(logging.NOTSET)


class _Logger(_Base):  # type: ignore[misc, valid-type]
    """A logger which drops what is not wanted before anything is made of it: each request logs a line that most servers do not write."""


def _filtered(method: str) -> Callable[..., Any]:
    rank, write = _RANKS[method], getattr(_Base, method)

    def log(self: Any, *args: Any, **fields: Any) -> Any:
        if rank < _state.level_of(self._logger.name) and not fields.get(_ALWAYS):
            return None
        fields.pop(_ALWAYS, None)
        return write(self, *args, **fields)

    return log


for _method in ("debug", "info", "warning", "warn", "error", "critical", "exception", "fatal"):
    setattr(_Logger, _method, _filtered(_method))


class _Sink:
    """The end of every logger: holds its name, writes lines."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def _line(self, line: str) -> None:
        try:
            _state.write(line)
            _state.flush()
        except (OSError, ValueError):
            pass  # the terminal or pipe is gone: nobody is left to be told

    debug = info = warning = warn = error = critical = exception = fatal = msg = log = _line


def _finish(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    level = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}.get(method, method)
    failure = _traceback(event.pop("exc_info", None))
    line: str = _state.render(time.time(), level, logger.name, str(event.pop("event", "")), event, failure)
    return line


def _traceback(exc_info: Any) -> str:
    if not exc_info:
        return ""
    error: BaseException | None
    if isinstance(exc_info, BaseException):
        error = exc_info
    elif isinstance(exc_info, tuple):
        error = exc_info[1]
    else:
        error = sys.exc_info()[1]
    return "".join(traceback.format_exception(error)).rstrip() if error is not None else ""


def _json(now: float, level: str, name: str, event: str, fields: Mapping[str, Any], failure: str) -> str:
    line = {"time": _stamp(now), "level": level, "logger": name, "event": event, **fields}
    if failure:
        line["exception"] = failure
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode() + "\n"
    except orjson.JSONEncodeError:
        # A lone surrogate or a huge integer from outside: the line is worth more than its exact form.
        return json.dumps(line, default=str) + "\n"


class _Text:
    """`12:30:01.250 warning  conduit.server: something happened  key=value`; what was logged cannot break or colour the line."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, now: float, level: str, name: str, event: str, fields: Mapping[str, Any], failure: str) -> str:
        stamp = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03}"
        shown = f"{_COLOURS.get(level, '')}{level:8}{_PLAIN}" if self._coloured else f"{level:8}"
        parts = "".join(f"  {key}={_clean(value)}" for key, value in fields.items())
        return f"{stamp} {shown} {name}: {_clean(event)}{parts}\n" + (f"{failure}\n" if failure else "")


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if text.isprintable() else ascii(text)


def _stamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"


class _FromStandardLibrary(logging.Handler):
    """Hands records of the standard library's loggers to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        level = "critical" if record.levelno >= logging.CRITICAL else logging.getLevelName(record.levelno).lower()
        if record.levelno < _state.level_of(record.name):
            return
        fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info and record.exc_info[1] else {}
        getattr(logger, level, logger.info)(record.getMessage(), **fields)


_state = _State()
