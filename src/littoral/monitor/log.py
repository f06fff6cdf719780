"""The story a process tells on standard error: one line an event, plain for people or JSON for machines.

    log = log_of("edge.node")
    log.info("Model loaded.", model="little", took_ms=12.4)

The sentence says what happened, the facts say to what. `docs/decisions/0004-logging.md` says why this is built on the
standard library alone.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

from littoral.core.errors import Plain

LEVELS = ("debug", "info", "warning", "error")

_ROOT = "littoral"
_FACT_LENGTH_MAX = 500  # characters; a caller's name or message must not fill a disk


class Log:
    """Where one room writes its lines; it costs one comparison where the level is off."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, **facts: Plain) -> None:
        """What only somebody who looks for a fault wants to read."""
        self._write(logging.DEBUG, message, facts)

    def info(self, message: str, **facts: Plain) -> None:
        """What happened as it should."""
        self._write(logging.INFO, message, facts)

    def warning(self, message: str, **facts: Plain) -> None:
        """What went wrong while the work goes on."""
        self._write(logging.WARNING, message, facts)

    def error(self, message: str, **facts: Plain) -> None:
        """What went wrong so that something is not done."""
        self._write(logging.ERROR, message, facts)

    def _write(self, level: int, message: str, facts: dict[str, Plain]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", message, extra={"facts": facts})


def log_of(room: str) -> Log:
    """The log of a room, such as "edge.node"; silent until `start_log` was called, as a library should be."""
    return Log(logging.getLogger(f"{_ROOT}.{room}"))


def start_log(*, level: str = "info", as_json: bool = False, stream: TextIO | None = None) -> None:
    """Sends the lines of every room from `level` on, and the warnings of the libraries we use, to `stream`.

    The stream is standard error unless another is given. A second call replaces the first.
    """
    assert level in LEVELS, f"level is one of {LEVELS}"
    out = logging.StreamHandler(sys.stderr if stream is None else stream)
    out.setFormatter(_JsonLine() if as_json else _PlainLine())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, _JsonLine | _PlainLine):
            root.removeHandler(old)
    root.addHandler(out)
    logging.getLogger(_ROOT).setLevel(level.upper())


class _PlainLine(logging.Formatter):
    """`12:30:05.120 info  Model loaded. model=little took_ms=12.4`"""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = "".join(f" {name}={_one_line(value)}" for name, value in _facts(record).items())
        # A sentence may carry a caller's words: a line break in them must not forge a second line.
        message = _one_line(record.getMessage())
        return f"{clock}.{int(record.msecs):03d} {record.levelname.lower():<7} {message}{facts}" + _trace(self, record)


class _JsonLine(logging.Formatter):
    """One object a line: time (UTC), level, room, message, and the facts beside them."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Plain] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix(_ROOT + "."),
            "message": record.getMessage(),
        }
        for name, value in _facts(record).items():
            line.setdefault(name, value[:_FACT_LENGTH_MAX] if isinstance(value, str) else value)
        if trace := _trace(self, record):
            line["trace"] = trace.strip()
        return json.dumps(line, ensure_ascii=False)


def _facts(record: logging.LogRecord) -> dict[str, Plain]:
    """What a room said beside its sentence; a foreign library says nothing."""
    facts: dict[str, Plain] = getattr(record, "facts", {})
    return facts


def _one_line(value: Plain) -> str:
    """A value without line breaks and of bounded length."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= _FACT_LENGTH_MAX else text[:_FACT_LENGTH_MAX] + "…"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""
