"""Logs: structured; one line of JSON each, or coloured text when the reader is a person at a terminal.

Events are short lower-case sentences. No secret and no personal data is ever logged: not in an event, not in a key.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def configure_logs(level: str, *, process: str, stream: TextIO | None = None) -> None:
    """Once per process, before anything is logged. `process` names the speaker in every line. What libraries log
    through `logging` comes out in the same form, from warnings up."""
    out = stream or sys.stderr
    pretty = out.isatty()

    def name_speaker(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("process", process)
        return event

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, name_speaker, structlog.processors.add_log_level,
                    structlog.processors.format_exc_info if level == "debug" else _without_messages,
                    _pretty if pretty else _json],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True)
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)  # the host says itself when the database is lost
    # A group without a coordinator yet is normal while a broker starts; the client asks again by itself, and the bus
    # says when a broker is out of reach.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)


def _without_messages(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its kind and the places it came through; its message may quote personal data. Messages are
    shown at the level `debug` only."""
    error = event.pop("exc_info", None)
    if error is True or isinstance(error, tuple):
        error = sys.exc_info()[1] if error is True else error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}"
                          for frame in traceback.extract_tb(error.__traceback__)[-12:]]
    return event


class _ToStructlog(logging.Handler):
    """Libraries speak `logging`."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name,
            **({"exc_info": record.exc_info} if record.exc_info else {}))


def _instant() -> datetime:
    return datetime.now(UTC)


def _json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    instant = _instant().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"at": instant, "level": event.pop("level", method), "event": event.pop("event", ""), **event}
    return msgspec.json.encode(line, enc_hook=str).decode()


def _pretty(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    level = event.pop("level", method)
    trace = event.pop("exception", None)
    process = event.pop("process", "")
    text = event.pop("event", "")
    rest = " ".join(f"{name}={value}" for name, value in event.items())
    at, colour = f"{_instant().astimezone():%H:%M:%S}", _COLOURS.get(level, "")
    line = f"\x1b[2m{at}\x1b[0m {colour}{level:<7}\x1b[0m {process}: {text}"
    if rest:
        line += f" \x1b[2m{rest}\x1b[0m"
    return f"{line}\n{trace}" if trace else line
