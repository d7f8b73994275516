"""Logs are one line of JSON each, from us and from libraries alike, unless a person reads them at a terminal."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from percorso_shared.logs import configure_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def test_a_line_says_when_how_serious_who_and_what() -> None:
    out = io.StringIO()
    configure_logs("info", process="workers", stream=out)
    structlog.get_logger().info("ready", seconds=1.5)
    line = json.loads(out.getvalue())
    assert line.pop("at").endswith("Z")
    assert line == {"level": "info", "event": "ready", "process": "workers", "seconds": 1.5}


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    configure_logs("warning", process="x", stream=out)
    structlog.get_logger().info("quiet")
    assert out.getvalue() == ""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_libraries_come_out_in_the_same_form_and_messages_of_errors_only_for_debugging(level: str) -> None:
    out = io.StringIO()
    configure_logs(level, process="x", stream=out)
    try:
        raise ValueError("ada@example.com")
    except ValueError:
        logging.getLogger("some.library").exception("it %s", "failed")
    logging.getLogger("some.library").info("chatter")
    (text,) = out.getvalue().splitlines()
    line = json.loads(text)
    assert (line["level"], line["event"], line["logger"]) == ("error", "it failed", "some.library")
    assert ("ValueError" in text, "test_logs.py" in text) == (True, True)
    assert ("ada@example.com" in text) == (level == "debug")


def test_a_terminal_gets_text() -> None:
    out = Terminal()
    configure_logs("info", process="up", stream=out)
    structlog.get_logger().warning("waiting", attempt=3)
    assert "up: waiting" in out.getvalue()
    assert "attempt=3" in out.getvalue()
    assert not out.getvalue().startswith("{")
