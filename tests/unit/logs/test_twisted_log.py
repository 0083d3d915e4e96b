"""Events of Twisted's log become lines of pgswitch's log."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent, Logger, LogLevel

from pgswitch.logs import LINE_LIMIT
from pgswitch.logs.twisted_log import TwistedLogObserver, describe
from tests.unit.captured import CapturedLog


@pytest.mark.parametrize(
    ("level", "verbosity", "lines"),
    [
        ("critical", 0, ["ERROR 1 thing"]),
        ("error", 0, ["ERROR 1 thing"]),
        ("warn", 0, ["WARNING 1 thing"]),
        ("info", 0, []),
        ("info", 1, ["DEBUG 1 thing"]),
        ("debug", 1, ["DEBUG 1 thing"]),
    ],
)
def test_levels(level: str, verbosity: int, lines: list[str]) -> None:
    """Faults are logged at once, chatter at DEBUG only."""
    captured = CapturedLog(verbosity)
    logger = Logger("test", observer=TwistedLogObserver(captured.log))
    getattr(logger, level)("{count} thing", count=1)
    assert captured.lines == lines


def test_failure_is_logged_with_the_place() -> None:
    """The first line names the exception, the rest is the traceback."""
    captured = CapturedLog()
    logger = Logger("test", observer=TwistedLogObserver(captured.log))
    try:
        int("many")
    except ValueError:
        logger.failure("in a callback")
    (entry,) = captured.lines
    first, *rest = entry.split("\n")
    assert first.startswith("ERROR in a callback: ValueError: invalid literal for ")
    assert rest[0].startswith("Traceback")
    assert __file__ in entry


def test_end_of_a_long_traceback_is_kept() -> None:
    """The line limit must not cut off the place of the fault."""
    events: list[LogEvent] = []
    logger = Logger("test", observer=events.append)  # type: ignore[arg-type]

    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        raise ValueError("at the bottom")

    try:
        deep(60)
    except ValueError:
        logger.failure("in a callback")
    text = describe(events[0])
    assert text.rstrip().endswith("ValueError: at the bottom")
    assert len(text) < LINE_LIMIT


def test_event_without_text() -> None:
    """An empty event is no fault."""
    assert describe({"log_level": LogLevel.info}) == "event without text"
